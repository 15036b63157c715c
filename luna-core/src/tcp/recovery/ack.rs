//! An acknowledgment while a connection is in disorder, or one that brings it there.
//!
//! The order is that of RFC 8985 §6.2: what was delivered, cumulatively and selectively; what that says about the path
//! (RTT, reordering, D-SACK); whether an episode was a mistake, or is over; what is lost now; how much may leave.

use super::rack::Rack;
use super::undo::{Frto, Spurious};
use super::{Recovery, rack};
use crate::slab::NIL;
use crate::tcp::ack::AckEnv;
use crate::tcp::connection::Connection;
use crate::tcp::segments::Segment;
use crate::time::{Duration, Instant};
use crate::wire::{SackBlocks, SeqNum};

/// What a segment says about what we sent.
pub(crate) struct AckSeen<'a> {
    pub(crate) ack: SeqNum,
    /// A duplicate acknowledgment as RFC 5681 §2 has it.
    pub(crate) duplicate: bool,
    pub(crate) sack: &'a SackBlocks,
    /// The echoed time stamp, if it can be one.
    pub(crate) tsecr: Option<u32>,
}

/// What it brought.
#[derive(Default)]
struct News {
    /// Bytes newly acknowledged.
    acked: u32,
    /// Bytes newly known to have arrived.
    delivered: u32,
    /// Something sent only once, before the last timeout, was newly reported.
    original: bool,
    /// Send time of the newest segment whose age is a round trip, and of the newest acknowledged one of all.
    sample: Option<Instant>,
    newest: Option<Instant>,
    /// What was acknowledged had been sent again, or reported before: its age is no round trip (Karn).
    repaired: bool,
    /// What arrived twice.
    dsack: Option<(SeqNum, SeqNum)>,
    /// Something sent only once came in behind what was sent later.
    reordered: bool,
    /// The episode was a mistake.
    taken_back: bool,
    lost: bool,
}

impl Connection {
    /// A segment whose acknowledgment needs more than [`Connection::ack_advance`]: see [`Connection::ack_is_plain`].
    #[cold]
    #[inline(never)]
    pub(crate) fn ack_in_disorder(&mut self, env: &mut AckEnv<'_, '_>, seen: &AckSeen<'_>) {
        let mut news = News::default();
        let blocks = self.sort_blocks(env, seen, &mut news);
        let wanted = self.flags.disorder() || blocks.0 > 0 || seen.duplicate && !self.flags.sack();
        if !wanted {
            if seen.ack.after(self.snd_una) {
                self.ack_advance(env, seen.ack);
            }
            return;
        }
        if !self.take_record(env) {
            env.counters.recovery_full += 1;
            return self.ack_without_record(env, seen.ack);
        }
        let fack = env.recoveries.at(self.cold.recovery).rack.fack;
        if seen.ack.after(self.snd_una) {
            self.advance_in_disorder(env, seen, fack, &mut news);
        }
        let rec = env.recoveries.at_mut(self.cold.recovery);
        if self.flags.sack() {
            for &(left, right) in blocks.1.get(..blocks.0).unwrap_or_default() {
                self.take_block(env, seen, (left, right), fack, &mut news);
            }
        } else if seen.duplicate {
            let room = self.in_flight() / u32::from(self.mss).max(1);
            rec.dup_acks = (rec.dup_acks + 1).min(room.saturating_sub(1).max(1));
            news.delivered += u32::from(self.mss);
        }
        self.learn(env, seen, &news);
        self.conclude(env, seen, &mut news);
        let rec = env.recoveries.at_mut(self.cold.recovery);
        let mut restart = news.acked > 0;
        if restart || news.delivered > 0 {
            // In recovery a probe waits for silence, not for the cumulative acknowledgment alone.
            restart |= self.flags.recovery() && rec.main_is_probe;
            rec.repair.probed = false;
        }
        self.settle(env, restart);
    }

