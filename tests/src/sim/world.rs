//! A run: stacks, their hosts and the network between them, driven by one event queue.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use luna_core::Counters;
use luna_core::stack::{Stack, Turn};
use luna_core::time::Instant;
use luna_core::wire::int::{Hop, stamp_frame};
use luna_core::zbuf::{Pool, ZbufMut};

use super::app::{Shared, SimApp};
use super::events::{Events, Time};
use super::flow::{Ending, Flow, Opening};
use super::frame::Frame;
use super::icmp::Complaint;
use super::link::{Link, Node};
use super::log::{Log, What};
use super::monitor::Monitor;
use super::nic::{Passed, SimQueue, Wire};
use super::plan::{MS, Plan, S, Trouble};
use super::rng::Rng;
use super::switch::Switch;

/// A connection on which nothing moves for so long, while the network carries, hangs.
const PATIENCE: Time = 60 * S;
/// How long connections may take to leave the tables when all flows are over.
const DRAIN: Time = 400 * S;
/// How long an application waits whose stack is full.
const CONNECT_AGAIN: Time = 50 * MS;
/// More events than this are a loop.
const MOST_EVENTS: u64 = 5_000_000;

/// Counters that the log passes over: the packets tell.
const USUAL: [&str; 8] =
    ["segments_in", "segments_out", "fast_path", "bytes_in", "bytes_out", "acks_out", "rtt_samples", "malformed"];

/// What happens.
pub(super) enum Event {
    /// The first frame of a link's queue was sent.
    Sent(usize),
    /// A frame gets to a link's end.
    Arrive(usize, Frame),
    /// A stack's turn, unless it was put earlier meanwhile.
    Turn(usize, u32),
    /// Frames leave that a stack sent in a turn during which its CPU was taken away.
    Leave(usize, Vec<Frame>),
    /// A flow begins.
    Start(usize),
    /// Something happens to the network.
    Trouble(usize),
    /// And is over.
    Heal(usize),
    /// The attacker acts.
    Forge,
    /// A burst of SYNs.
    Flood,
    /// Somebody looks whether all goes on.
    Watch,
}

/// Pools of a stack.
pub struct Pools {
    /// Where frames are received.
    pub rx: Pool,
    /// Where headers come from.
    pub headers: Pool,
    /// What applications send.
    pub data: Pool,
}

pub(super) struct Host {
    pub(super) free_at: Time,
    pub(super) rng: Rng,
}

pub(super) struct StackSim<'m> {
    pub(super) stack: Stack<'m, SimQueue<'m>>,
    pub(super) app: SimApp<'m>,
    pub(super) wire: Rc<RefCell<Wire>>,
    pub(super) pools: &'m Pools,
    pub(super) uplink: usize,
    pub(super) downlink: usize,
    pub(super) generation: u32,
    pub(super) next_turn: Time,
    pub(super) turns: u64,
    /// Turns in a row in which nothing passed.
    pub(super) idle_turns: u32,
    /// Counters at the last turn, for the log.
    pub(super) counted: Counters,
    /// Objs that tiny pools are without.
    pub(super) withheld: Vec<ZbufMut>,
}

/// What went wrong by intention.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Adversity {
    /// Frames that did not get through.
    pub lost: u64,
    /// Frames dropped for want of room: queues, rings, pools.
    pub dropped: u64,
    /// Frames changed.
    pub corrupted: u64,
    /// Frames delivered twice.
    pub duplicated: u64,
    /// Frames that others could overtake.
    pub reordered: u64,
    /// Times that a CPU was taken away.
    pub stolen: u64,
    /// Frames forged or replayed.
    pub forged: u64,
    /// Times that a link died or shrank.
    pub troubles: u64,
    /// Frames marked by ECN.
    pub marked: u64,
    /// SYNs of floods.
    pub flooded: u64,
    /// ICMP errors of routers.
    pub complaints: u64,
    /// Connections whose memory was taken away.
    pub revoked: u64,
}

