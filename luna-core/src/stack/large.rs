//! New data off the plain path (IPv6, tags, no timestamps) over a device that cuts frames: how much of it goes at once.
//!
//! Plain segments have their own way of doing it, in [`super::burst`].

use super::Stack;
use super::burst::whole_segments;
use crate::nic::NicQueue;
use crate::parts::TSO;
use crate::tcp::send_queue::SendQueue;

impl<Q: NicQueue> Stack<'_, Q> {
    /// Bytes of unsent data that a frame may take where `room` is left in both windows: 0, or more than a segment. All of them
    /// are certain to fit one frame, and it ends where a segment does or where the data does.
    ///
    /// None when segments are not alike: in disorder, paced, with telemetry or reports in them, or when the first one alone
    /// says that the window was reduced.
    #[inline(never)]
    pub(super) fn large_len(&self, slot: u32, room: u32) -> u32 {
        let c = self.conns.at(slot);
        let (unsent, mss) = (c.unsent(), u32::from(c.mss));
        let odd = c.flags.disorder() || c.flags.careful() || c.flags.persist() || c.has_sack_blocks();
        let Some(path) = self.paths.get(usize::from(c.path)).filter(|_| TSO && !odd && unsent > mss) else { return 0 };
        let caps = path.queue.caps();
        let most = caps.max_tso(c.key.addrs_are_v6()).min(room);
        if most <= mss {
            return 0;
        }
        let most = SendQueue::fitting(&self.sends, c.send.next, most.min(unsent), caps.max_tx_frags());
        // FIN behind it makes its end worth sending, however short.
        let nagle = self.profiles.at(c.profile).nagle && !c.flags.fin_queued();
        let len = whole_segments(unsent, most, mss, nagle);
        if len > mss { len } else { 0 }
    }
}
