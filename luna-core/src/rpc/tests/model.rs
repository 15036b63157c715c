//! Random calls, answers, cancels and cuts against a model: a map from calls to how they may end.

use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::harness::{Outcome, Pair, method, pattern};
use crate::rpc::*;
use crate::time::Duration;

#[derive(Clone, Debug)]
enum Step {
    Call {
        method: u16,
        metadata: usize,
        payload: usize,
        deadline_us: Option<u64>,
    },
    Cancel(usize),
    Answer(usize),
    /// Carry up to so many bytes, in pieces of such a size, from a to b or back.
    Carry {
        forth: bool,
        bytes: usize,
        size: usize,
    },
    Wait(u64),
    Full(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let payload = prop_oneof![Just(0), 1..200usize, 3000..6000usize, 60_000..70_000usize];
    let methods = prop_oneof![
        Just(method::ECHO),
        Just(method::DETACH),
        Just(method::SILENT),
        Just(method::KEEP),
        Just(method::EARLY)
    ];
    let call = (methods, 0..30usize, payload, proptest::option::of(1..5000u64))
        .prop_map(|(method, metadata, payload, deadline_us)| Step::Call { method, metadata, payload, deadline_us });
    let carry = (any::<bool>(), 1..20_000usize, prop_oneof![1..60usize, 500..1982usize])
        .prop_map(|(forth, bytes, size)| Step::Carry { forth, bytes, size });
    prop_oneof![
        4 => call,
        1 => any::<usize>().prop_map(Step::Cancel),
        2 => any::<usize>().prop_map(Step::Answer),
        8 => carry,
        1 => (0..3000u64).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Full),
    ]
}

/// What the model knows of a call.
struct Made {
    id: CallId,
    method: u16,
    metadata: Vec<u8>,
    payload: Vec<u8>,
    has_deadline: bool,
    cancelled: bool,
}

fn allowed(made: &Made, outcome: &Outcome) -> bool {
    let streamed = made.payload.len() > MAX_GATHER as usize;
    match outcome {
        Err(RpcError::Cancelled) => made.cancelled,
        Err(RpcError::DeadlineExceeded) => made.has_deadline && !made.cancelled,
        Err(RpcError::ConnectionLost { maybe_executed }) => *maybe_executed && !made.cancelled,
        Err(_) => false,
        Ok((Status::UNANSWERED, m, p)) => m.is_empty() && p.is_empty(),
        Ok((Status::BUSY, m, p)) => made.method == method::DETACH && m.is_empty() && p.is_empty(),
        Ok((Status::NO_METHOD, ..)) => made.method == method::EARLY && !streamed,
        Ok((Status::DENIED, ..)) => made.method == method::EARLY && streamed,
        Ok((Status::OK, m, p)) => match made.method {
            method::ECHO if streamed => m == b"Ok(())" && p.is_empty(),
            method::ECHO => *m == made.metadata && *p == made.payload,
            method::DETACH => m == b"later" && p == b"answer",
            method::KEEP => m.is_empty() && p.is_empty(),
            _ => false,
        },
        Ok(_) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_call_ends_once_as_it_may(steps in proptest::collection::vec(step(), 1..60), crc in any::<bool>()) {
        let mut pair = Pair::with(SessionConfig { payload_crc: crc, ..SessionConfig::DEFAULT }, 6);
        let (mut forth, mut back) = (Vec::new(), Vec::new());
        let mut made = BTreeMap::<u64, Made>::new();
        for step in steps {
            match step {
                Step::Call { method, metadata, payload, deadline_us } => {
                    let user = made.len() as u64;
                    let (metadata, payload) = (pattern(metadata), pattern(payload));
                    let deadline = deadline_us.map(Duration::from_micros);
                    if let Ok(id) = pair.a.call(method, &metadata, &payload, deadline, user) {
                        let has_deadline = deadline.is_some();
                        made.insert(user, Made { id, method, metadata, payload, has_deadline, cancelled: false });
                    }
                }
                Step::Cancel(i) => {
                    let n = made.len().max(1);
                    if let Some(call) = made.values_mut().nth(i % n) {
                        let done = pair.a.app.outcomes().iter().any(|(user, _)| *user == (i % n) as u64);
                        let live = pair.a.session.cancel(call.id, &mut pair.a.wire, &mut pair.a.app);
                        prop_assert_eq!(live, !done);
                        call.cancelled |= live;
                    }
                }
                Step::Answer(i) => {
                    if !pair.b.app.names.is_empty() {
                        let name = pair.b.app.names.swap_remove(i % pair.b.app.names.len());
                        if pair.b.reply_detached(name, b"answer") == Err(ReplyError::Stream(StreamError::Full)) {
                            pair.b.app.names.push(name);
                        }
                    }
                }
                Step::Carry { forth: true, bytes, size } => {
                    forth.extend(pair.a.wire.bytes());
                    pair.a.wire.out.clear();
                    let n = bytes.min(forth.len());
                    for chunk in forth.drain(..n).collect::<Vec<_>>().chunks(size) {
                        pair.b.handle(chunk).unwrap();
                        prop_assert!(pair.b.session.held() <= 4 * MAX_GATHER);
                    }
                    pair.b.app.kept.clear();
                }
                Step::Carry { forth: false, bytes, size } => {
                    back.extend(pair.b.wire.bytes());
                    pair.b.wire.out.clear();
                    let n = bytes.min(back.len());
                    for chunk in back.drain(..n).collect::<Vec<_>>().chunks(size) {
                        pair.a.handle(chunk).unwrap();
                    }
                }
                Step::Wait(us) => {
                    let later = pair.a.wire.now + Duration::from_micros(us);
                    let due = pair.a.session.poll_deadline();
                    pair.a.timeout(later);
                    prop_assert!(pair.a.session.poll_deadline().is_none_or(|at| at > later), "{due:?}");
                    pair.b.timeout(later);
                }
                Step::Full(full) => {
                    pair.b.wire.refuse = full.then_some(StreamError::Full);
                    if !full {
                        pair.b.session.handle_writable(&mut pair.b.wire, &mut pair.b.app);
                    }
                }
            }
            prop_assert_eq!(pair.a.session.in_flight() as usize + pair.a.app.outcomes().len(), made.len());
        }
        pair.a.closed(true);
        pair.b.closed(true);
        let outcomes = pair.a.app.outcomes();
        prop_assert_eq!(outcomes.len(), made.len());
        for (user, outcome) in outcomes {
            let call = made.remove(&user).expect("once");
            prop_assert!(allowed(&call, &outcome), "{user} {} {:?}", call.method, outcome);
        }
        pair.a.wire.out.clear();
        pair.b.wire.out.clear();
        prop_assert_eq!(pair.a.objs() + pair.b.objs(), 0);
    }
}
