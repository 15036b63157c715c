//! What is known of the segments in flight (RFC 2018, RFC 6675): the marks are in the records, their sums here, so that
//! nothing is counted by walking.
//!
//! Walks are bounded whatever a peer reports: blocks that were taken in before are stepped over, places are remembered,
//! and looking for the first segment of a block stops after [`WALK_MAX`] steps (the block is then believed a little later,
//! which costs at worst a retransmission).

use crate::slab::NIL;
use crate::tcp::segments::{Segment, SegmentList, Segments};
use crate::time::Instant;
use crate::wire::SeqNum;

/// Steps that the blocks of one acknowledgment may cost beside those over newly marked segments.
const WALK_MAX: u32 = 1024;
/// Blocks remembered: as many as one acknowledgment can carry.
const BLOCKS: usize = 4;

/// A record, by the sequence number that it began with: valid while that is not acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    at: u32,
    seq: SeqNum,
}

impl Place {
    const NONE: Self = Self { at: NIL, seq: SeqNum(0) };

    fn forget_below(&mut self, una: SeqNum) {
        if self.at != NIL && self.seq.before(una) {
            *self = Self::NONE;
        }
    }
}

/// A block whose segments are marked.
#[derive(Clone, Copy, Debug)]
struct Block {
    left: SeqNum,
    right: SeqNum,
    /// The last segment in it.
    last: Place,
}

impl Block {
    const NONE: Self = Self { left: SeqNum(0), right: SeqNum(0), last: Place::NONE };
}

/// The sums and places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scoreboard {
    /// Segments reported received, and their bytes.
    pub(super) sacked: u32,
    pub(super) sacked_bytes: u32,
    /// Segments taken for lost and not sent again since, and their bytes.
    pub(super) lost: u32,
    pub(super) lost_bytes: u32,
    /// Retransmissions under way.
    pub(super) retrans: u32,
    /// No retransmission under way was sent before.
    rtx_oldest: Instant,
    /// The last segment whose first transmission was judged: the next to be judged comes behind it.
    judged: Place,
    /// No lost segment comes before.
    first_lost: Place,
    /// Beginnings of the three highest segments reported, from the highest.
    top: [Option<SeqNum>; super::DUP_THRESH as usize],
    blocks: [Block; BLOCKS],
}

impl Default for Scoreboard {
    fn default() -> Self {
        Self {
            sacked: 0,
            sacked_bytes: 0,
            lost: 0,
            lost_bytes: 0,
            retrans: 0,
            rtx_oldest: Instant::FAR,
            judged: Place::NONE,
            first_lost: Place::NONE,
            top: [None; super::DUP_THRESH as usize],
            blocks: [Block::NONE; BLOCKS],
        }
    }
}

/// What was found lost, and when more will be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Segments newly lost.
    pub(super) lost: u32,
    /// Retransmissions among them.
    pub(super) again: u32,
    /// The next segment's time to count as lost.
    pub(super) next: Instant,
}

impl Default for Found {
    fn default() -> Self {
        Self { lost: 0, again: 0, next: Instant::FAR }
    }
}

impl Scoreboard {
    /// Nothing reported, lost or under way again.
    pub(super) fn is_empty(&self) -> bool {
        self.sacked | self.lost | self.retrans == 0
    }

    /// Bytes that the network is thought to hold, of `in_flight` (RFC 6675's pipe).
    pub(super) fn pipe(&self, in_flight: u32) -> u32 {
        in_flight.saturating_sub(self.sacked_bytes).saturating_sub(self.lost_bytes)
    }

    /// Takes the sums from the marks: a record came late.
    pub(super) fn count(&mut self, segments: &Segments<'_>, list: SegmentList) {
        let mut at = list.head();
        while at != NIL {
            let s = segments.at(at);
            let span = s.span();
            if s.flags.sacked() {
                (self.sacked, self.sacked_bytes) = (self.sacked + 1, self.sacked_bytes + span);
            }
            if s.flags.lost() {
                (self.lost, self.lost_bytes) = (self.lost + 1, self.lost_bytes + span);
            }
            if s.flags.rtx_out() {
                self.retrans += 1;
                self.rtx_oldest = self.rtx_oldest.min(s.sent_at);
            }
            at = s.next;
        }
    }