/// The whole.
pub struct World<'m> {
    pub(super) plan: Plan,
    pub(super) events: Events<Event>,
    pub(super) now: Rc<Cell<Time>>,
    pub(super) shared: Rc<RefCell<Shared>>,
    pub(super) hosts: Vec<Host>,
    pub(super) stacks: Vec<StackSim<'m>>,
    pub(super) links: Vec<Link>,
    pub(super) switches: Vec<Switch>,
    pub(super) monitor: Monitor,
    pub(super) log: Log,
    pub(super) adversity: Adversity,
    pub(super) attacker: super::attack::Attacker,
    /// Which errors routers answer.
    pub(super) routers_rng: Rng,
    /// What each stack's port takes at most.
    pub(super) narrowed: Vec<u16>,
    /// Flows are over since.
    pub(super) over_since: Option<Time>,
    /// The network died for good.
    pub(super) dead_since: Option<Time>,
    /// The last time that the network was in trouble.
    pub(super) trouble_until: Time,
    pub(super) count: u64,
}

impl<'m> World<'m> {
    /// Runs to the end.
    ///
    /// # Errors
    /// What was wrong first.
    pub fn run(&mut self) -> Result<(), String> {
        while let Some(event) = self.events.pop() {
            self.now.set(self.events.now());
            self.count += 1;
            if self.count > MOST_EVENTS {
                return Err(format!("still busy after {MOST_EVENTS} events"));
            }
            match event {
                Event::Sent(link) => self.sent(link),
                Event::Arrive(link, frame) => self.arrive(link, frame),
                Event::Turn(stack, generation) => {
                    if self.stacks[stack].generation == generation {
                        self.turn(stack)?;
                    }
                }
                Event::Leave(stack, frames) => self.leave(stack, frames),
                Event::Start(flow) => self.start(flow),
                Event::Trouble(i) => self.trouble(i),
                Event::Heal(i) => self.heal(i),
                Event::Forge => self.forge(),
                Event::Flood => self.flood(),
                Event::Watch => {
                    if self.watch()? {
                        return self.finish();
                    }
                }
            }
        }
        Err("nothing more happens, yet not all is over".into())
    }

    /// Makes sure that a stack has a turn at `at` or earlier.
    pub(super) fn turn_at(&mut self, stack: usize, at: Time) {
        let s = &mut self.stacks[stack];
        if at < s.next_turn {
            s.generation += 1;
            s.next_turn = at;
            self.events.at(at, Event::Turn(stack, s.generation));
        }
    }

    /// A stack's clock.
    pub(super) fn local(&self, stack: usize) -> Instant {
        let plan = &self.plan.stacks[stack];
        Instant::from_nanos((plan.clock + self.events.now()) / plan.tick * plan.tick)
    }

    fn turn(&mut self, i: usize) -> Result<(), String> {
        let now = self.events.now();
        let plan = &self.plan.stacks[i];
        let host_plan = self.plan.hosts[plan.host];
        let budget = plan.budget;
        let host = &mut self.hosts[plan.host];
        self.stacks[i].next_turn = Time::MAX;
        if host.free_at > now {
            let at = host.free_at;
            self.turn_at(i, at);
            return Ok(());
        }
        let mut late = 0;
        if let Some((often, long)) = host_plan.stolen
            && host.rng.one_in(often)
        {
            let gap = host.rng.range(1, long);
            let before = host.rng.one_in(2);
            self.adversity.stolen += 1;
            self.log.note(now, || format!("[{i}] its CPU is taken away for {gap} ns, before the turn: {before}"));
            if before {
                host.free_at = now + gap;
                self.turn_at(i, now + gap);
                return Ok(());
            }
            late = gap;
        }
        let local = self.local(i);
        let s = &mut self.stacks[i];
        let ticks = s.app.wake <= now;
        if ticks {
            s.app.tick(&mut s.stack.cx(local));
        }
        let outcome = s.stack.turn(local, budget, &mut s.app);
        let (frames, out) = self.watch_turn(i)?;
        let s = &mut self.stacks[i];
        s.idle_turns = if frames > 0 || ticks { 0 } else { (s.idle_turns + 1).min(8) };
        let cost = host_plan.turn + host_plan.per_frame * frames + late;
        self.hosts[self.plan.stacks[i].host].free_at = now + cost;
        let mut next = match outcome {
            // A loop that finds nothing to do turns again at once; here it waits longer and longer, up to 25 µs.
            Turn::Busy => now + cost + (100 << s.idle_turns),
            Turn::IdleUntil(at) => self.world_time(i, at),
        };
        let s = &self.stacks[i];
        if !s.wire.borrow().rx.is_empty() {
            next = next.min(now + cost);
        }
        next = next.min(s.app.wake).max(now + cost);
        if next < Time::MAX {
            self.turn_at(i, next);
        }
        if late > 0 {
            self.events.after(late, Event::Leave(i, out));
        } else {
            self.leave(i, out);
        }
        if self.over_since.is_none() && self.shared.borrow().flows.iter().all(Flow::over) {
            self.over_since = Some(now);
        }
        Ok(())
    }

