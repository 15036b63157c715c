//! Running a script: each event at its moment, everything sent matched with what is expected next.

use luna_core::socket::{RecvChunk, SocketSlot, Sockets, SocketsConfig, SocketsStorage, TxPacket};
use luna_core::stack::{FlowEntry, Listener, Neighbor, Storage};
use luna_core::tcp::{Connection, Control, OutOfOrder, Recovery, Segment, SendEntry, Transitions};
use luna_core::time::{Duration, Instant};

use super::ast::{Action, Call, Event, Packet, Script, Time};
use super::calls::{Answer, Fds};
use super::expr::Statement;
use super::settings::Settings;
use super::source::Source;
use super::world::{PORT, Sent, World, addresses};
use super::{names, parse};

/// Where the clock stands when a script begins: not 0, so that 0 is no time by accident.
const BEGIN: Instant = Instant::from_nanos(1_000_000_000);
/// How long `*` waits for a packet.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Runs a script from its text, with a fresh stack. Returns how its connections went from state to state.
///
/// # Errors
/// Everything there is to say about why it failed, for people.
pub fn run(source: &Source) -> Result<Transitions, String> {
    let script = parse(&source.text).map_err(|e| e.explain(source))?;
    let settings = Settings::from_script(&script.settings).map_err(|e| e.explain(source))?;
    let n = settings.connections;
    let pool = crate::memory::pool(2, 2048);
    let (ours, _) = addresses(settings.v6);
    let storage = SocketsStorage {
        stack: Storage {
            connections: &mut table::<Connection>(n),
            flows: &mut table::<FlowEntry>((2 * n).next_power_of_two()),
            sends: &mut table::<SendEntry>(1024),
            segments: &mut table::<Segment>(1024),
            out_of_order: &mut table::<OutOfOrder>(256),
            recoveries: &mut table::<Recovery>(8),
            controls: &mut table::<Control>(n),
            listeners: &mut table::<Listener>(8),
            neighbors: &mut table::<Neighbor>(16),
        },
        sockets: &mut table::<SocketSlot>(2 * n),
        chunks: &mut table::<RecvChunk>(1024),
        packets: &mut table::<TxPacket>(1024),
    };
    let ours = [ours];
    let config = SocketsConfig {
        mtu: settings.mtu,
        ..SocketsConfig::new(&ours, *b"One script, one seed, one result", settings.tcp)
    };
    let sockets = Sockets::new(config, storage, pool, BEGIN).map_err(|e| format!("{}: {e}", source.name))?;
    let world = World::new(sockets, BEGIN, settings.v6);
    Run { source, settings: &settings, world, fds: Fds::default(), base: BEGIN, waiting: Vec::new() }.whole(&script)
}

fn table<T: Default>(n: usize) -> Vec<T> {
    (0..n).map(|_| T::default()).collect()
}

/// A call that waits for its end.
struct Waiting {
    call: Call,
    from: Instant,
    to: Instant,
    at: usize,
}

struct Run<'a, 'm> {
    source: &'a Source,
    settings: &'a Settings,
    world: World<'m>,
    fds: Fds,
    /// When the event before happened.
    base: Instant,
    waiting: Vec<Waiting>,
}

