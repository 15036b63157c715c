//! Messages that one callback sends: what is written behind another is sent as if each had been queued by itself.

use super::harness::*;
use crate::stack::*;
use crate::tcp::{State, TcpConfig};
use crate::time::Duration;
use crate::zbuf::{Frag, Zbuf};

const HEAD: [u8; 8] = *b"a header";

fn message(cx: &mut Cx<'_, '_, Queue>, conn: ConnId, part: Zbuf, token: Option<u64>) -> Result<(), SendError> {
    let mut iov = heapless::Vec::<Frag, 2>::new();
    iov.push(Frag::from(part)).unwrap();
    let sent = cx.send_message(conn, [&HEAD, &[]], &mut iov, token);
    assert_eq!(iov.is_empty(), sent.is_ok(), "drained, or untouched");
    sent
}

/// What arrives when each part of `data` that `lens` says is sent as a message.
fn expected(data: &[u8], lens: &[usize]) -> Vec<u8> {
    let mut all = Vec::new();
    for len in lens {
        all.extend_from_slice(&HEAD);
        all.extend_from_slice(&data[..*len]);
    }
    all
}

/// b has heard from a and talked; what a has heard then.
fn talk(talk: fn(&mut Cx<'_, '_, Queue>, ConnId, &Zbuf)) -> (Pair, Vec<u8>) {
    let (mut p, a, _) = Pair::open(&Options::default());
    p.b.app.talk = Some(talk);
    let ask = p.a.buffer(1200, 0);
    p.a.send(p.now, a, &ask, 1).unwrap();
    p.run(Duration::from_millis(5));
    let heard = core::mem::take(&mut p.a.app.received);
    (p, heard)
}

fn finish(mut p: Pair) {
    for end in [&mut p.a, &mut p.b] {
        let open: Vec<ConnId> = end.app.connected.iter().copied().chain(end.app.accepted.iter().map(|a| a.0)).collect();
        for conn in open {
            let _ = end.stack.cx(p.now).close(conn);
        }
    }
    p.run(Duration::from_secs(2));
    p.assert_clean();
}

#[test]
fn small_ones_share_an_entry_and_arrive_in_order() {
    let (p, heard) = talk(|cx, conn, data| {
        let before = cx.stack.sends.available();
        for len in [60, 1, 100, 0, 17, 30] {
            message(cx, conn, data.slice(..len), None).unwrap();
        }
        let total = 6 * HEAD.len() as u32 + 208;
        assert_eq!(cx.info(conn).unwrap().queued, total, "what was only written counts");
        assert_eq!(before - cx.stack.sends.available(), 1, "one entry");
        assert_eq!(cx.stack.copies().small.bytes, 208, "each byte of payload is counted");
    });
    let data: Vec<u8> = (0..1200).map(pattern).collect();
    assert_eq!(heard, expected(&data, &[60, 1, 100, 0, 17, 30]));
    finish(p);
}

#[test]
fn bytes_are_copied_as_a_fragment_would_be() {
    let (p, heard) = talk(|cx, conn, data| {
        let before = cx.stack.sends.available();
        for len in [31, 32, 33, 64, 65, 0, 150] {
            cx.send_copied(conn, [&HEAD, &[]], &data[..len]).unwrap();
        }
        assert_eq!(before - cx.stack.sends.available(), 1, "one entry");
        let copied = cx.stack.copies().small;
        assert_eq!((copied.bytes, copied.copies), (375, 7), "each byte of payload is counted");
        // Not so usual: a head of two parts, more than is small, no head.
        cx.send_copied(conn, [&HEAD[..3], &HEAD[3..]], &data[..20]).unwrap();
        cx.send_copied(conn, [&HEAD, &[]], &data[..300]).unwrap();
        cx.send_copied(conn, [&[], &[]], &HEAD).unwrap();
        assert_eq!(cx.send_copied(conn, [&[], &[]], &[]), Err(SendError::Empty));
        assert_eq!(cx.send_copied(conn, [&HEAD, &[]], &[0; 4096]), Err(SendError::NoObj), "no obj is that large");
        message(cx, conn, data.slice(..50), None).unwrap();
        cx.close(conn).unwrap();
        assert_eq!(cx.send_copied(conn, [&HEAD, &[]], &data[..1]), Err(SendError::Closing));
    });
    let data: Vec<u8> = (0..1200).map(pattern).collect();
    let mut all = expected(&data, &[31, 32, 33, 64, 65, 0, 150, 20, 300]);
    all.extend_from_slice(&HEAD);
    all.extend(expected(&data, &[50]));
    assert_eq!(heard, all);
    finish(p);
}