    /// Which blocks are reports of what is in flight, and which is a D-SACK (RFC 2883 §4): the first, when it lies below
    /// the acknowledgment or within the second. What was never sent, or long ago, is nonsense and ignored.
    fn sort_blocks(
        &mut self,
        env: &mut AckEnv<'_, '_>,
        seen: &AckSeen<'_>,
        news: &mut News,
    ) -> (usize, [(SeqNum, SeqNum); SackBlocks::MAX]) {
        let (mut n, mut good) = (0, [(SeqNum(0), SeqNum(0)); SackBlocks::MAX]);
        if !self.flags.sack() {
            return (n, good);
        }
        let una = self.snd_una.later(seen.ack);
        let oldest = una - self.cold.max_window.max(1 << 16);
        let second = seen.sack.as_slice().get(1).copied();
        for (i, (left, right)) in seen.sack.iter().enumerate() {
            if !left.before(right) || right.after(self.snd_nxt) || left.before(oldest) {
                env.counters.bad_sacks += 1;
                continue;
            }
            let within = second.is_some_and(|(l, r)| l.before_eq(left) && right.before_eq(r));
            if i == 0 && (right.before_eq(seen.ack) || within) {
                news.dsack = Some((left, right));
                self.cold.dsacks = self.cold.dsacks.saturating_add(1);
                env.counters.dsacks_in += 1;
            } else if right.after(una)
                && let Some(slot) = good.get_mut(n)
            {
                *slot = (left.later(una), right);
                n += 1;
            }
        }
        (n, good)
    }

    /// What can be done without a record: the timer, and then one segment for each acknowledgment.
    fn ack_without_record(&mut self, env: &mut AckEnv<'_, '_>, ack: SeqNum) {
        if !ack.after(self.snd_una) {
            return;
        }
        let acked = ack.distance_from(self.snd_una);
        self.ack_advance(env, ack);
        if self.flags.timeout_recovery() && ack.before(self.cold.recovery_point) {
            self.congestion_acked_in_recovery(env, acked, None, true);
            if self.segments.head() != NIL {
                let s = env.segments.at_mut(self.segments.head());
                s.flags.set_lost(!s.flags.retransmitted());
            }
            return;
        }
        self.flags.set_timeout_recovery(false);
        // What was lost and did not fit when it was sent again may still be to be sent.
        let lost = self.segments.head() != NIL && env.segments.at(self.segments.head()).flags.lost();
        self.flags.set_disorder(lost);
    }

    /// The cumulative acknowledgment moves.
    fn advance_in_disorder(&mut self, env: &mut AckEnv<'_, '_>, seen: &AckSeen<'_>, fack: SeqNum, news: &mut News) {
        news.acked = seen.ack.distance_from(self.snd_una);
        self.snd_una = seen.ack;
        while self.segments.head() != NIL {
            let i = self.segments.head();
            if env.segments.at(i).end().after(seen.ack) {
                break;
            }
            let s = env.segments.at(i);
            let rec = env.recoveries.at_mut(self.cold.recovery);
            rec.board.freed(s);
            news.repaired |= s.flags.retransmitted() || s.flags.sacked();
            if !s.flags.sacked() {
                self.on_delivered(&mut rec.rack, s, env.now, seen.tsecr, fack, news);
                news.newest = Some(s.sent_at);
            }
            self.segments.pop(env.segments);
        }
        let rec = env.recoveries.at_mut(self.cold.recovery);
        if self.segments.head() != NIL {
            let s = env.segments.at(self.segments.head());
            if s.seq.before(seen.ack) {
                let part = seen.ack.distance_from(s.seq);
                rec.board.shrunk(s, part);
                news.delivered += if s.flags.sacked() { 0 } else { part };
                self.trim_first(env.segments, env.sends, seen.ack);
            }
        }
        rec.board.forget_below(seen.ack);
        rec.timeouts = 0;
        // What was acknowledged is no longer what duplicates stood for (RFC 6582 §3.2 step 3).
        let segments = news.acked.div_ceil(u32::from(self.mss).max(1));
        rec.dup_acks = if self.recovering() { rec.dup_acks.saturating_sub(segments.saturating_sub(1)) } else { 0 };
        if !self.flags.sack() {
            let counted = u32::from(self.mss) * segments.saturating_sub(1);
            news.delivered = news.delivered.saturating_sub(if self.flags.recovery() { counted } else { 0 });
        }
        self.cold.give_up_at =
            if self.snd_una == self.snd_nxt { Instant::FAR } else { env.now + env.config.user_timeout };
    }