    /// As [`Scoreboard::count`], when records were cut.
    pub(super) fn recount(&mut self, segments: &Segments<'_>, list: SegmentList) {
        (self.sacked, self.sacked_bytes, self.lost, self.lost_bytes, self.retrans) = (0, 0, 0, 0, 0);
        self.count(segments, list);
    }

    /// Everything before `una` is acknowledged: what was remembered of it is over.
    pub(super) fn forget_below(&mut self, una: SeqNum) {
        self.judged.forget_below(una);
        self.first_lost.forget_below(una);
        for block in &mut self.blocks {
            block.last.forget_below(una);
        }
        for top in &mut self.top {
            *top = top.filter(|seq| seq.after_eq(una));
        }
    }

    /// `s` is acknowledged and goes.
    pub(super) fn freed(&mut self, s: &Segment) {
        self.shrunk(s, s.span());
        self.sacked -= u32::from(s.flags.sacked()).min(self.sacked);
        self.lost -= u32::from(s.flags.lost()).min(self.lost);
        self.retrans -= u32::from(s.flags.rtx_out()).min(self.retrans);
    }

    /// `bytes` of `s` are acknowledged.
    pub(super) fn shrunk(&mut self, s: &Segment, bytes: u32) {
        if s.flags.sacked() {
            self.sacked_bytes = self.sacked_bytes.saturating_sub(bytes);
        }
        if s.flags.lost() {
            self.lost_bytes = self.lost_bytes.saturating_sub(bytes);
        }
    }

    /// A segment became two: a lost one, or the last one as a probe, which may have been reported.
    pub(super) fn split(&mut self, s: &Segment) {
        self.sacked += u32::from(s.flags.sacked());
        self.lost += u32::from(s.flags.lost());
        self.retrans += u32::from(s.flags.rtx_out());
    }

    fn mark_sacked(&mut self, s: &mut Segment) {
        if s.flags.lost() {
            s.flags.set_lost(false);
            self.lost -= 1;
            self.lost_bytes = self.lost_bytes.saturating_sub(s.span());
        }
        if s.flags.rtx_out() {
            s.flags.set_rtx_out(false);
            self.retrans = self.retrans.saturating_sub(1);
        }
        s.flags.set_sacked(true);
        self.sacked += 1;
        self.sacked_bytes += s.span();
        self.rank(s.seq);
    }

    fn rank(&mut self, mut seq: SeqNum) {
        for top in &mut self.top {
            match top {
                Some(t) if seq.after(*t) => core::mem::swap(t, &mut seq),
                Some(_) => {}
                None => {
                    *top = Some(seq);
                    return;
                }
            }
        }
    }

    /// Takes in the block `[left, right)`, which lies above what is acknowledged; `each` sees what is newly reported.
    /// False: looking for it took too long.
    pub(super) fn mark_block(
        &mut self,
        segments: &mut Segments<'_>,
        list: SegmentList,
        (left, right): (SeqNum, SeqNum),
        mut each: impl FnMut(&Segment),
    ) -> bool {
        let mut start = Place::NONE;
        for b in &self.blocks {
            let closer = start.at == NIL || b.last.seq.after(start.seq);
            if b.last.at != NIL && b.left.before_eq(left) && closer {
                start = b.last;
            }
        }
        let mut at = if start.at == NIL { list.head() } else { segments.at(start.at).next };
        // What begins where a remembered block does is marked as far as that goes.
        let mut last = if start.at != NIL && start.seq.after_eq(left) { start } else { Place::NONE };
        let mut steps = WALK_MAX;
        let mut whole = true;
        while at != NIL {
            let s = segments.at_mut(at);
            if s.seq.after_eq(right) || s.end().after(right) {
                break;
            }
            if s.seq.after_eq(left) {
                last = Place { at, seq: s.seq };
                if s.flags.sacked() {
                    if let Some(skip) = self.block_around(s.seq) {
                        last = skip;
                    } else {
                        steps -= 1;
                    }
                } else {
                    self.mark_sacked(s);
                    each(s);
                }
            } else {
                steps -= 1;
            }
            if steps == 0 {
                whole = false;
                break;
            }
            at = if last.at == NIL { s.next } else { segments.at(last.at).next };
        }
        if last.at != NIL {
            let end = segments.at(last.at).end();
            self.remember(Block { left, right: end, last });
        }
        whole
    }

