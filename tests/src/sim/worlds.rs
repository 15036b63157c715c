//! What kind of world a run is, beside the hosts and links of [`Plan`]: congestion control, telemetry, routers that answer,
//! paths that narrow for good, foreign memory, floods. Drawn apart, so that a new kind leaves the old choices as they were.

use luna_core::tcp::congestion::{CongestionKind, HpccConfig};
use luna_core::tcp::{Ecn, TcpConfig};
use luna_core::time::Duration;

use super::flow::{Ending, FlowPlan, Opening, Reader, SERVER};
use super::link::LinkConfig;
use super::plan::{MS, Plan, StackPlan, Trouble, US};
use super::rng::Rng;

/// Routers that say what they could not forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Routers {
    /// Of a million errors so many are sent: routers ration them.
    pub answered: u32,
    /// They say the MTU of the next link (RFC 1191); older ones say 0.
    pub say_mtu: bool,
    /// SYNs for ports where nobody listens are answered by a firewall, not by the host.
    pub forbid: bool,
}

/// SYNs from everywhere at one stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flood {
    /// The stack.
    pub stack: usize,
    /// From when on, and until when.
    pub time: (u64, u64),
    /// A burst of so many.
    pub burst: u32,
    /// Every so many ns.
    pub every: u64,
}

/// The kind of world.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct World {
    /// Switches stamp telemetry (the shim of `wire::int`).
    pub stamps: bool,
    /// ICMP errors.
    pub routers: Option<Routers>,
    /// A flood of SYNs.
    pub flood: Option<Flood>,
}

/// A path never takes less than this in the simulator: what [`TcpConfig::black_hole_timeouts`] goes down to.
const NARROWEST: [u64; 2] = [600, 1280];

impl Plan {
    /// Makes the plan that of its world.
    pub(super) fn set_world(&mut self, rng: &mut Rng) {
        let all = rng.one_in(2).then(|| rng.pick(&CongestionKind::ALL));
        let calm = self.calm;
        let lossless = self.stacks.iter().all(|s| s.link.faults.none()) && self.trunk.is_none_or(|t| t.faults.none());
        let slowest = self.stacks.iter().map(|s| s.link).chain(self.trunk).map(|l| l.rate).min().unwrap_or(1);
        let farthest = self.stacks.iter().map(|s| s.link).chain(self.trunk).map(|l: LinkConfig| l.delay).max();
        for s in &mut self.stacks {
            s.tcp.congestion = all.unwrap_or_else(|| rng.pick(&CongestionKind::ALL));
            s.tcp.hpcc = HpccConfig {
                base_rtt: Duration::from_nanos(farthest.unwrap_or(0) * 6 + 20 * US),
                line_rate: slowest / 8,
                ..HpccConfig::DEFAULT
            };
            settings(rng, &mut s.tcp, calm);
            if !calm && rng.one_in(20) {
                s.tables.recoveries = rng.range(0, 1) as usize;
            }
        }
        self.world.stamps = rng.one_in(2) || all == Some(CongestionKind::Hpcc) && !rng.one_in(4);
        let dies = self.flows.iter().any(|f| f.ending == Ending::PathDies);
        if !calm && rng.one_in(3) {
            self.world.routers = Some(Routers {
                answered: rng.pick(&[1_000_000, 1_000_000, 300_000, 50_000]),
                say_mtu: !rng.one_in(4),
                forbid: rng.one_in(2),
            });
        }
        if !calm && !dies && rng.one_in(4) {
            let family = usize::from(self.flows.iter().any(|f| f.addrs[0].is_ipv6()));
            let stack = rng.below(self.stacks.len() as u64) as usize;
            let mtu = rng.range(NARROWEST[family], 1480.max(NARROWEST[family])) as u16;
            self.troubles.push((rng.below(200 * MS), Trouble::Narrow(stack, mtu)));
        }
        for f in &mut self.flows {
            flow(rng, f, calm);
            if !calm && f.ending == Ending::BothClose && rng.one_in(3) {
                // About as long as the two FINs and their acknowledgments take.
                let after = rng.below(farthest.unwrap_or(0) * 6 + 200 * US);
                f.ending = Ending::Impatient(rng.below(2) as usize, after);
            }
            Self::ends_are_heard_of(&mut self.stacks, f);
        }
        if !calm && !dies && rng.one_in(6) {
            self.flood(rng, lossless);
        }
    }