fn span(d: core::time::Duration) -> Duration {
    Duration::from_nanos(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

impl Run<'_, '_> {
    fn whole(mut self, script: &Script) -> Result<Transitions, String> {
        for event in &script.events {
            self.event(event)?;
        }
        while let Some(last) = self.waiting.first().map(|w| w.to) {
            self.quietly_to(last + span(self.settings.tolerance), script.events.last())?;
            if let Some(w) = self.waiting.first() {
                return Err(self.fail(w.at, "this call has not returned"));
            }
        }
        self.nothing_sent(None)?;
        Ok(self.world.sockets.counters().transitions)
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let since = |t: core::time::Duration| BEGIN + span(t);
        let after = |t: core::time::Duration| self.base + span(t);
        let (from, to) = match event.time {
            Time::Any => (self.world.now, self.world.now + PATIENCE),
            Time::Absolute(from, to) => (since(from), since(to)),
            Time::Relative(from, to) => (after(from), after(to)),
            Time::Waits(false, from, to) => (since(from), since(to)),
            Time::Waits(true, from, to) => (after(from), after(to)),
        };
        if let Action::Outbound(expected) = &event.action {
            return self.outbound(event, expected, from, to);
        }
        if from < self.world.now {
            let message = format!("this is in the past: it is {} already", self.world.clock(self.world.now));
            return Err(self.fail(event.text.start, &message));
        }
        self.quietly_to(from, Some(event))?;
        self.base = from;
        match &event.action {
            Action::Inbound(packet) => {
                self.world.arrive(packet).map_err(|e| self.fail(event.text.start, &e))?;
                self.settle()
            }
            Action::Call(call) => self.call(event, call, from, to),
            Action::Check(statements) => self.check(statements),
            Action::Outbound(_) => Ok(()),
        }
    }

    /// On to `until`, during which nothing may be sent.
    fn quietly_to(&mut self, until: Instant, next: Option<&Event>) -> Result<(), String> {
        self.nothing_sent(next)?;
        while self.world.now < until {
            self.world.step(until);
            self.settle()?;
            self.nothing_sent(next)?;
        }
        // What is due at this very moment comes before what the script does at it.
        self.world.step(until);
        self.settle()?;
        self.nothing_sent(next)
    }

    fn nothing_sent(&self, next: Option<&Event>) -> Result<(), String> {
        let Some(sent) = self.world.sent.front() else { return Ok(()) };
        let at = next.map_or(self.source.text.len(), |e| e.text.start);
        let what = self.sent_line(sent);
        let place = if next.is_some() { "before this" } else { "at the end" };
        Err(self.fail(at, &format!("{place}, a packet was sent that nobody expected\n  sent      {what}")))
    }

    fn sent_line(&self, sent: &Sent) -> String {
        match &sent.seen {
            Ok(seen) => format!("{} > {}", self.world.clock(sent.at), self.world.shown(seen)),
            Err(why) => format!("{} > a broken packet: {why}", self.world.clock(sent.at)),
        }
    }

    fn outbound(&mut self, event: &Event, expected: &Packet, from: Instant, to: Instant) -> Result<(), String> {
        let tolerance = span(self.settings.tolerance);
        let latest = to + tolerance;
        while self.world.sent.is_empty() && self.world.now < latest {
            self.world.step(latest);
            self.settle()?;
        }
        let text = self.text(event);
        let at = event.text.start;
        let Some(sent) = self.world.sent.pop_front() else {
            let message = format!("this was not sent by {}\n  expected  {text}", self.world.clock(latest));
            return Err(self.fail(at, &message));
        };
        let what = self.sent_line(&sent);
        let fail = |this: &Self, why: &str| this.fail(at, &format!("{why}\n  expected  {text}\n  sent      {what}"));
        let seen = sent.seen.map_err(|why| self.fail(at, &format!("a broken packet was sent: {why}")))?;
        if let Err(why) = self.world.judge(expected, &seen) {
            // By now its numbers may be known.
            let what = format!("{} > {}", self.world.clock(sent.at), self.world.shown(&seen));
            return Err(self.fail(at, &format!("{why}\n  expected  {text}\n  sent      {what}")));
        }
        if sent.at + tolerance < from {
            return Err(fail(self, &format!("{} too early", self.apart(from, sent.at))));
        }
        if sent.at > latest {
            return Err(fail(self, &format!("{} too late", self.apart(sent.at, to))));
        }
        self.base = sent.at;
        Ok(())
    }

    fn apart(&self, later: Instant, earlier: Instant) -> String {
        format!("{} µs", later.since(earlier).as_nanos() / 1000)
    }

    fn call(&mut self, event: &Event, call: &Call, from: Instant, to: Instant) -> Result<(), String> {
        let at = event.text.start;
        self.world.note(format!("{}(...)", call.name));
        let answer = self.fds.call(&mut self.world, self.settings.v6, call, false).map_err(|e| self.fail(at, &e))?;
        if matches!(event.time, Time::Waits(..)) {
            if matches!(&answer, Answer::Failed(e) if e == "EAGAIN" || e == "EINPROGRESS") {
                self.waiting.push(Waiting { call: call.clone(), from, to, at });
                return self.settle();
            }
            if to > from {
                return Err(self.fail(at, "this returned at once"));
            }
        }
        self.returned(at, call, answer)?;
        self.settle()
    }

    fn returned(&self, at: usize, call: &Call, answer: Answer) -> Result<(), String> {
        let (said, content) = match answer {
            Answer::Failed(errno) => (format!("-1 {errno}"), Ok(())),
            Answer::Returned(n, content) => (n.to_string(), content),
        };
        let wanted = match &call.errno {
            Some(errno) => format!("-1 {errno}"),
            None => call.result.to_string(),
        };
        if said != wanted {
            return Err(self.fail(at, &format!("this returned {said}, not {wanted}")));
        }
        content.map_err(|why| self.fail(at, &why))
    }

    /// Lets calls that wait try again.
    fn settle(&mut self) -> Result<(), String> {
        let now = self.world.now;
        let tolerance = span(self.settings.tolerance);
        let mut still = Vec::new();
        for w in core::mem::take(&mut self.waiting) {
            let answer =
                self.fds.call(&mut self.world, self.settings.v6, &w.call, true).map_err(|e| self.fail(w.at, &e))?;
            if matches!(&answer, Answer::Failed(e) if e == "EAGAIN" || e == "EINPROGRESS") {
                if now > w.to + tolerance {
                    return Err(self.fail(w.at, "this call has not returned"));
                }
                still.push(w);
                continue;
            }
            if now + tolerance < w.to || now < w.from {
                return Err(self.fail(w.at, &format!("this returned {} too early", self.apart(w.to, now))));
            }
            self.returned(w.at, &w.call, answer)?;
        }
        still.append(&mut self.waiting);
        self.waiting = still;
        Ok(())
    }

    fn check(&self, statements: &[Statement]) -> Result<(), String> {
        let mut number = self.fds.current;
        for statement in statements {
            match statement {
                Statement::Use(n) => number = Some(*n),
                Statement::Assert { at, condition, message } => {
                    let fd = number.and_then(|n| self.fds.get(n).ok());
                    let lookup = |name: &str| names::value(&self.world, fd, name);
                    let value = condition.eval(&lookup).map_err(|e| self.fail(*at, &e))?;
                    if value == 0 {
                        let values: Vec<String> = condition
                            .names()
                            .iter()
                            .map(|n| format!("{n} = {}", lookup(n).map_or("?".into(), |v| v.to_string())))
                            .collect();
                        let why = message.as_deref().unwrap_or("this is not so");
                        return Err(self.fail(*at, &format!("{why}: {condition}, with {}", values.join(", "))));
                    }
                }
            }
        }
        Ok(())
    }

    /// An event as the script has it, on one line.
    fn text(&self, event: &Event) -> String {
        self.source.text[event.text.clone()].split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn fail(&self, at: usize, message: &str) -> String {
        let line = self.source.line(at);
        let line = if line.is_empty() { String::new() } else { format!("\n    {}", line.trim()) };
        format!(
            "{}: {message}{line}\nat {} (port {PORT} is ours); what happened last:\n{}",
            self.source.place(at),
            self.world.clock(self.world.now),
            self.world.recent()
        )
    }
}
