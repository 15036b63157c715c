//! Unread data closes the window; reading opens it.

use super::harness::*;
use crate::socket::*;
use crate::tcp::TcpConfig;
use crate::time::Duration;

/// Ten segments.
const WND: u32 = 14_480;

fn small(accounting: Accounting) -> Options {
    let b = TcpConfig { rcv_wnd: WND, rcv_budget: 2 * WND, window_scaling: false, ..BASE };
    Options { tcp: [BASE, b], accounting, ..Options::default() }
}

#[test]
fn the_window_is_what_is_left_of_the_receive_buffer_and_opens_when_the_application_reads() {
    let mut p = Pair::new(&small(Accounting::Bytes));
    let (c, s, _) = p.open();
    let data = pattern(60_000);
    assert_eq!(p.a.send(p.now, c, &data), Ok(60_000));
    p.run(Duration::from_millis(1));
    let unread = p.b.readable_bytes(s).unwrap();
    let info = p.b.info(s).unwrap();
    // The right edge never moves left, and not right by less than a segment: all of the window, to a byte.
    assert_eq!((unread, info.rcv_wnd), (WND, 0));
    assert_eq!(p.a.info(c).unwrap().snd_wnd, 0);
    p.run(Duration::from_millis(200));
    assert!(p.a.counters().window_probes > 0);
    assert_eq!(p.b.readable_bytes(s), Ok(WND));
    // A few bytes are not worth an update (RFC 9293 §3.8.6.2.2); two segments are.
    let mut buf = [0; 2_900];
    p.b.recv(p.now, s, &mut buf[..100]).unwrap();
    assert!(p.b.take(p.now).is_none());
    p.b.recv(p.now, s, &mut buf[100..]).unwrap();
    let update = p.b.take(p.now).unwrap();
    assert_eq!((see(&update).window, see(&update).len), (2_900, 0));
    p.a.input(p.now, &update).unwrap();
    p.settle();
    let mut got = buf.to_vec();
    while got.len() < data.len() {
        got.extend(p.b.read_all(p.now, s).0);
        p.run(Duration::from_micros(300));
    }
    assert!(got == data);
    assert_eq!(p.b.info(s).unwrap().rcv_held, 0, "all of it is free again");
    p.a.close(p.now, c).unwrap();
    p.b.close(p.now, s).unwrap();
    p.assert_clean();
}

#[test]
fn every_advertised_window_fits_the_buffer_whatever_the_reader_does() {
    let mut p = Pair::new(&small(Accounting::Bytes));
    let (c, s, _) = p.open();
    let data = pattern(200_000);
    let (mut sent, mut got, mut edge) = (0, Vec::new(), 0u32);
    let base = {
        p.a.send(p.now, c, &data[..1]).unwrap();
        sent += 1;
        let first = p.a.take(p.now).unwrap();
        p.b.input(p.now, &first).unwrap();
        see(&first).seq
    };
    let mut i = 0usize;
    while got.len() < data.len() {
        i += 1;
        sent += p.a.send(p.now, c, &data[sent..]).unwrap_or(0);
        while let Some(packet) = p.a.take(p.now) {
            p.b.input(p.now, &packet).unwrap();
            while let Some(ack) = p.b.take(p.now) {
                let seen = see(&ack);
                let here = (seen.ack - base) + u32::from(seen.window);
                assert!(here >= edge, "the edge moved left");
                edge = here;
                assert!(edge as usize <= got.len() + WND as usize, "more than the buffer holds");
                p.a.input(p.now, &ack).unwrap();
            }
        }
        let n = [1, 7, 1_000, 0, 4_444][i % 5];
        let mut buf = vec![0; n];
        if n > 0
            && let Ok(n) = p.b.recv(p.now, s, &mut buf)
        {
            got.extend_from_slice(&buf[..n]);
        }
        p.run(Duration::from_micros(150));
        assert!(p.b.readable_bytes(s).unwrap() <= WND);
    }
    assert!(got == data);
}

#[test]
fn with_true_size_one_byte_costs_its_obj() {
    let mut p = Pair::new(&small(Accounting::TrueSize));
    let (c, s, _) = p.open();
    let obj = p.b.pool.layout().obj_size;
    p.a.send(p.now, c, b"x").unwrap();
    p.settle();
    assert_eq!(p.b.info(s).unwrap().rcv_held, obj);
    // The next ones fit behind it.
    p.a.send(p.now, c, b"yz").unwrap();
    p.settle();
    assert_eq!(p.b.info(s).unwrap().rcv_held, obj);
    p.b.recv(p.now, s, &mut [0; 2]).unwrap();
    assert_eq!(p.b.info(s).unwrap().rcv_held, obj, "one byte still pins it");
    p.b.recv(p.now, s, &mut [0; 2]).unwrap();
    assert_eq!(p.b.info(s).unwrap().rcv_held, 0);
    p.a.send(p.now, c, &pattern(60_000)).unwrap();
    p.run(Duration::from_millis(20));
    let (unread, held) = (p.b.readable_bytes(s).unwrap(), p.b.info(s).unwrap().rcv_held);
    assert_eq!(held, unread.div_ceil(1448) * obj, "whole objs");
    assert!(held > WND && held <= 2 * WND, "{held}");
}

#[test]
fn tiny_segments_do_not_use_up_the_objs() {
    let mut p = Pair::new(&Options { chunks: 4, ..small(Accounting::Bytes) });
    let (c, s, _) = p.open();
    let data = pattern(3_000);
    for byte in &data {
        p.a.send(p.now, c, &[*byte]).unwrap();
        p.settle();
    }
    p.run(Duration::from_millis(1));
    assert!(p.b.pool.outstanding() <= 4, "{}", p.b.pool.outstanding());
    assert_eq!(p.b.read_all(p.now, s).0, data);
}
