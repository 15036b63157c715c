//! The server's view: answering, detaching, not answering, and streams without room.

use std::vec::Vec;

use super::harness::{Event, Pair, carry, method, pattern};
use crate::rpc::*;
use crate::time::Duration;

fn status(outcome: &super::harness::Outcome) -> Status {
    outcome.as_ref().expect("a response").0
}

#[test]
fn a_handler_that_does_nothing_is_answered_for() {
    let mut pair = Pair::new();
    pair.a.call(method::SILENT, b"", b"x", None, 1).unwrap();
    pair.settle(9000);
    assert_eq!(pair.a.app.outcomes(), [(1, Ok((Status::UNANSWERED, Vec::new(), Vec::new())))]);
    assert_eq!(pair.b.session.counters().unanswered, 1);
    assert_eq!(pair.b.objs(), 0, "the payload that it left was dropped");
}

#[test]
fn one_request_has_one_answer() {
    let mut pair = Pair::new();
    pair.a.call(method::TWICE, b"", b"", None, 1).unwrap();
    pair.settle(9000);
    assert_eq!(pair.b.app.replies, [Ok(()), Err(ReplyError::NothingToAnswer), Err(ReplyError::NothingToAnswer)]);
    assert_eq!(pair.a.app.outcomes(), [(1, Ok((Status::NOT_FOUND, Vec::new(), Vec::new())))]);
    assert_eq!(pair.a.session.counters().stale_responses, 0);
    // Outside of callbacks there is nothing to answer.
    let mut cx = pair.b.session.cx(&mut pair.b.wire);
    assert_eq!(cx.reply_status(Status::OK), Err(ReplyError::NothingToAnswer));
    assert_eq!(cx.detach(), Err(ReplyError::NothingToAnswer));
}

#[test]
fn detached_replies_come_in_any_order_and_once() {
    let mut pair = Pair::new();
    for user in 0..3 {
        pair.a.call(method::DETACH, b"", b"", None, user).unwrap();
    }
    pair.settle(9000);
    let names = pair.b.app.names.clone();
    assert_eq!(pair.a.app.outcomes(), []);
    pair.b.reply_detached(names[2], b"two").unwrap();
    pair.b.reply_detached(names[0], b"zero").unwrap();
    assert_eq!(pair.b.reply_detached(names[2], b"again"), Err(ReplyError::Stale));
    pair.settle(9000);
    let later = |bytes: &[u8]| Ok((Status::OK, b"later".to_vec(), bytes.to_vec()));
    assert_eq!(pair.a.app.outcomes(), [(2, later(b"two")), (0, later(b"zero"))]);
    // The slots are used again, the old names stay stale.
    pair.a.call(method::DETACH, b"", b"", None, 9).unwrap();
    pair.settle(9000);
    assert_eq!(pair.b.reply_detached(names[0], b"x"), Err(ReplyError::Stale));
    assert_eq!(pair.b.session.counters().stale_replies, 2);
    assert_eq!(pair.b.session.cx(&mut pair.b.wire).detached(), 2);
}

#[test]
fn a_detached_reply_survives_a_full_stream() {
    let mut pair = Pair::new();
    pair.a.call(method::DETACH, b"", b"", None, 1).unwrap();
    pair.settle(9000);
    let name = pair.b.app.names[0];
    pair.b.wire.refuse = Some(StreamError::Full);
    assert_eq!(pair.b.reply_detached(name, b"x"), Err(ReplyError::Stream(StreamError::Full)));
    pair.b.wire.refuse = None;
    pair.b.reply_detached(name, b"x").unwrap();
    pair.settle(9000);
    assert_eq!(pair.a.app.outcomes().len(), 1);
}

#[test]
fn without_room_for_detached_replies_the_client_hears_busy() {
    let mut pair = Pair::with(SessionConfig::DEFAULT, 2);
    pair.a = super::harness::End::new(SessionConfig::DEFAULT, 8);
    for user in 0..4 {
        pair.a.call(method::DETACH, b"", b"", None, user).unwrap();
    }
    pair.settle(9000);
    let outcomes = pair.a.app.outcomes();
    assert_eq!(
        outcomes.iter().map(|(user, o)| (*user, status(o))).collect::<Vec<_>>(),
        [(2, Status::BUSY), (3, Status::BUSY)]
    );
    assert_eq!(pair.b.session.counters().detached_refused, 2);
    assert_eq!(pair.b.session.counters().unanswered, 0);
    assert_eq!(pair.b.app.replies[2..], [Err(ReplyError::TableFull), Err(ReplyError::TableFull)]);
}

#[test]
fn a_reply_after_the_deadline_is_dropped() {
    let mut pair = Pair::new();
    pair.a.call(method::DETACH, b"", b"", Some(Duration::from_millis(1)), 1).unwrap();
    carry(&mut pair.a, &mut pair.b, 9000);
    let name = pair.b.app.names[0];
    pair.b.wire.now = pair.b.wire.now + Duration::from_millis(1);
    assert_eq!(pair.b.reply_detached(name, b"x"), Err(ReplyError::DeadlinePassed));
    assert_eq!(pair.b.reply_detached(name, b"x"), Err(ReplyError::Stale));
    assert_eq!(pair.b.session.counters().late_replies, 1);
    assert!(pair.b.wire.out.is_empty() && pair.b.session.is_idle());
}

