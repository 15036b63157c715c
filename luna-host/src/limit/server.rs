//! The answering end: sends back the objs that came.

use luna_core::nic::NicQueue;
use luna_core::zbuf::Frag;

use super::frame::{Frames, Part};
use super::{Checksums, LimitEnd, report};
use crate::report::{Counters, StackReport};

/// One queue's server.
pub struct LimitServer<Q> {
    frames: Frames<Q>,
    nic: String,
    /// The payload of the message that is arriving, and how far it is.
    pieces: Vec<Frag>,
    ticket: u32,
    arrived: u32,
    answered: u64,
    broken: u64,
}

impl<Q: NicQueue> LimitServer<Q> {
    /// On this queue.
    #[must_use]
    pub fn new(end: LimitEnd<Q>, checksums: Checksums) -> Self {
        let nic = end.nic.clone();
        let frames = Frames::new(end, checksums);
        Self { frames, nic, pieces: Vec::new(), ticket: 0, arrived: 0, answered: 0, broken: 0 }
    }

    /// Answers what has come. Whether there was anything to do.
    #[inline]
    pub fn turn(&mut self) -> bool {
        let n = self.frames.receive();
        for i in 0..n {
            if let Some(part) = self.frames.arrived(i) {
                self.take(part);
            }
        }
        self.frames.finish();
        n > 0
    }

    #[inline]
    fn take(&mut self, part: Part) {
        let Part { ticket, total, at, len, payload } = part;
        if at == 0 {
            self.broken += u64::from(self.arrived > 0);
            self.pieces.clear();
            self.arrived = 0;
            self.ticket = ticket;
        } else if at != self.arrived || ticket != self.ticket {
            self.broken += 1;
            return;
        }
        if !payload.is_empty() {
            self.pieces.push(Frag::from(payload));
        }
        self.arrived += len;
        if self.arrived == total {
            self.frames.send(ticket, &self.pieces);
            self.pieces.clear();
            self.arrived = 0;
            self.answered += 1;
        }
    }

    /// What was counted.
    #[must_use]
    pub fn report(&self) -> (StackReport, Counters) {
        let counters =
            [("requests", self.answered), ("messages_broken", self.broken), ("frames_not_ours", self.frames.strange)];
        (report(&self.nic, &self.frames.queue), counters.into_iter().collect())
    }
}