#[test]
fn others_in_between_keep_their_places() {
    let (p, heard) = talk(|cx, conn, data| {
        message(cx, conn, data.slice(..50), None).unwrap();
        message(cx, conn, data.slice(..51), None).unwrap();
        message(cx, conn, data.slice(..1000), None).unwrap();
        message(cx, conn, data.slice(..52), None).unwrap();
        message(cx, conn, data.slice(..53), Some(7)).unwrap();
        message(cx, conn, data.slice(..54), None).unwrap();
        message(cx, conn, data.slice(..55), None).unwrap();
        let mut iov = heapless::Vec::<Frag, 2>::new();
        iov.push(Frag::from(data.slice(..56))).unwrap();
        cx.send(conn, &mut iov, 8).unwrap();
        message(cx, conn, data.slice(..57), None).unwrap();
    });
    let data: Vec<u8> = (0..1200).map(pattern).collect();
    let mut all = expected(&data, &[50, 51, 1000, 52, 53, 54, 55]);
    all.extend_from_slice(&data[..56]);
    all.extend(expected(&data, &[57]));
    assert_eq!(heard, all);
    assert_eq!(p.b.app.released, [(7, Released::Acked), (8, Released::Acked)]);
    finish(p);
}

#[test]
fn more_than_an_obj_takes_goes_on_in_the_next() {
    let (p, heard) = talk(|cx, conn, data| {
        for _ in 0..40 {
            message(cx, conn, data.slice(..90), None).unwrap();
        }
    });
    let data: Vec<u8> = (0..1200).map(pattern).collect();
    assert_eq!(heard, expected(&data, &[90; 40]));
    finish(p);
}

#[test]
fn one_callbacks_messages_to_two_connections_stay_apart() {
    let o = Options::default();
    let (mut p, a, _) = Pair::open(&o);
    p.a.stack.cx(p.now).connect(Connect::to((addr(&o, 2), PORT).into())).unwrap();
    p.run(Duration::from_millis(5));
    p.b.app.talk = Some(|cx, conn, data| {
        let alive = |cx: &Cx<'_, '_, Queue>, slot| cx.stack.conns.at(slot).state == State::Established;
        let mut all = (0..cx.stack.conns.capacity()).filter(|slot| alive(cx, *slot)).map(|slot| cx.stack.id_of(slot));
        let other = all.find(|id| *id != conn).expect("two connections");
        for (to, len) in [(conn, 10), (other, 20), (conn, 30), (conn, 40)] {
            message(cx, to, data.slice(..len), None).unwrap();
        }
        assert_eq!([conn, other].map(|id| cx.info(id).unwrap().queued), [3 * 8 + 80, 8 + 20]);
    });
    let ask = p.a.buffer(1200, 0);
    p.a.send(p.now, a, &ask, 1).unwrap();
    drop(ask);
    p.run(Duration::from_millis(5));
    assert_eq!(p.a.app.received.len(), 4 * 8 + 100);
    finish(p);
}

#[test]
fn behind_the_end_nothing_is_sent() {
    let ends: [fn(&mut Cx<'_, '_, Queue>, ConnId, &Zbuf); 2] = [
        |cx, conn, data| {
            message(cx, conn, data.slice(..50), None).unwrap();
            message(cx, conn, data.slice(..51), None).unwrap();
            cx.close(conn).unwrap();
            assert_eq!(message(cx, conn, data.slice(..52), None), Err(SendError::Closing));
        },
        |cx, conn, data| {
            message(cx, conn, data.slice(..50), None).unwrap();
            message(cx, conn, data.slice(..51), None).unwrap();
            cx.shutdown(conn).unwrap();
            assert_eq!(message(cx, conn, data.slice(..52), None), Err(SendError::Closing));
        },
    ];
    for end in ends {
        let (p, heard) = talk(end);
        let data: Vec<u8> = (0..1200).map(pattern).collect();
        assert_eq!(heard, expected(&data, &[50, 51]));
        assert_eq!(p.a.app.fins.len(), 1, "the end was told");
        finish(p);
    }
}

