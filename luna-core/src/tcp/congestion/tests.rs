//! What all controllers share, and what no controller may do whatever it is told.

use proptest::prelude::*;

use super::*;
use crate::slab::Slab;
use crate::tcp::congestion::pool::Algorithm;
use crate::tcp::{AckEnv, Connection, Control, Recovery, Segment, SendEntry, TcpConfig};
use crate::wire::int::Hop;

pub(super) const MSS: u32 = 1000;

/// An acknowledgment of `acked` bytes under a window in full use.
pub(super) fn ack(acked: u32) -> Ack<'static> {
    Ack {
        now: Instant::from_nanos(1),
        acked,
        marked: false,
        mss: MSS,
        grow: true,
        rtt: None,
        srtt: Duration::from_micros(100),
        flight: 0,
        una: SeqNum(0),
        nxt: SeqNum(0),
        telemetry: None,
    }
}

pub(super) fn cut(flight: u32) -> Cut {
    Cut { now: Instant::from_nanos(1), flight, mss: MSS, nxt: SeqNum(0) }
}

#[test]
fn an_idle_window_halves_with_each_timeout_down_to_the_restart_window_and_remembers() {
    let mut w = Window { cwnd: 80 * MSS, ssthresh: 20 * MSS };
    decay(&mut w, 10 * MSS, 2);
    assert_eq!(w, Window { cwnd: 20 * MSS, ssthresh: 60 * MSS });
    decay(&mut w, 10 * MSS, 40);
    assert_eq!(w, Window { cwnd: 10 * MSS, ssthresh: 60 * MSS });
    decay(&mut w, 10 * MSS, u32::MAX);
    assert_eq!(w.cwnd, 10 * MSS, "no larger window to lose");
}

#[test]
fn names() {
    assert_eq!(CongestionKind::default(), CongestionKind::NewReno);
    let names: Vec<_> = CongestionKind::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["newreno", "cubic", "dctcp", "hpcc"]);
}

/// `test` with a connection of 20 segments in flight, controlled by `kind`, and what it needs around it.
fn with_connection(kind: CongestionKind, test: impl Fn(&mut Connection, &mut AckEnv<'_, '_>)) {
    let config = TcpConfig { congestion: kind, ..TcpConfig::DATACENTER };
    let mut controls: Vec<Control> = (0..1).map(|_| Control::default()).collect();
    let mut segments: Vec<Segment> = (0..1).map(|_| Segment::default()).collect();
    let mut sends: Vec<SendEntry> = (0..1).map(|_| SendEntry::default()).collect();
    let mut recoveries: Vec<Recovery> = (0..1).map(|_| Recovery::default()).collect();
    let mut counters = crate::counters::Counters::default();
    let mut env = AckEnv {
        now: Instant::from_nanos(1),
        config: &config,
        segments: &mut Slab::new(&mut segments),
        sends: &mut Slab::new(&mut sends),
        recoveries: &mut Slab::new(&mut recoveries),
        controls: &mut Slab::new(&mut controls),
        counters: &mut counters,
        ece: false,
    };
    let mut c = Connection { mss: 1000, snd_nxt: SeqNum(20_000), ..Connection::default() };
    c.take_control(0, kind, &config, env.controls).unwrap();
    assert_eq!(c.congestion_kind(env.controls), kind);
    c.cold.cut_point = SeqNum(u32::MAX);
    c.start_congestion(&config, env.controls);
    test(&mut c, &mut env);
}

/// A connection tells its controller of a loss, then that it was none: the window and the controller are as before,
/// whichever it is.
#[test]
#[cfg_attr(not(feature = "controllers"), ignore = "needs controllers")]
fn a_connection_takes_a_spurious_loss_back() {
    for kind in CongestionKind::ALL {
        with_connection(kind, |c, env| {
            let before = c.congestion.window;
            c.congestion_loss(env);
            assert!(c.congestion.window.cwnd < before.cwnd, "{kind}");
            c.congestion_spurious(env.controls, before);
            assert_eq!(c.congestion.window, before, "{kind}");
            c.congestion_timeout(env, true);
            assert_eq!(c.congestion.window.cwnd, 1000, "{kind}");
            c.congestion_spurious(env.controls, before);
            assert_eq!(c.congestion.window, before, "{kind}");
            let another = c.take_control(0, CongestionKind::Cubic, env.config, env.controls);
            assert_eq!(another.is_err(), kind != CongestionKind::NewReno);
            c.release_control(env.controls);
            assert_eq!(env.controls.available(), 1, "{kind}");
            assert_eq!(c.congestion_kind(env.controls), CongestionKind::NewReno);
        });
    }
}