    /// A block of reports.
    fn take_block(
        &mut self,
        env: &mut AckEnv<'_, '_>,
        seen: &AckSeen<'_>,
        block: (SeqNum, SeqNum),
        fack: SeqNum,
        news: &mut News,
    ) {
        let Recovery { board, rack, .. } = env.recoveries.at_mut(self.cold.recovery);
        let (now, tsecr, list) = (env.now, seen.tsecr, self.segments);
        let whole = board.mark_block(env.segments, list, block, |s| {
            self.on_delivered(rack, s, now, tsecr, fack, news);
        });
        if !whole {
            env.counters.sack_walks_cut += 1;
        }
    }

    /// `s` is newly known to have arrived.
    fn on_delivered(
        &mut self,
        rack: &mut Rack,
        s: &Segment,
        now: Instant,
        tsecr: Option<u32>,
        fack: SeqNum,
        news: &mut News,
    ) {
        news.delivered += s.span();
        // Time stamps tell which transmission was answered (RFC 8985 §6.2, step 2).
        let sent = self.tsval(s.sent_at.as_millis_u32());
        let earlier = tsecr.is_some_and(|t| (t.wrapping_sub(sent) as i32) < 0);
        rack.delivered(s, now, self.rtt.least(), earlier && self.flags.timestamps());
        // What was reported before a timeout made us forget it tells nothing of the path now.
        if !s.flags.retransmitted() && !s.flags.was_sacked() {
            news.sample = news.sample.max(Some(s.sent_at));
            news.original |= s.end().before_eq(self.cold.recovery_point);
            news.reordered |= s.end().before(fack);
        }
        rack.fack = rack.fack.later(s.end());
    }

    /// RTT, reordering and D-SACK (RFC 6298 §3, RFC 8985 §6.2 step 4).
    fn learn(&mut self, env: &mut AckEnv<'_, '_>, seen: &AckSeen<'_>, news: &News) {
        let rec = env.recoveries.at_mut(self.cold.recovery);
        let sample = if !news.repaired {
            news.sample
        } else if self.flags.timeout_recovery() && news.acked > 0 {
            // Karn's doubt is cleared when the echo is that of the retransmission: the original is a timeout older.
            news.newest.filter(|t| seen.tsecr == Some(self.tsval(t.as_millis_u32())))
        } else {
            None
        };
        if let Some(sent_at) = sample {
            env.counters.rtt_samples += 1;
            self.rtt.sample(env.now, env.now.since(sent_at));
            self.backoff = 0;
        }
        let by_probe = news.dsack.is_some_and(|(_, right)| rec.repair.end == Some(right));
        if by_probe {
            rec.repair.end = None;
        }
        let again = news.dsack.filter(|(_, right)| !by_probe && rec.undo.sent > 0 && right.after(rec.undo.from));
        // A fast retransmission that was not needed is reordering as well: the original was late.
        if (news.reordered || again.is_some() && !rec.undo.timeout) && !self.flags.reordering_seen() {
            self.flags.set_reordering_seen(true);
            env.counters.reorderings += 1;
        }
        if rec.rack.dsack_round.is_some_and(|round| self.snd_una.after_eq(round)) {
            rec.rack.dsack_round = None;
        }
        let Some((_, right)) = news.dsack else { return };
        // The network duplicates too: only what we sent again tells that we were hasty.
        let ours = again.is_some() || rec.probe.again && rec.probe.end == Some(right);
        if ours && rec.rack.dsack_round.is_none() {
            rec.rack.dsack_round = Some(self.snd_nxt);
            self.cold.reo_wnd_mult = self.cold.reo_wnd_mult.saturating_add(1);
            self.cold.reo_wnd_persist = rack::PERSIST;
        }
    }