    /// When a stack's clock shows `at`.
    fn world_time(&self, stack: usize, at: Instant) -> Time {
        let plan = &self.plan.stacks[stack];
        if at == Instant::FAR {
            return Time::MAX;
        }
        at.as_nanos().div_ceil(plan.tick).saturating_mul(plan.tick).saturating_sub(plan.clock)
    }

    /// Looks at what passed in a turn: how many frames, and those to be sent.
    fn watch_turn(&mut self, i: usize) -> Result<(u64, Vec<Frame>), String> {
        let now = self.events.now();
        let plan = &self.plan.stacks[i];
        let s = &mut self.stacks[i];
        let passed = core::mem::take(&mut s.wire.borrow_mut().passed);
        let frames = passed.len() as u64;
        let mut out = Vec::new();
        let mut verdict = Ok(());
        if s.wire.borrow().spoilt {
            return Err(format!("stack {i}: memory was given back that a device still held"));
        }
        for p in passed {
            match p {
                Passed::In(frame) => {
                    self.log.frame(now, i, What::Taken, &frame);
                    self.monitor.taken(&frame);
                    s.wire.borrow_mut().spare.push(frame.bytes);
                }
                Passed::NoObj(frame) => {
                    self.adversity.dropped += 1;
                    self.log.frame(now, i, What::Lost("no obj to receive it"), &frame);
                }
                Passed::Out(mut frame) => {
                    self.log.frame(now, i, What::Sent, &frame);
                    verdict = verdict.and(self.monitor.sent(now, &mut frame, plan.mtu, &plan.tcp));
                    self.attacker.remember(&frame);
                    out.push(frame);
                }
            }
        }
        if self.log.keeps() {
            let counters = *s.stack.counters();
            let before = core::mem::replace(&mut s.counted, counters);
            for ((name, n), (_, m)) in counters.iter().zip(before.iter()) {
                if n != m && !USUAL.contains(&name) {
                    self.log.note(now, || format!("[{i}] {name}: {n}"));
                }
            }
        }
        let mut shared = self.shared.borrow_mut();
        for note in shared.notes.iter_mut().flat_map(|n| n.drain(..)) {
            self.log.note(now, || format!("[{i}] {note}"));
        }
        if let Some(what) = shared.violation.take() {
            return Err(what);
        }
        verdict.map_err(|what| format!("stack {i} sends what it must not: {what}"))?;
        s.turns += 1;
        if s.turns.is_multiple_of(self.plan.check_every) {
            s.stack.check_invariants().map_err(|broken| format!("stack {i}: {broken}"))?;
        }
        Ok((frames, out))
    }

    fn leave(&mut self, stack: usize, frames: Vec<Frame>) {
        let link = self.stacks[stack].uplink;
        for frame in frames {
            // The queue in front of a port has no limit of its own.
            if let Ok(Some(time)) = self.links[link].push(frame) {
                self.events.after(time, Event::Sent(link));
            }
        }
    }

