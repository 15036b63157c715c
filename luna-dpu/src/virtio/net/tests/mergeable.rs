//! Frames that lie in several buffers (MRG_RXBUF).

use super::*;

/// Bytes that follow from where they are.
fn run_of(len: usize, from: usize) -> Vec<u8> {
    (from..from + len).map(|i| (i % 251) as u8).collect()
}

#[test]
fn a_frame_in_several_buffers_is_one_frame() {
    for mut b in Bench::offering(feature::NET_MRG_RXBUF) {
        for (first, more) in [(60, vec![1]), (500, vec![700, 300]), (0, vec![12; 7]), (18, vec![1500])] {
            b.poll();
            b.receive(2, 1 + more.len() as u16, &run_of(first, 0), 12 + first as u32);
            let (mut at, mut copied) = (first, b.queue.stats().rx_copied);
            for len in more {
                assert!(b.poll().is_empty(), "it is not complete");
                b.receive_more(&run_of(len, at), len as u32);
                at += len;
                copied.bytes += len as u64;
                copied.copies += 1;
            }
            // The next one is a frame of its own.
            b.receive(2, 1, &[4; 60], 72);
            let got = b.poll();
            assert_eq!((got.len(), &*got[0].data, &*got[1].data), (2, &*run_of(at, 0), &[4; 60][..]));
            assert_eq!(got[0].meta.checksum.l4, ChecksumVerdict::Good, "what the first header says");
            assert_eq!(b.queue.stats().rx_copied, copied, "what was not in the first buffer, once");
        }
        let stats = b.queue.stats();
        assert_eq!((stats.rx_frames, stats.rx_too_long, b.queue.faults()), (8, 0, NetFaults::default()));
        b.poll();
        assert_eq!(b.rx_pool.outstanding(), usize::from(SIZE), "all are posted again");
    }
}

#[test]
fn a_frame_that_fits_no_obj_is_dropped_whole() {
    for mut b in Bench::offering(feature::NET_MRG_RXBUF) {
        b.poll();
        b.receive(0, 3, &[1; 60], 1500);
        b.receive_more(&[2; 60], 1500);
        b.receive_more(&[3; 60], 1500);
        b.receive(0, 1, &[4; 60], 72);
        let got = b.poll();
        assert_eq!((got.len(), got[0].data[0]), (1, 4));
        assert_eq!((b.queue.stats().rx_too_long, b.queue.stats().rx_frames), (1, 1), "once, by reason");
        drop(got);
        b.poll();
        assert_eq!(b.rx_pool.outstanding(), usize::from(SIZE));
    }
}

/// A device that says how many buffers a frame has, and lies.
#[test]
fn counts_and_lengths_of_several_buffers_that_cannot_be_harm_nobody() {
    for mut b in Bench::offering(feature::NET_MRG_RXBUF) {
        b.poll();
        // None at all, and more than there are: it is in this one.
        for buffers in [0, SIZE + 1, u16::MAX] {
            b.receive(0, buffers, &[1; 60], 72);
            assert_eq!(b.poll().len(), 1);
        }
        assert_eq!(b.queue.faults().bad_counts, 3);
        // A buffer that is empty, or longer than it is, spoils its frame, which still ends where it was said to.
        for len in [0, 12 + b.rx_pool.data_capacity() + 1, u32::MAX] {
            b.receive(0, 3, &[1; 60], 72);
            b.receive_more(&[2; 60], len);
            b.receive_more(&[2; 60], 60);
            b.receive(0, 1, &[3; 60], 72);
            let got = b.poll();
            assert_eq!((got.len(), got[0].data[0], got[0].data.len()), (1, 3, 60));
        }
        assert_eq!((b.queue.faults().bad_lengths, b.queue.stats().rx_frames), (3, 6));
        // More than it uses: what comes next is taken for the rest, behind the frame's end as IP has it.
        b.receive(0, 2, &[5; 60], 72);
        b.receive(0, 1, &[6; 60], 72);
        b.receive(0, 1, &[7; 60], 72);
        let got = b.poll();
        assert_eq!((got.len(), got[0].data.len(), got[1].data.len()), (2, 60 + 72, 60));
        assert_eq!((&got[0].data[..60], got[1].data[0]), (&[5; 60][..], 7));
        drop(got);
        // And never says the rest: it is kept, and nothing else is held up.
        b.receive(0, 2, &[5; 60], 72);
        assert!(b.poll().is_empty() && b.poll().is_empty());
        assert_eq!(b.rx_pool.outstanding(), usize::from(SIZE) + 1, "that frame's first buffer");
    }
}

#[test]
fn without_the_agreement_a_frame_has_one_buffer_whatever_its_header_says() {
    for mut b in Bench::every() {
        b.poll();
        for buffers in [0, 1, 2, u16::MAX] {
            b.receive(0, buffers, &[1; 60], 72);
            assert_eq!(b.poll().len(), 1);
        }
        assert_eq!((b.queue.faults(), b.queue.stats().rx_too_long), (NetFaults::default(), 0));
    }
}