    /// A reset that is lost is not sent again (RFC 9293 §3.10.5), nor is the end of who has forgotten it: a peer that only
    /// waits learns of it by asking (§3.8.4), or by a limit of its own.
    fn ends_are_heard_of(stacks: &mut [StackPlan], f: &FlowPlan) {
        let peer = match f.ending {
            Ending::Aborts(who, _) | Ending::ClosesEarly(who, _) | Ending::Revokes(who, _) => f.stacks[1 - who],
            Ending::Impatient(who, _) => f.stacks[1 - who],
            _ => return,
        };
        let tcp = &mut stacks[peer].tcp;
        if tcp.keepalive_idle.is_zero() {
            tcp.keepalive_idle = Duration::from_secs(10);
            (tcp.keepalive_interval, tcp.keepalive_count) = (Duration::from_secs(2), 60);
        }
        tcp.fin_wait_2 = tcp.fin_wait_2.min(Duration::from_secs(30));
    }

    /// Whether the server of a flow may answer it with a cookie.
    pub(super) fn gives_cookies(&self, f: &FlowPlan) -> bool {
        f.opening == Opening::Usual && self.world.flood.is_some_and(|flood| flood.stack == f.stacks[SERVER])
    }

    /// A flood that begins about when the flows do.
    fn flood(&mut self, rng: &mut Rng, lossless: bool) {
        let listening: Vec<usize> =
            self.flows.iter().filter(|f| f.opening == Opening::Usual).map(|f| f.stacks[SERVER]).collect();
        if listening.is_empty() {
            return;
        }
        let stack = rng.pick(&listening);
        for s in &mut self.stacks {
            // Cookies do not know smaller ones.
            s.tcp.max_mss = if s.tcp.max_mss == 88 { 300 } else { s.tcp.max_mss };
        }
        // A cookie's acknowledgment that is replayed opens its connection again.
        self.forged = (0, 0);
        let from = rng.below(10 * MS);
        let time = (from, from + rng.range(5, 200) * MS);
        self.world.flood = Some(Flood { stack, time, burst: rng.range(1, 24) as u32, every: rng.range(50, 1000) * US });
        if lossless && rng.one_in(2) {
            // Slots that a flood took come back soon; whoever knocks meanwhile knocks again.
            let flows = self.flows.len();
            // Who finds its table full cannot open at the same moment as its peer, which is refused then, and rightly.
            let simultaneous =
                self.flows.iter().any(|f| f.opening == Opening::Simultaneous && f.stacks.contains(&stack));
            let victim = &mut self.stacks[stack];
            victim.tcp.connect_timeout = Duration::from_secs(3);
            match rng.below(3) {
                0 => victim.tcp.syn_cookies = false,
                _ if simultaneous => {}
                1 => victim.tables.connections = flows * 2 + 1,
                _ => {
                    victim.tables.controls = flows * 2 + 1;
                    if victim.tcp.congestion == CongestionKind::NewReno {
                        victim.tcp.congestion = CongestionKind::Cubic;
                    }
                }
            }
            for s in &mut self.stacks {
                s.tcp.max_rto = Duration::from_secs(1);
            }
            for (i, s) in self.stacks.iter_mut().enumerate() {
                if i != stack {
                    s.tcp.connect_timeout = Duration::from_secs(120);
                }
            }
        }
    }
}

/// What a stack may do otherwise.
fn settings(rng: &mut Rng, tcp: &mut TcpConfig, calm: bool) {
    tcp.ecn = rng.pick(&[Ecn::Off, Ecn::Accept, Ecn::Request, Ecn::Request]);
    tcp.rack = !rng.one_in(4);
    // A few of everything that waits long, so that it comes within a run.
    if rng.one_in(3) {
        tcp.pmtu_raise = Duration::from_secs(rng.range(2, 20));
    }
    if !calm && rng.one_in(3) {
        tcp.keepalive_idle = Duration::from_millis(rng.range(20, 400));
        tcp.keepalive_interval = Duration::from_millis(rng.range(500, 2000));
        tcp.keepalive_count = 60;
    }
    if rng.one_in(6) {
        // A unit of the field is less than a segment, and some of them are a window.
        let most = (tcp.rcv_wnd / 4).clamp(1, 1024).ilog2();
        tcp.window_scale = Some(rng.below(u64::from(most) + 1) as u8);
    }
    if rng.one_in(8) {
        tcp.tos = rng.below(64) as u8 * 4;
    }
}

/// What a flow may do otherwise.
fn flow(rng: &mut Rng, f: &mut FlowPlan, calm: bool) {
    for half in &mut f.halves {
        half.foreign = half.reader != Reader::Echoes && rng.one_in(5);
    }
    if !calm && f.ending.is_abort() && rng.one_in(2) {
        let (Ending::Aborts(who, after) | Ending::ClosesEarly(who, after)) = f.ending else { return };
        f.halves[who].foreign = true;
        f.ending = Ending::Revokes(who, after);
    }
}