    fn sent(&mut self, link: usize) {
        let now = self.events.now();
        let (out, next) = self.links[link].sent(now);
        if let Some(time) = next {
            self.events.after(time, Event::Sent(link));
        }
        if let Node::Stack(i) = self.links[link].from {
            let wire = &mut *self.stacks[i].wire.borrow_mut();
            wire.in_flight -= 1;
            wire.done += 1;
        }
        self.adversity.corrupted += u64::from(out.corrupted);
        self.adversity.reordered += u64::from(out.reordered);
        self.adversity.duplicated += u64::from(out.arrivals.len() > 1);
        if let Some((frame, why)) = out.lost {
            self.adversity.lost += 1;
            self.complain(&frame, why, self.links[link].config.mtu);
            self.log.note(now, || format!("   ({link}) {why:?}"));
            self.log.frame(now, link, What::Lost("on the wire"), &frame);
        }
        let stamp = self.plan.world.stamps && matches!(self.links[link].from, Node::Switch(_));
        for mut arrival in out.arrivals {
            if stamp {
                let l = &self.links[link];
                let hop = Hop::new(l.config.rate, l.queued(), now, l.stats.bytes);
                stamp_frame(&mut arrival.frame.bytes, &hop, link as u16 + 1);
            }
            if out.corrupted {
                self.log.frame(now, link, What::Corrupted, &arrival.frame);
            }
            self.events.at(arrival.at, Event::Arrive(link, arrival.frame));
        }
    }

    pub(super) fn arrive(&mut self, link: usize, frame: Frame) {
        match self.links[link].to {
            Node::Stack(i) => self.deliver(i, frame),
            Node::Switch(k) => {
                let switch = &self.switches[k];
                let Some(out) = switch.route(&frame) else {
                    self.drop_frame(link, "no such address", &frame);
                    return;
                };
                let latency = switch.latency;
                if switch.admit(&self.links, frame.wire_len()).is_err() {
                    self.drop_frame(out, "the switch's buffer is full", &frame);
                    return;
                }
                match self.links[out].push(frame) {
                    Ok(Some(time)) => self.events.after(latency + time, Event::Sent(out)),
                    Ok(None) => {}
                    Err(frame) => self.drop_frame(out, "the queue is full", &frame),
                }
            }
        }
    }

    /// A frame gets to a stack's port.
    pub(super) fn deliver(&mut self, i: usize, frame: Frame) {
        let now = self.events.now();
        let full = {
            let wire = self.stacks[i].wire.borrow();
            wire.rx.len() >= wire.rx_ring
        };
        if full {
            self.drop_frame(i, "the receive ring is full", &frame);
            return;
        }
        if self.forbids(&frame) {
            self.drop_frame(i, "forbidden", &frame);
            self.answer(&frame, Complaint::Forbidden);
            return;
        }
        self.stacks[i].wire.borrow_mut().rx.push_back(frame);
        let host = self.plan.stacks[i].host;
        let poll = self.hosts[host].rng.below(self.plan.hosts[host].poll) + 1;
        let at = (now + poll).max(self.hosts[host].free_at);
        self.turn_at(i, at);
    }

    fn drop_frame(&mut self, place: usize, why: &'static str, frame: &Frame) {
        self.adversity.dropped += 1;
        self.log.frame(self.events.now(), place, What::Lost(why), frame);
    }

    fn start(&mut self, flow: usize) {
        let plan = &self.plan.flows[flow];
        let both = plan.opening == Opening::Simultaneous;
        let stacks = plan.stacks;
        let mut full = false;
        for (side, i) in stacks.into_iter().enumerate().take(if both { 2 } else { 1 }) {
            let local = self.local(i);
            let s = &mut self.stacks[i];
            let connected = s.app.connect(&mut s.stack.cx(local), flow, side);
            self.turn_at(i, self.events.now());
            full |= !connected;
        }
        if full {
            self.events.after(CONNECT_AGAIN, Event::Start(flow));
        }
    }