    /// The end of a remembered block that goes on beyond `seq`.
    fn block_around(&self, seq: SeqNum) -> Option<Place> {
        let holds = |b: &&Block| b.last.at != NIL && b.left.before_eq(seq) && b.last.seq.after(seq);
        self.blocks.iter().find(holds).map(|b| b.last)
    }

    /// Puts a block first; those that it holds go, or the one that was not used for longest.
    fn remember(&mut self, mut block: Block) {
        for b in &mut self.blocks {
            let was = *b;
            *b = block;
            let inside = block.left.before_eq(was.left) && was.right.before_eq(block.right);
            if was.last.at == NIL || inside {
                return;
            }
            block = was;
        }
    }

    pub(super) fn mark_lost(&mut self, segments: &mut Segments<'_>, at: u32) -> bool {
        let s = segments.at_mut(at);
        if s.flags.lost() || s.flags.sacked() {
            return false;
        }
        if s.flags.rtx_out() {
            s.flags.set_rtx_out(false);
            self.retrans = self.retrans.saturating_sub(1);
        }
        s.flags.set_lost(true);
        self.lost += 1;
        self.lost_bytes += s.span();
        if self.lost == 1 || self.first_lost.at != NIL && s.seq.before(self.first_lost.seq) {
            self.first_lost = Place { at, seq: s.seq };
        }
        true
    }

    /// The first segment to send again.
    pub(super) fn first_lost(&mut self, segments: &Segments<'_>, list: SegmentList) -> Option<u32> {
        if self.lost == 0 {
            return None;
        }
        let mut at = if self.first_lost.at == NIL { list.head() } else { self.first_lost.at };
        while at != NIL {
            let s = segments.at(at);
            if s.flags.lost() {
                self.first_lost = Place { at, seq: s.seq };
                return Some(at);
            }
            at = s.next;
        }
        None
    }

    /// A segment was sent again.
    pub(super) fn on_retransmit(&mut self, s: &mut Segment, now: Instant) {
        if s.flags.lost() {
            s.flags.set_lost(false);
            self.lost -= 1;
            self.lost_bytes = self.lost_bytes.saturating_sub(s.span());
        }
        if !s.flags.rtx_out() {
            s.flags.set_rtx_out(true);
            self.retrans += 1;
        }
        s.flags.set_retransmitted(true);
        s.sent_at = now;
        self.rtx_oldest = self.rtx_oldest.min(now);
    }

    /// Takes back every report: the receiver may have thrown it away (RFC 2018 §8).
    pub(super) fn forget_sacks(&mut self, segments: &mut Segments<'_>, list: SegmentList) {
        let mut at = list.head();
        while at != NIL {
            let s = segments.at_mut(at);
            if s.flags.sacked() {
                s.flags.set_sacked(false);
                s.flags.set_was_sacked(true);
            }
            at = s.next;
        }
        (self.sacked, self.sacked_bytes) = (0, 0);
        self.blocks = [Block::NONE; BLOCKS];
        self.top = [None; super::DUP_THRESH as usize];
        self.judged = Place::NONE;
    }

    /// Nothing was lost after all.
    pub(super) fn unmark_lost(&mut self, segments: &mut Segments<'_>, list: SegmentList) {
        let mut at = list.head();
        while at != NIL && self.lost > 0 {
            let s = segments.at_mut(at);
            if s.flags.lost() {
                s.flags.set_lost(false);
                self.lost -= 1;
            }
            at = s.next;
        }
        (self.lost, self.lost_bytes) = (0, 0);
        self.first_lost = Place::NONE;
        self.judged = Place::NONE;
    }

