use super::*;
use crate::tcp::send_queue::SendEntry;
use crate::time::Instant;
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
    let data = testing::pool(1, 256);
    let mut entries: [SendEntry; 3] = Default::default();
    let mut sends = Slab::new(&mut entries);
    let mut records = vec![];
    records.resize_with(free + 1, Segment::default);
    let mut pool = Slab::new(&mut records);
    let mut c = Connection { mss: MSS as u16, send: SendQueue::new(SeqNum(1000)), ..Connection::default() };
    for (token, len) in [120, 200, 30].into_iter().enumerate() {
        let mut iov = heapless::Vec::<Frag, 1>::new();
        iov.push(Frag::from(data.alloc_len(len).unwrap().freeze())).unwrap();
        c.send.push_all(&mut sends, None, &mut iov, Some(token as u64), false, len);
    }
    let i = pool.alloc().unwrap();
    let mut flags = SegmentFlags::default();
    flags.set_fin(true);
    *pool.at_mut(i) =
        Segment { sent_at: Instant::from_nanos(5), seq: SeqNum(1000), len: 350, entry: 0, offset: 0, next: NIL, flags };
    c.segments.push(&mut pool, i);
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