#[test]
fn answers_of_the_session_wait_for_room_in_order() {
    let mut pair = Pair::new();
    for (user, method) in [(1, method::SILENT), (2, method::ECHO), (3, method::SILENT)] {
        pair.a.call(method, b"", b"x", None, user).unwrap();
    }
    pair.b.wire.refuse = Some(StreamError::Full);
    carry(&mut pair.a, &mut pair.b, 9000);
    // Echo was refused too, and gave up.
    assert_eq!(pair.b.app.replies, [Err(ReplyError::Stream(StreamError::Full))]);
    assert_eq!(pair.b.session.counters().answers_delayed, 3);
    assert!(!pair.b.session.is_idle());
    let retry = pair.b.session.poll_deadline().expect("a retry");
    pair.b.timeout(retry);
    assert!(pair.b.session.poll_deadline().expect("another") > retry);
    pair.b.wire.refuse = None;
    pair.b.session.handle_writable(&mut pair.b.wire, &mut pair.b.app);
    pair.settle(9000);
    assert_eq!(
        pair.a.app.outcomes().iter().map(|(user, o)| (*user, status(o))).collect::<Vec<_>>(),
        [(1, Status::UNANSWERED), (2, Status::UNANSWERED), (3, Status::UNANSWERED)]
    );
    assert!(pair.b.session.is_idle());
}

#[test]
fn owed_answers_go_out_by_timer_alone() {
    let mut pair = Pair::new();
    pair.a.call(method::SILENT, b"", b"", None, 1).unwrap();
    pair.b.wire.no_objs = true;
    carry(&mut pair.a, &mut pair.b, 9000);
    pair.b.wire.no_objs = false;
    let retry = pair.b.session.poll_deadline().unwrap();
    pair.b.timeout(retry);
    pair.settle(9000);
    assert_eq!(pair.a.app.outcomes().len(), 1);
    assert_eq!(pair.b.session.poll_deadline(), None);
}

#[test]
fn a_handler_may_detach_when_its_reply_found_no_room() {
    let mut pair = Pair::new();
    pair.a.call(method::ECHO, b"", b"x", None, 1).unwrap();
    pair.b.app.detach_when_full = true;
    pair.b.wire.refuse = Some(StreamError::Full);
    carry(&mut pair.a, &mut pair.b, 9000);
    pair.b.wire.refuse = None;
    let name = pair.b.app.names[0];
    pair.b.reply_detached(name, b"x").unwrap();
    pair.settle(9000);
    assert_eq!(pair.a.app.outcomes(), [(1, Ok((Status::OK, b"later".to_vec(), b"x".to_vec())))]);
    assert_eq!(pair.b.session.counters().unanswered, 0);
}

#[test]
fn too_many_owed_answers_end_the_session() {
    let mut pair = Pair::with(SessionConfig::DEFAULT, 64);
    for user in 0..40 {
        pair.a.call(method::SILENT, b"", b"", None, user).unwrap();
    }
    pair.b.wire.refuse = Some(StreamError::Full);
    let ended = pair.b.handle(&pair.a.wire.bytes());
    assert_eq!(ended, Err(SessionError::CannotAnswer));
    assert_eq!(pair.b.handle(b"more"), Err(SessionError::Ended));
    assert_eq!(pair.b.app.events.len(), 33, "nothing was executed after the last that could be answered");
    assert!(pair.b.app.events.iter().all(|e| matches!(e, Event::Request { .. })));
}

#[test]
fn owed_answers_leave_before_what_arrives_next_is_answered() {
    for len in [10, 1000] {
        let mut pair = Pair::new();
        pair.a.call(method::SILENT, b"", b"x", None, 1).unwrap();
        pair.b.wire.refuse = Some(StreamError::Full);
        carry(&mut pair.a, &mut pair.b, 9000);
        pair.b.wire.refuse = None;
        pair.a.call(method::ECHO, b"", &pattern(len), None, 2).unwrap();
        pair.settle(9000);
        let order: Vec<_> = pair.a.app.outcomes().iter().map(|(user, o)| (*user, status(o))).collect();
        assert_eq!(order, [(1, Status::UNANSWERED), (2, Status::OK)], "{len}");
    }
}

#[test]
fn an_ended_session_takes_no_whole_frame_and_no_beginning() {
    for len in [10, 1000] {
        let mut pair = Pair::new();
        pair.a.call(method::ECHO, b"", &pattern(len), None, 1).unwrap();
        let frame = pair.a.wire.bytes();
        let mut wrong = frame.clone();
        wrong[9] ^= 1;
        assert!(matches!(pair.b.handle(&wrong), Err(SessionError::Frame(_))), "{len}");
        for chunk in [&frame[..], &frame[..HEADER_LEN + 5]] {
            assert_eq!(pair.b.handle(chunk), Err(SessionError::Ended), "{len}");
        }
        assert!(pair.b.app.events.is_empty() && pair.b.wire.out.is_empty(), "{len}");
        assert_eq!(pair.b.objs(), 0);
    }
}