    /// Marks lost what `due` says is (step 5 of RFC 8985 §6.2): it tells when an overtaken segment counts as lost, and
    /// nothing for one that was not overtaken. First transmissions are in order of time, so that the first which is not
    /// due ends the walk, and none is looked at twice.
    pub(super) fn mark_due(
        &mut self,
        segments: &mut Segments<'_>,
        list: SegmentList,
        now: Instant,
        due: impl Fn(&Segment) -> Option<Instant>,
    ) -> Found {
        let mut found = Found::default();
        let mut at = if self.judged.at == NIL { list.head() } else { segments.at(self.judged.at).next };
        while at != NIL {
            let s = segments.at(at);
            let (seq, next) = (s.seq, s.next);
            if !s.flags.sacked() && !s.flags.retransmitted() && !s.flags.lost() {
                let Some(t) = due(s) else { break };
                if t > now {
                    found.next = t;
                    break;
                }
                found.lost += u32::from(self.mark_lost(segments, at));
            }
            self.judged = Place { at, seq };
            at = next;
        }
        if self.retrans > 0 {
            self.mark_due_again(segments, list, now, due, &mut found);
        }
        found
    }

    /// Retransmissions are in no order: all of them are looked at, when the oldest may be due.
    fn mark_due_again(
        &mut self,
        segments: &mut Segments<'_>,
        list: SegmentList,
        now: Instant,
        due: impl Fn(&Segment) -> Option<Instant>,
        found: &mut Found,
    ) {
        let (mut at, mut left, mut oldest) = (list.head(), self.retrans, Instant::FAR);
        let probe = Segment { sent_at: self.rtx_oldest, seq: list_start(segments, list), ..Segment::default() };
        match due(&probe) {
            None => return,
            Some(t) if t > now => {
                found.next = found.next.min(t);
                return;
            }
            Some(_) => {}
        }
        let mut steps = WALK_MAX;
        while at != NIL && left > 0 {
            let s = segments.at(at);
            let next = s.next;
            if s.flags.rtx_out() {
                left -= 1;
                let sent_at = s.sent_at;
                match due(s) {
                    Some(t) if t <= now => {
                        if self.mark_lost(segments, at) {
                            (found.lost, found.again) = (found.lost + 1, found.again + 1);
                        }
                    }
                    t => {
                        oldest = oldest.min(sent_at);
                        found.next = found.next.min(t.unwrap_or(Instant::FAR));
                    }
                }
            }
            at = next;
            steps -= 1;
            if steps == 0 {
                // The rest with the next acknowledgment; until then the bound stays as it was.
                return;
            }
        }
        self.rtx_oldest = oldest;
    }

    /// Marks lost what has three reported segments above it (RFC 6675 §4, IsLost, by segments).
    pub(super) fn mark_below_three(&mut self, segments: &mut Segments<'_>, list: SegmentList) -> u32 {
        let [.., Some(third)] = self.top else { return 0 };
        let mut lost = 0;
        let mut at = if self.judged.at == NIL { list.head() } else { segments.at(self.judged.at).next };
        while at != NIL {
            let s = segments.at(at);
            let (seq, next, again) = (s.seq, s.next, s.flags.retransmitted());
            if seq.after_eq(third) {
                break;
            }
            if !again {
                lost += u32::from(self.mark_lost(segments, at));
            }
            self.judged = Place { at, seq };
            at = next;
        }
        lost
    }

    /// Behind the highest segment reported, or `una`.
    pub(super) fn high_sacked(&self, una: SeqNum) -> SeqNum {
        self.top[0].unwrap_or(una)
    }
}

fn list_start(segments: &Segments<'_>, list: SegmentList) -> SeqNum {
    if list.head() == NIL { SeqNum(0) } else { segments.at(list.head()).seq }
}

#[cfg(test)]
mod tests;