/// A loss in a window that was cut for its marks says nothing more (RFC 3168 §6.1.2), where marks do what losses do. They do
/// not under DCTCP (RFC 8257 §3.5), nor under HPCC, who goes by telemetry.
#[test]
#[cfg_attr(not(feature = "controllers"), ignore = "needs controllers")]
fn a_loss_behind_a_mark_cuts_only_where_the_mark_did_not_as_much() {
    for kind in CongestionKind::ALL {
        with_connection(kind, |c, env| {
            c.take_echo(env, 20_000);
            let marked = c.congestion.window.cwnd;
            // Still in that window, with half of it acknowledged.
            c.snd_una = SeqNum(10_000);
            c.congestion_loss(env);
            let again = matches!(kind, CongestionKind::Dctcp | CongestionKind::Hpcc);
            assert_eq!(c.congestion.window.cwnd < marked, again, "{kind}");
        });
    }
}

#[test]
fn an_initial_window_beyond_the_largest_is_the_largest() {
    with_connection(CongestionKind::NewReno, |c, env| {
        c.mss = u16::MAX;
        let config = TcpConfig { initial_window: u16::MAX, ..*env.config };
        c.start_congestion(&config, env.controls);
        assert_eq!(c.congestion.window.cwnd, MAX_WINDOW);
    });
}

#[derive(Clone, Debug)]
enum Event {
    Ack { acked: u32, marked: bool, grow: bool, after: u64, rtt: u64 },
    Loss(u32),
    Ecn(u32),
    Recovered(u32),
    Timeout(u32, bool),
    Spurious,
    Idle(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1u32..1 << 24, any::<bool>(), any::<bool>(), 0u64..10_000_000_000, 1u64..1_000_000_000).prop_map(
            |(acked, marked, grow, after, rtt)| Event::Ack { acked, marked, grow, after, rtt }
        ),
        1 => (0u32..1 << 30).prop_map(Event::Loss),
        1 => (0u32..1 << 30).prop_map(Event::Ecn),
        1 => (0u32..1 << 30).prop_map(Event::Recovered),
        1 => (0u32..1 << 30, any::<bool>()).prop_map(|(f, first)| Event::Timeout(f, first)),
        1 => Just(Event::Spurious),
        1 => any::<u32>().prop_map(Event::Idle),
    ]
}

proptest! {
    /// No arithmetic overflows (debug builds check), and the window stays between its bounds.
    #[test]
    fn no_history_breaks_a_controller(
        mss in 64u32..9000, kind in 0usize..4, events in proptest::collection::vec(event(), 1..200)
    ) {
        let mut window = Window::new(10 * mss);
        let mut reno = NewReno::new();
        let mut pooled = match kind {
            1 => Some(Algorithm::Cubic(Cubic::new())),
            2 => Some(Algorithm::Dctcp(Dctcp::new())),
            3 => Some(Algorithm::Hpcc(Hpcc::new(HpccConfig::DEFAULT))),
            _ => None,
        };
        let c: &mut dyn CongestionControl = match &mut pooled {
            Some(algorithm) => algorithm,
            None => &mut reno,
        };
        let mut now = Instant::from_nanos(1);
        let mut prior = window;
        let (mut una, mut telemetry) = (SeqNum(0), Telemetry::EMPTY);
        telemetry.push(Hop::new(1_000_000_000, 0, 0, 0));
        for event in events {
            let cut = |flight| Cut { now, flight, mss, nxt: una };
            match event {
                Event::Ack { acked, marked, grow, after, rtt } => {
                    now = now + Duration::from_nanos(after);
                    una += acked;
                    let mut t = Telemetry::EMPTY;
                    t.push(Hop::new(after, rtt, now.as_nanos(), u64::from(una.0)));
                    telemetry = t;
                    let rtt = Duration::from_nanos(rtt);
                    c.on_ack(&mut window, &Ack {
                        now, acked, marked, mss, grow, rtt: Some(rtt), srtt: rtt, flight: acked, una, nxt: una + acked,
                        telemetry: Some(&telemetry),
                    });
                }
                Event::Loss(f) => { prior = window; c.on_loss(&mut window, &cut(f)); }
                Event::Ecn(f) => { prior = window; c.on_ecn(&mut window, &cut(f)); }
                Event::Recovered(f) => c.on_recovered(&mut window, f, mss),
                Event::Timeout(f, first) => { prior = window; c.on_timeout(&mut window, &cut(f), first); }
                Event::Spurious => c.on_spurious(&mut window, prior),
                Event::Idle(n) => c.on_idle(&mut window, 10 * mss, n.max(1)),
            }
            prop_assert!(window.cwnd <= MAX_WINDOW + mss, "{window:?} after {event:?}");
            prop_assert!(window.cwnd >= if kind == 3 { 64 } else { mss }, "{window:?} after {event:?}");
            prop_assert!(c.pacing_rate().is_none_or(|r| r > 0));
        }
    }
}