    /// What follows for the episode: taken back, over, or begun.
    fn conclude(&mut self, env: &mut AckEnv<'_, '_>, seen: &AckSeen<'_>, news: &mut News) {
        let rec = env.recoveries.at_mut(self.cold.recovery);
        let mss = u32::from(self.mss);
        let after_timeout = self.flags.timeout_recovery();
        let flight_before = rec.board.pipe(self.in_flight()) + news.delivered;
        if let Some(how) = self.spurious(rec, seen, news) {
            if how == Spurious::Eifel
                && let Some(tsecr) = seen.tsecr
            {
                // RFC 4015 §3.3: the timeout grows with the delay that fooled it.
                let ms = self.tsval(env.now.as_millis_u32()).wrapping_sub(tsecr);
                self.rtt.sample(env.now, Duration::from_millis(ms.into()));
            }
            self.take_back(env, how);
            news.taken_back = true;
        }
        if news.acked > 0 {
            self.end_of_probe(env, seen, news);
        } else {
            self.probe_answered(env, seen, news);
        }
        let rec = env.recoveries.at_mut(self.cold.recovery);
        if self.recovering() && self.snd_una.after_eq(self.cold.recovery_point) {
            rec.recovered = Some(self.cold.recovery_point);
            rec.dup_acks = 0;
            self.leave_recovery(env);
        } else if self.recovering() && news.acked > 0 && !self.flags.sack() && self.segments.head() != NIL {
            // A partial acknowledgment: what now comes first was lost too, unless it was just sent again (RFC 6582 §3.2).
            let s = env.segments.at(self.segments.head());
            if !s.flags.retransmitted() && rec.undo.frto == Frto::Off {
                news.lost |= rec.board.mark_lost(env.segments, self.segments.head());
            }
        }
        self.check_reneging(env, news);
        let rec = env.recoveries.at_mut(self.cold.recovery);
        let (lost, again) = self.find_lost(rec, env.segments, env.now, env.config);
        env.counters.lost_retransmits += u64::from(again);
        news.lost |= lost > 0;
        if lost > 0 && !self.recovering() {
            self.enter_fast_recovery(env, flight_before.max(mss));
        }
        if self.flags.recovery() {
            if news.delivered > 0 || news.lost {
                self.reduce(env, news.delivered, news.acked > 0 && !news.lost);
            }
            if news.acked > 0 {
                self.congestion_acked_in_recovery(env, news.acked, None, false);
            }
        } else if news.acked > 0 {
            let rtt = news.sample.filter(|_| !news.repaired).map(|at| env.now.since(at));
            if after_timeout && !news.taken_back {
                // Slow start, whatever held the sender back.
                self.congestion_acked_in_recovery(env, news.acked, rtt, true);
            } else {
                self.congestion_acked(env, news.acked, rtt);
            }
        }
    }

    /// Whether the last episode was a mistake, and by which sign.
    fn spurious(&self, rec: &mut Recovery, seen: &AckSeen<'_>, news: &News) -> Option<Spurious> {
        let advanced = news.acked > 0;
        if advanced && rec.undo.eifel(seen.tsecr) && self.recovering() {
            return Some(Spurious::Eifel);
        }
        match rec.undo.frto {
            Frto::Off => {}
            Frto::First => {
                // RFC 5682 §3.1, step 2: only an acknowledgment of part of what was in flight tells more.
                let part = advanced && self.snd_una.before(self.cold.recovery_point);
                let can_send = self.unsent() > 0 && self.snd_wnd > self.in_flight();
                rec.undo.frto = if part && can_send { Frto::Second } else { Frto::Off };
            }
            Frto::Second => {
                rec.undo.frto = Frto::Off;
                if news.original {
                    return Some(Spurious::Frto);
                }
            }
        }
        let (left, right) = news.dsack?;
        rec.undo.dsack(left, right, u32::from(self.mss)).then_some(Spurious::DSack)
    }