    fn trouble(&mut self, i: usize) {
        let now = self.events.now();
        let what = self.plan.troubles[i].1;
        self.adversity.troubles += 1;
        self.log.note(now, || format!("{what:?}"));
        let time = match what {
            Trouble::Dead(stack, ways, time) => {
                self.set_dead(stack, ways, true);
                time
            }
            Trouble::SmallMtu(stack, mtu, time) => {
                self.set_mtu(stack, mtu);
                time
            }
            Trouble::Narrow(stack, mtu) => {
                self.narrowed[stack] = mtu;
                return self.set_mtu(stack, mtu);
            }
        };
        self.trouble_until = self.trouble_until.max(now + time);
        self.events.after(time, Event::Heal(i));
    }

    fn heal(&mut self, i: usize) {
        self.log.note(self.events.now(), || format!("{:?} is over", self.plan.troubles[i].1));
        match self.plan.troubles[i].1 {
            Trouble::Dead(stack, ways, _) => self.set_dead(stack, ways, false),
            Trouble::SmallMtu(stack, ..) => self.set_mtu(stack, u16::MAX),
            Trouble::Narrow(..) => {}
        }
    }

    fn set_dead(&mut self, stack: usize, ways: u8, dead: bool) {
        let s = &self.stacks[stack];
        for (link, hit) in [(s.downlink, ways != 1), (s.uplink, ways != 0)] {
            if hit {
                let d = &mut self.links[link].dead;
                *d = if dead { *d + 1 } else { *d - 1 };
            }
        }
    }

    fn set_mtu(&mut self, stack: usize, mtu: u16) {
        let s = &self.stacks[stack];
        for link in [s.uplink, s.downlink] {
            self.links[link].config.mtu = mtu.min(self.narrowed[stack]);
        }
    }

    /// The network dies for ever. Whoever lives sends what was held back for this moment.
    fn die(&mut self) {
        let now = self.events.now();
        self.dead_since = Some(now);
        self.log.note(now, || "the network dies".into());
        self.links.iter_mut().for_each(|l| l.dead += 1);
        self.shared.borrow_mut().dead = true;
        for i in 0..self.stacks.len() {
            self.stacks[i].app.wake = now;
            self.turn_at(i, now);
        }
    }

    /// Whether all is over; an error when a connection hangs.
    fn watch(&mut self) -> Result<bool, String> {
        let now = self.events.now();
        let mut step = S;
        if let Some(since) = self.over_since {
            if self.stacks.iter().all(|s| s.stack.connections() == 0) {
                return Ok(true);
            }
            if now - since > DRAIN {
                let left: Vec<_> = self.stacks.iter().map(|s| s.stack.connections()).collect();
                return Err(format!("all flows are over, but tables still hold {left:?} connections"));
            }
        } else {
            let shared = self.shared.borrow();
            let quiet_since = |f: &Flow| {
                let dies = if f.plan.ending == Ending::PathDies { self.dead_since.unwrap_or(now) } else { 0 };
                f.moved().max(f.plan.start).max(self.trouble_until.min(now)).max(dies)
            };
            if let Some(f) = shared.flows.iter().find(|f| !f.over() && now - quiet_since(f) > PATIENCE) {
                let sides: Vec<_> = f.sides.iter().map(|s| (s.queued, s.acked, s.received, s.closed)).collect();
                return Err(format!("flow {} hangs: (queued, acked, received, closed) {sides:?}", f.index));
            }
            // Who is to be refused is, first.
            let doomed = |f: &Flow| f.over() || f.plan.ending == Ending::PathDies && f.plan.opening != Opening::Refused;
            let dies = shared.flows.iter().all(doomed);
            drop(shared);
            if dies && self.dead_since.is_none() {
                self.die();
            }
            step = if now < S { 5 * MS } else { 100 * MS };
        }
        self.events.after(step, Event::Watch);
        Ok(false)
    }
}
