//! The connection ends: every call ends once, every name is stale, every obj is given back.

use super::harness::{Event, Pair, carry, method, pattern};
use crate::rpc::*;
use crate::time::Duration;

#[test]
fn calls_in_flight_end_with_the_connection() {
    for maybe_executed in [false, true] {
        let mut pair = Pair::new();
        pair.a.call(method::DETACH, b"", b"", Some(Duration::from_secs(1)), 1).unwrap();
        pair.a.call(method::DETACH, b"", b"", None, 2).unwrap();
        let cancelled = pair.a.call(method::DETACH, b"", b"", None, 3).unwrap();
        carry(&mut pair.a, &mut pair.b, 9000);
        pair.a.session.cx(&mut pair.a.wire).cancel(cancelled);
        pair.a.closed(maybe_executed);
        let lost = Err(RpcError::ConnectionLost { maybe_executed });
        assert_eq!(pair.a.app.outcomes(), [(1, lost.clone()), (2, lost), (3, Err(RpcError::Cancelled))]);
        assert_eq!(pair.a.session.counters().calls_lost, 2);
        assert_eq!(pair.a.session.poll_deadline(), None);
        assert!(pair.a.session.is_idle());
        // Once only, whatever happens next.
        pair.a.closed(maybe_executed);
        pair.a.timeout(pair.a.wire.now + Duration::from_secs(5));
        assert_eq!(pair.a.app.outcomes().len(), 3);
        let closed = Err(CallError::Stream(StreamError::Closed));
        pair.a.wire.refuse = None;
        assert_eq!(pair.a.call(method::ECHO, b"", b"", None, 4), closed);
        assert_eq!(pair.a.handle(b"x"), Err(SessionError::Ended));
        assert!(pair.a.wire.out.is_empty() || pair.a.wire.out.len() == 1, "nothing after the cancel");
    }
}

#[test]
fn a_call_cancelled_while_the_others_are_lost_ends_as_cancelled() {
    let mut pair = Pair::new();
    pair.a.call(method::DETACH, b"", b"", None, 1).unwrap();
    let second = pair.a.call(method::DETACH, b"", b"", None, 2).unwrap();
    pair.a.app.cancel_next = Some(second);
    pair.a.closed(true);
    let lost = Err(RpcError::ConnectionLost { maybe_executed: true });
    assert_eq!(pair.a.app.outcomes(), [(1, lost), (2, Err(RpcError::Cancelled))]);
    assert_eq!(pair.a.session.poll_deadline(), None, "nothing is left to say");
    assert!(pair.a.session.is_idle());
}

#[test]
fn detached_replies_are_stale_and_the_application_is_told() {
    let mut pair = Pair::new();
    pair.a.call(method::DETACH, b"", b"", None, 1).unwrap();
    carry(&mut pair.a, &mut pair.b, 9000);
    let name = pair.b.app.names[0];
    pair.b.closed(true);
    assert_eq!(pair.b.app.events.last(), Some(&Event::Cancel(name)));
    assert_eq!(pair.b.reply_detached(name, b"x"), Err(ReplyError::Stale));
}

#[test]
fn a_frame_cut_off_gives_its_memory_back() {
    let mut pair = Pair::new();
    pair.a.call(method::ECHO, b"", &pattern(4096), None, 1).unwrap();
    let bytes = pair.a.wire.bytes();
    pair.b.handle(&bytes[..1448]).unwrap();
    pair.b.handle(&bytes[1448..2000]).unwrap();
    assert!(pair.b.session.held() > 0 && pair.b.objs() > 0);
    pair.b.closed(true);
    assert_eq!(pair.b.handle(&bytes[2000..3000]), Err(SessionError::Ended));
    assert_eq!((pair.b.session.held(), pair.b.objs()), (0, 0));
    assert_eq!(pair.b.app.events, []);
}

#[test]
fn a_streamed_body_cut_off_ends_once() {
    let config = SessionConfig { gather_limit: 100, ..SessionConfig::DEFAULT };
    let mut pair = Pair::with(config, 4);
    pair.a.call(method::ECHO, b"", &pattern(4096), None, 1).unwrap();
    let bytes = pair.a.wire.bytes();
    pair.b.handle(&bytes[..1448]).unwrap();
    pair.b.closed(true);
    pair.b.closed(true);
    assert_eq!(pair.b.app.events.len(), 3);
    assert_eq!(pair.b.app.events[2], Event::End { cookie: 1, result: Err(BodyError::ConnectionLost) });
    assert_eq!(pair.b.app.replies, [Err(ReplyError::NothingToAnswer)]);
    assert_eq!(pair.b.session.counters().unanswered, 0);
}

#[test]
fn a_protocol_error_ends_everything_but_in_order() {
    let mut pair = Pair::new();
    pair.b.call(method::ECHO, b"", b"", None, 7).unwrap();
    pair.a.call(method::DETACH, b"", b"", None, 1).unwrap();
    carry(&mut pair.a, &mut pair.b, 9000);
    pair.b.wire.out.clear();
    assert!(matches!(pair.b.handle(&[9; 40]), Err(SessionError::Frame(FrameError::Version(9)))));
    assert_eq!(pair.b.session.counters().protocol_errors, 1);
    assert_eq!(pair.b.handle(&[9; 40]), Err(SessionError::Ended));
    assert_eq!(pair.b.session.counters().protocol_errors, 1);
    assert_eq!(pair.b.app.outcomes(), [], "not before the connection is gone");
    let name = pair.b.app.names[0];
    assert_eq!(pair.b.reply_detached(name, b"x"), Err(ReplyError::Stream(StreamError::Closed)));
    assert_eq!(pair.b.session.cx(&mut pair.b.wire).ping(1), Err(CallError::Stream(StreamError::Closed)));
    assert!(pair.b.wire.out.is_empty(), "no frame after the end");
    pair.b.closed(true);
    assert_eq!(pair.b.app.outcomes(), [(7, Err(RpcError::ConnectionLost { maybe_executed: true }))]);
}