    /// RFC 8985 §7.4.2, with the cumulative acknowledgment moving.
    fn end_of_probe(&mut self, env: &mut AckEnv<'_, '_>, seen: &AckSeen<'_>, news: &News) {
        let rec = env.recoveries.at_mut(self.cold.recovery);
        let Some(end) = rec.probe.end else { return };
        if seen.ack.before(end) {
            return;
        }
        if !rec.probe.again || self.probe_was_duplicate(rec, news) {
            rec.probe.end = None;
        } else if seen.ack.after(end) {
            rec.probe.end = None;
            if !self.recovering() {
                self.respond_to_probe(env);
            }
        }
    }

    /// The same, without.
    fn probe_answered(&mut self, env: &mut AckEnv<'_, '_>, seen: &AckSeen<'_>, news: &News) {
        let rec = env.recoveries.at_mut(self.cold.recovery);
        if rec.probe.end != Some(seen.ack) || !rec.probe.again {
            return;
        }
        // Both copies arrived: as a D-SACK says, or a duplicate from a peer that sends none.
        if self.probe_was_duplicate(rec, news) || seen.sack.is_empty() {
            rec.probe.end = None;
        }
    }

    fn probe_was_duplicate(&self, rec: &Recovery, news: &News) -> bool {
        news.dsack.is_some_and(|(_, right)| Some(right) == rec.probe.end)
    }

    /// A peer that acknowledges up to what it reported received, and no further, has thrown that away. It is asked twice:
    /// acknowledgments may have overtaken one another.
    fn check_reneging(&mut self, env: &mut AckEnv<'_, '_>, news: &News) {
        let head = self.segments.head();
        let told = head != NIL && env.segments.at(head).flags.sacked();
        let rec = env.recoveries.at_mut(self.cold.recovery);
        if !told {
            rec.reneging = false;
        } else if news.acked > 0 {
            rec.reneging = true;
        } else if rec.reneging {
            self.on_reneging(env);
        }
    }

    /// Sets the timer, or gives the record back when nothing more can be learned with it.
    pub(super) fn settle(&mut self, env: &mut AckEnv<'_, '_>, restart: bool) {
        let (now, config) = (env.now, env.config);
        let rec = env.recoveries.at_mut(self.cold.recovery);
        if rec.reneging {
            let half = Duration::from_nanos(u64::from(self.rtt.srtt) / 2).max(config.clock_granularity);
            rec.reorder_at = rec.reorder_at.min(now + half);
        }
        let open = self.recovering() || !rec.board.is_empty() || rec.dup_acks > 0 || rec.probe.pending;
        if open {
            (rec.linger_at, rec.linger_to) = (Instant::FAR, None);
        } else {
            rec.reorder_at = Instant::FAR;
            let doubt = rec.undo.unreported > 0 || rec.probe.end.is_some();
            let echoes = rec.recovered.is_some() && !self.flags.sack();
            if !doubt && !echoes {
                return self.restore_order(env, restart);
            }
            if rec.linger_at == Instant::FAR {
                rec.linger_at = now + self.rtt.rto(0, config);
                rec.linger_to = Some(self.snd_nxt);
            } else if rec.linger_at <= now
                || rec.probe.end.is_none()
                    && self.in_flight() > 0
                    && rec.linger_to.is_some_and(|to| self.snd_una.after_eq(to))
            {
                if rec.probe.end.is_some() && rec.probe.again && self.in_flight() == 0 {
                    // Nobody says that the probe arrived twice: it repaired a loss.
                    self.respond_to_probe(env);
                }
                return self.restore_order(env, restart);
            }
        }
        self.arm_in_disorder(rec, now, config, restart);
    }

    fn restore_order(&mut self, env: &mut AckEnv<'_, '_>, restart: bool) {
        let main_at = env.recoveries.at(self.cold.recovery).main_at;
        self.drop_record(env.recoveries);
        if self.in_flight() == 0 {
            self.rto_at = Instant::FAR;
        } else if restart || main_at == Instant::FAR {
            self.arm_timer(env.now, env.config);
        } else {
            self.rto_at = main_at;
        }
    }
}
