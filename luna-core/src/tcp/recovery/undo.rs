//! What an episode of recovery must remember to be taken back: Eifel (RFC 3522, response RFC 4015), F-RTO (RFC 5682 §3,
//! where there are no time stamps), D-SACK (RFC 2883, RFC 3708).

use crate::wire::SeqNum;

/// How a retransmission was found to have been unnecessary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spurious {
    /// The first acknowledgment echoes a time stamp from before the retransmission.
    Eifel,
    /// After a timeout data is reported that was sent only once.
    Frto,
    /// The receiver has every retransmitted segment twice.
    DSack,
}

/// Where F-RTO stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Frto {
    #[default]
    Off,
    /// The first segment was sent again; its acknowledgment is awaited (step 2).
    First,
    /// New data goes out, and the acknowledgment of that decides (step 3).
    Second,
}

/// The state of one episode.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Undo {
    /// There is something to take back.
    pub(super) active: bool,
    /// It began with a timeout.
    pub(super) timeout: bool,
    /// What was not acknowledged when it began.
    pub(super) from: SeqNum,
    /// Retransmissions in it, and how many of them the receiver has not reported as duplicates.
    pub(super) sent: u32,
    pub(super) unreported: u32,
    /// TSval of the first retransmission, until the first acknowledgment behind it.
    pub(super) stamp: Option<u32>,
    pub(super) frto: Frto,
}

impl Undo {
    /// An episode begins.
    pub(super) fn begin(from: SeqNum) -> Self {
        Self { active: true, from, ..Self::default() }
    }

    /// The same, with a timeout.
    pub(super) fn begin_with_timeout(from: SeqNum, frto: Frto) -> Self {
        Self { timeout: true, frto, ..Self::begin(from) }
    }

    /// A segment is sent again, with this TSval.
    pub(super) fn on_retransmit(&mut self, tsval: Option<u32>) {
        if !self.active {
            return;
        }
        if self.sent == 0 {
            self.stamp = tsval;
        }
        self.sent += 1;
        self.unreported += 1;
    }

    /// The cumulative acknowledgment advances, echoing `tsecr`: whether that proves the retransmission unnecessary.
    pub(super) fn eifel(&mut self, tsecr: Option<u32>) -> bool {
        let (Some(stamp), Some(tsecr)) = (self.stamp.take(), tsecr) else { return false };
        if !self.active {
            return false;
        }
        let older = (tsecr.wrapping_sub(stamp) as i32) < 0;
        if !older {
            // It answers the retransmission: no need to probe further.
            self.frto = Frto::Off;
        }
        older
    }

    /// `[left, right)` arrived twice: whether now every retransmission did.
    pub(super) fn dsack(&mut self, left: SeqNum, right: SeqNum, mss: u32) -> bool {
        if !self.active || self.sent == 0 || right.before_eq(self.from) {
            return false;
        }
        let segments = right.distance_from(left).div_ceil(mss.max(1)).max(1);
        self.unreported = self.unreported.saturating_sub(segments);
        self.unreported == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> Undo {
        Undo::begin(SeqNum(1000))
    }

    #[test]
    fn eifel_takes_only_the_first_acknowledgment_and_only_an_older_echo() {
        let mut u = begun();
        assert!(!u.eifel(Some(1)), "nothing was sent again");
        u.on_retransmit(Some(50));
        u.on_retransmit(Some(60));
        assert!(Undo { ..u }.eifel(Some(49)));
        assert!(!Undo { ..u }.eifel(Some(50)), "the same tick proves nothing");
        assert!(!u.eifel(None));
        assert!(!u.eifel(Some(49)), "the second acknowledgment proves nothing");
        let mut wrapped = begun();
        wrapped.on_retransmit(Some(3));
        assert!(wrapped.eifel(Some(u32::MAX)), "time stamps wrap");
    }

    #[test]
    fn every_retransmission_must_be_reported_twice() {
        let mut u = begun();
        assert!(!u.dsack(SeqNum(1000), SeqNum(2000), 1000), "nothing was sent again");
        u.on_retransmit(None);
        u.on_retransmit(None);
        u.on_retransmit(None);
        assert!(!u.dsack(SeqNum(500), SeqNum(1000), 1000), "from before this episode");
        assert!(!u.dsack(SeqNum(1000), SeqNum(2000), 1000));
        assert!(u.dsack(SeqNum(2000), SeqNum(4000), 1000), "two segments in one block");
    }
}