#[test]
fn the_send_buffer_bounds_what_is_only_written() {
    let (mut p, a, b) =
        Pair::open(&Options { tcp_b: TcpConfig { snd_buf: 300, ..TcpConfig::DATACENTER }, ..Options::default() });
    p.b.app.talk = Some(|cx, conn, data| {
        let sent = (0..10).take_while(|_| message(cx, conn, data.slice(..50), None).is_ok()).count();
        assert_eq!(sent, 5, "five of 58 bytes, not six, fit 300");
    });
    let ask = p.a.buffer(100, 0);
    p.a.send(p.now, a, &ask, 1).unwrap();
    drop(ask);
    p.run(Duration::from_millis(5));
    assert_eq!(p.a.app.received.len(), 5 * 58);
    assert_eq!(p.b.stack.cx(p.now).info(b).unwrap().state, State::Established);
    finish(p);
}

/// Sends one message of a head and `len` bytes by itself, as often as `times`, each when the one before was acknowledged.
fn lone(p: &mut Pair, a: ConnId, len: usize, times: usize) {
    let payload = p.a.buffer(len, 0);
    for _ in 0..times {
        message(&mut p.a.stack.cx(p.now), a, payload.clone(), None).unwrap();
        p.run(Duration::from_millis(50));
    }
    let data: Vec<u8> = (0..len).map(pattern).collect();
    assert_eq!(core::mem::take(&mut p.b.app.received), expected(&data, &vec![len; times]));
}

#[test]
#[cfg_attr(not(feature = "leads"), ignore = "needs leads")]
fn a_lone_one_has_its_headers_before_it_in_one_piece_and_is_not_copied_again() {
    for (len, pieces) in [(64, 0), (700, 1)] {
        let (mut p, a, _) = Pair::open(&Options::default());
        let before = p.a.stack.copies().header.copies;
        let seen = p.a.queue().payload_seen.len();
        lone(&mut p, a, len, 3);
        assert_eq!(p.a.queue().payload_seen.len() - seen, 3 * pieces, "fragments behind the head");
        assert_eq!(p.a.stack.copies().header.copies, before, "the head went from where it was written");
        let written = if pieces == 0 { 3 } else { 0 };
        assert_eq!(p.a.stack.copies().small.copies, written, "a small payload is copied once, behind its head");
        finish(p);
    }
}

#[test]
fn a_lone_one_that_is_lost_or_refused_comes_again_as_it_was() {
    for fate in [Fate::Drop, Fate::Full] {
        for len in [64, 700] {
            let (mut p, a, _) = Pair::open(&Options::default());
            let mut left = 2;
            p.a.queue().fate = Box::new(move |packet, _| {
                if packet.payload_len == 0 || left == 0 {
                    return Fate::Pass;
                }
                left -= 1;
                fate
            });
            lone(&mut p, a, len, 2);
            assert_eq!(p.a.stack.counters().retransmits > 0, fate == Fate::Drop);
            finish(p);
        }
    }
}

#[test]
fn what_a_device_still_reads_is_not_written_when_the_peer_has_acknowledged_it() {
    let (mut p, a, _) = Pair::open(&Options::default());
    p.a.queue().hold_heads = Some(Vec::new());
    let bytes = p.a.buffer(100, 0);
    for i in 0..4 {
        message(&mut p.a.stack.cx(p.now), a, bytes.slice(i..i + 64), None).unwrap();
        p.run(Duration::from_millis(50));
        assert_eq!(p.a.stack.cx(p.now).info(a).unwrap().queued, 0, "acknowledged");
    }
    let heads = p.a.queue().hold_heads.take().unwrap();
    let held: Vec<_> = heads.iter().filter_map(|head| head.get(66..)).filter(|payload| !payload.is_empty()).collect();
    assert_eq!(held.len(), 4);
    for (i, payload) in held.into_iter().enumerate() {
        assert_eq!(payload, [&HEAD[..], &bytes[i..i + 64]].concat(), "message {i}");
    }
    drop((bytes, heads));
    finish(p);
}
