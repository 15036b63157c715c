use super::*;
use crate::counters::Counters;
use crate::tcp::config::TcpConfig;
use crate::tcp::send_queue::SendEntry;
use crate::time::{Duration, Instant};
use crate::zbuf::{Frag, testing};

const MSS: u32 = 100;

fn list(c: &Connection, pool: &Segments<'_>) -> Vec<(u32, u32, u32, u32, bool)> {
    let mut all = Vec::new();
    let mut i = c.segments.head;
    while i != NIL {
        let s = pool.at(i);
        assert_eq!(s.sent_at, Instant::from_nanos(5), "cutting changes no send time");
        all.push((s.seq.0, s.len, s.entry, s.offset, s.flags.fin()));
        if s.next == NIL {
            assert_eq!(c.segments.tail, i);
        }
        i = s.next;
    }
    all
}

/// A connection with one record of 350 bytes and FIN, out of sends of 120, 200 and 30 bytes; so many records free.
fn with_one_record<R>(free: usize, test: impl FnOnce(&mut Connection, &mut Segments<'_>, &SendEntries<'_>) -> R) -> R {
    with_sends(free + 1, |c, pool, sends| {
        let i = pool.alloc().unwrap();
        let mut flags = SegmentFlags::default();
        flags.set_fin(true);
        let sent_at = Instant::from_nanos(5);
        *pool.at_mut(i) = Segment { sent_at, seq: SeqNum(1000), len: 350, entry: 0, offset: 0, next: NIL, flags };
        c.segments.push(pool, i);
        test(c, pool, sends)
    })
}

/// A connection that has queued sends of 120, 200 and 30 bytes, and so many records.
fn with_sends<R>(records: usize, test: impl FnOnce(&mut Connection, &mut Segments<'_>, &SendEntries<'_>) -> R) -> R {
    let data = testing::pool(1, 256);
    let mut entries: [SendEntry; 3] = Default::default();
    let mut sends = Slab::new(&mut entries);
    let mut memory = vec![];
    memory.resize_with(records, Segment::default);
    let mut pool = Slab::new(&mut memory);
    let mut c = Connection { mss: MSS as u16, send: SendQueue::new(SeqNum(1000)), ..Connection::default() };
    for (token, len) in [120, 200, 30].into_iter().enumerate() {
        let mut iov = heapless::Vec::<Frag, 1>::new();
        iov.push(Frag::from(data.alloc_len(len).unwrap().freeze())).unwrap();
        c.send.push_all(&mut sends, None, &mut iov, Some(token as u64), false, len);
    }
    c.flags.set_uncut(true);
    let r = test(&mut c, &mut pool, &sends);
    while c.send.pop_any(&mut sends).map(|i| sends.at_mut(i).empty()).is_some() {}
    r
}

#[test]
fn a_record_is_cut_into_segments_across_fragments() {
    with_one_record(5, |c, pool, sends| {
        c.cut_records(pool, sends);
        let want =
            [(1000, 100, 0, 0, false), (1100, 100, 0, 100, false), (1200, 100, 1, 80, false), (1300, 50, 1, 180, true)];
        assert_eq!(list(c, pool), want);
        assert!(!c.flags.uncut());
        let left = pool.available();
        c.cut_records(pool, sends);
        assert_eq!((list(c, pool), pool.available()), (want.to_vec(), left), "there is nothing left to cut");
    });
}

#[test]
fn without_free_records_the_rest_stays_whole_and_can_be_cut_later() {
    with_one_record(1, |c, pool, sends| {
        c.cut_records(pool, sends);
        assert_eq!(list(c, pool), [(1000, 100, 0, 0, false), (1100, 250, 0, 100, true)]);
        assert!(c.flags.uncut());
    });
}

/// The first `len` bytes leave in one burst.
fn send_first(c: &mut Connection, pool: &mut Segments<'_>, sends: &SendEntries<'_>, len: u32) {
    (c.snd_una, c.snd_nxt) = (SeqNum(1000), SeqNum(1000));
    c.sent_burst(pool, sends, (Instant::from_nanos(5), SeqNum(1000), Cursor { entry: 0, offset: 0 }), len);
    c.snd_nxt += len;
}

fn acked(c: &mut Connection, pool: &mut Segments<'_>, sends: &SendEntries<'_>, ack: u32) -> Option<Duration> {
    let mut counters = Counters::default();
    c.acked_in_order((Instant::from_nanos(25), &TcpConfig::DATACENTER), pool, sends, &mut counters, SeqNum(ack)).1
}

#[test]
#[cfg_attr(not(feature = "leads"), ignore = "needs leads")]
fn a_lone_burst_needs_no_record_and_gives_its_place_back() {
    with_sends(1, |c, pool, sends| {
        send_first(c, pool, sends, 350);
        assert!(c.segments.is_lone());
        assert_eq!((pool.available(), pool.alloc()), (0, None), "its place is kept");
        assert!(pool.free_list_is_whole(1));
        assert_eq!(acked(c, pool, sends, 1350), Some(Duration::from_nanos(20)), "a sample");
        assert!(!c.segments.is_lone() && c.segments.is_empty() && pool.free_list_is_whole(0));
        assert_eq!((c.snd_una, pool.available()), (SeqNum(1350), 1));
        send_first(c, pool, sends, 200);
        c.segments.clear(pool);
        assert!(c.segments.is_empty() && pool.free_list_is_whole(0));
        assert_eq!(pool.available(), 1);
    });
}

#[test]
fn who_looks_finds_its_record() {
    with_sends(2, |c, pool, sends| {
        send_first(c, pool, sends, 150);
        c.write_record(pool, sends);
        assert_eq!(list(c, pool), [(1000, 150, 0, 0, false)]);
        c.write_record(pool, sends);
        assert_eq!((list(c, pool).len(), pool.available()), (1, 1), "once");
    });
}

#[test]
fn another_burst_behind_it_and_an_acknowledgment_of_part_of_it() {
    with_sends(3, |c, pool, sends| {
        send_first(c, pool, sends, 150);
        c.sent_burst(pool, sends, (Instant::from_nanos(5), SeqNum(1150), Cursor { entry: 1, offset: 30 }), 200);
        c.snd_nxt += 200;
        assert_eq!(list(c, pool), [(1000, 150, 0, 0, false), (1150, 200, 1, 30, false)]);
        assert_eq!((pool.available(), pool.free_list_is_whole(0)), (1, true));
        c.segments.clear(pool);
        send_first(c, pool, sends, 350);
        assert_eq!(acked(c, pool, sends, 1130), Some(Duration::from_nanos(20)));
        assert_eq!(list(c, pool), [(1130, 220, 1, 10, false)]);
        // Acknowledged as far as the queue's first entry reaches into: its place counts from there.
        c.segments.clear(pool);
        c.snd_nxt = SeqNum(1130);
        c.sent_burst(pool, sends, (Instant::from_nanos(5), SeqNum(1130), Cursor { entry: 1, offset: 10 }), 220);
        c.snd_nxt += 220;
        c.write_record(pool, sends);
        assert_eq!(list(c, pool), [(1130, 220, 1, 10, false)]);
    });
}
