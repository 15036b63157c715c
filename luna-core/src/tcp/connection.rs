//! A connection's state: the hot part first, within four cache lines; what handshake, loss and close need behind it.

use static_assertions::const_assert;

use super::config::TcpConfig;
use super::congestion::Congestion;
#[cfg(test)]
use super::congestion::Window;
use super::ecn::Modes;
use super::profiles::ProfileRef;
use super::reassembly::Reassembly;
use super::rtt::Rtt;
use super::segments::SegmentList;
use super::send_queue::SendQueue;
use super::state::State;
use crate::parts::CONTROLLERS;
use crate::slab::{NIL, Node};
use crate::stack::flow::FlowKey;
use crate::stack::{CloseReason, ConnId, FlowEntry};
use crate::time::Instant;
use crate::wire::{HeaderTemplate, SeqNum};

bitfield::bitfield! {
    /// What is pending or true of a connection.
    #[derive(Clone, Copy, PartialEq, Eq, Default)]
    pub(crate) struct Flags(u32);
    impl Debug;
    /// Both sides use timestamps.
    pub(crate) timestamps, set_timestamps: 0;
    /// Both sides use SACK.
    pub(crate) sack, set_sack: 1;
    /// An acknowledgment must leave at the burst's end.
    pub(crate) ack_now, set_ack_now: 2;
    /// Something is SACKed, lost or doubtful: see [`super::recovery`].
    pub(crate) disorder, set_disorder: 3;
    /// In fast recovery, until `recovery_point` is acknowledged.
    pub(crate) recovery, set_recovery: 4;
    /// In recovery from a timeout: slow start until `recovery_point` is acknowledged.
    pub(crate) timeout_recovery, set_timeout_recovery: 5;
    /// The congestion window held the last output back.
    pub(crate) cwnd_limited, set_cwnd_limited: 6;
    /// The application wants to send no more: FIN behind the queue.
    pub(crate) fin_queued, set_fin_queued: 7;
    /// FIN was sent.
    pub(crate) fin_sent, set_fin_sent: 8;
    /// The application called `close`: it takes no more data.
    pub(crate) closed, set_closed: 9;
    /// The next hop's address is not known yet.
    pub(crate) needs_neighbor, set_needs_neighbor: 10;
    /// The peer has no window and data waits: the timer sends probes.
    pub(crate) persist, set_persist: 11;
    /// Our SYN (or SYN-ACK) is to be sent.
    pub(crate) syn_pending, set_syn_pending: 12;
    /// A send was refused; the application is told when there is room.
    pub(crate) wants_room, set_wants_room: 13;
    /// In the list of connections with output to do.
    pub(crate) dirty, set_dirty: 14;
    /// It came from a listener.
    pub(crate) passive, set_passive: 15;
    /// The application has been told that it is over (or never knew of it): its name is stale.
    pub(crate) detached, set_detached: 16;
    /// The peer's FIN was taken in.
    pub(crate) fin_received, set_fin_received: 17;
    /// Data was sent: the peer may have acted on it.
    pub(crate) data_sent, set_data_sent: 18;
    /// The timer sends one probe at its next occasion.
    pub(crate) probe_now, set_probe_now: 19;
    /// Both sides scale windows.
    pub(crate) scaling, set_scaling: 20;
    /// The application aborted it: reset and report at the next occasion.
    pub(crate) aborting, set_aborting: 21;
    /// The application was told that the next hop is not known.
    pub(crate) neighbor_announced, set_neighbor_announced: 22;
    /// Records may hold several segments each.
    pub(crate) uncut, set_uncut: 23;
    /// Segments of this path have overtaken one another (RFC 8985).
    pub(crate) reordering_seen, set_reordering_seen: 24;
    /// A D-SACK is to be reported.
    pub(crate) dsack, set_dsack: 25;
    /// The peer's FIN came ahead of its turn.
    pub(crate) fin_ahead, set_fin_ahead: 26;
    /// Its controller is in the pool: `cold.control`.
    controlled_bit, _: 27;
    pub(crate) _, set_controlled: 27;
    /// Output has something in `cold.modes` to see to.
    pub(crate) careful, set_careful: 28;
    /// Its path is a VLAN: an untagged frame is none of its segments, so headers are not predicted from one.
    pub(crate) tagged, set_tagged: 31;
    /// Acknowledgments carry ECE.
    pub(crate) echo_ce, set_echo_ce: 29;
    /// New data is sent as ECN-capable.
    pub(crate) ect, set_ect: 30;
}

impl Flags {
    #[inline(always)]
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Its controller is in the pool: `cold.control`.
    #[inline(always)]
    pub(crate) fn controlled(&self) -> bool {
        CONTROLLERS && self.controlled_bit()
    }
}

/// A connection, or a free slot for one.
///
/// `repr(C)`: everything up to `cold` is what an in-order segment and its answer touch.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Connection {
    pub(crate) key: FlowKey,
    pub(crate) id: ConnId,
    pub(crate) flags: Flags,
    pub(crate) state: State,
    pub(crate) path: u8,
    /// Its settings, in [`super::Profiles`].
    pub(crate) profile: ProfileRef,
    /// Segments received and not acknowledged.
    pub(crate) ack_owed: u8,
    /// Consecutive timeouts.
    pub(crate) backoff: u8,
    pub(crate) rcv_scale: u8,
    pub(crate) snd_scale: u8,
    /// Payload bytes of a full segment, options deducted.
    pub(crate) mss: u16,
    pub(crate) rcv_nxt: SeqNum,
    /// Right edge of the window that was advertised last.
    pub(crate) rcv_adv: SeqNum,
    /// Memory that received data pins, in bytes of whole objs.
    pub(crate) rcv_held: u32,
    /// The settings' limit of that.
    pub(crate) rcv_budget: u32,
    /// The largest window that can be.
    pub(crate) rcv_wnd: u32,
    pub(crate) ts_recent: u32,
    /// When an acceptable segment came last, in ms. It confirms `ts_recent`, which expires after 24 days (RFC 7323 §5.5),
    /// and is what keepalive goes by.
    pub(crate) ts_recent_ms: u32,
    /// Added to the clock for TSval (RFC 7323 §5.4).
    pub(crate) ts_offset: u32,
    pub(crate) snd_una: SeqNum,
    pub(crate) snd_nxt: SeqNum,
    pub(crate) snd_wnd: u32,
    pub(crate) snd_wl1: SeqNum,
    pub(crate) snd_wl2: SeqNum,
    pub(crate) send: SendQueue,
    pub(crate) segments: SegmentList,
    pub(crate) congestion: Congestion,
    pub(crate) rtt: Rtt,
    /// Retransmission, persist or SYN timer.
    pub(crate) rto_at: Instant,
    /// Delayed acknowledgment.
    pub(crate) ack_at: Instant,
    /// The wheel has an entry for this moment at the latest.
    pub(crate) wheel_at: Instant,
    pub(crate) next_dirty: u32,
    pub(crate) out_of_order: Reassembly,
    pub(crate) cold: Cold,
}

const_assert!(core::mem::offset_of!(Connection, cold) <= 4 * 64);

/// What a connection may cost when nothing is under way, in bytes, all tables included. A stack with the least flow table
/// that it takes has up to 8/3 entries for each connection: a power of two, three quarters of it used.
const IDLE_BYTES: usize = 512;
const_assert!(size_of::<Connection>() + (size_of::<FlowEntry>() * 8).div_ceil(3) <= IDLE_BYTES);

/// What an in-order segment does not touch, but for the header template, which every transmission reads.
#[derive(Debug)]
pub(crate) struct Cold {
    pub(crate) template: Option<HeaderTemplate>,
    /// The application's number; the listener's, until the connection is accepted.
    pub(crate) user: u64,
    pub(crate) iss: SeqNum,
    pub(crate) max_window: u32,
    pub(crate) recovery_point: SeqNum,
    /// Where the peer's FIN is, when it came ahead of its turn.
    pub(crate) fin_at: SeqNum,
    /// What arrived twice and is to be reported (RFC 2883).
    pub(crate) dsack: (SeqNum, SeqNum),
    /// The record of [`super::recovery`].
    pub(crate) recovery: u32,
    /// RACK's reordering window, in quarters of the least RTT, and for how many more recoveries it stays so.
    pub(crate) reo_wnd_mult: u8,
    pub(crate) reo_wnd_persist: u8,
    pub(crate) probes: u32,
    pub(crate) dsacks: u16,
    pub(crate) undos: u16,
    /// When our SYN left; [`Instant::FAR`] once it was sent again.
    pub(crate) syn_sent_at: Instant,
    /// Deadline of a whole phase: connecting, user timeout, FIN-WAIT-2, TIME-WAIT.
    pub(crate) give_up_at: Instant,
    /// When silence is looked at next ([`Instant::FAR`]: never); not among [`Connection::deadline`]'s, see
    /// [`crate::stack`]'s keepalive.
    pub(crate) keep_at: Instant,
    /// The end of our patience with a peer that answers window probes and takes nothing.
    pub(crate) stalled_until: Instant,
    /// Keepalive probes not answered.
    pub(crate) keep_probes: u8,
    pub(crate) listener: u32,
    pub(crate) listener_generation: u32,
    pub(crate) wheel_prev: u32,
    /// In a free slot, the next one.
    pub(crate) wheel_next: u32,
    pub(crate) wheel_slot: u16,
    /// What the network said last of the peer, and when, in ms.
    pub(crate) soft_error: Option<CloseReason>,
    pub(crate) soft_error_ms: u32,
    /// The segment size before the path turned out to take less; 0 otherwise.
    pub(crate) full_mss: u16,
    /// When it is tried again; as `keep_at`.
    pub(crate) raise_at: Instant,
    pub(crate) retransmits: u32,
    pub(crate) rtos: u32,
    /// Controller in the pool; [`NIL`] for none.
    pub(crate) control: u32,
    pub(crate) modes: Modes,
    /// A window that was cut for a mark ends here.
    pub(crate) cut_point: SeqNum,
    /// Since when nothing was sent, in ms.
    pub(crate) idle_ms: u32,
    /// Marked segments received, and echoes of marks.
    pub(crate) ce_in: u32,
    pub(crate) ece_in: u32,
}

/// No place in the wheel.
pub(crate) const NO_SLOT: u16 = u16::MAX;

impl Default for Connection {
    fn default() -> Self {
        Self {
            key: FlowKey::default(),
            id: ConnId::from_u64(0),
            flags: Flags::default(),
            state: State::Closed,
            path: 0,
            profile: ProfileRef::default(),
            ack_owed: 0,
            backoff: 0,
            rcv_scale: 0,
            snd_scale: 0,
            mss: 0,
            rcv_nxt: SeqNum(0),
            rcv_adv: SeqNum(0),
            rcv_held: 0,
            rcv_budget: 0,
            rcv_wnd: 0,
            ts_recent: 0,
            ts_recent_ms: 0,
            ts_offset: 0,
            snd_una: SeqNum(0),
            snd_nxt: SeqNum(0),
            snd_wnd: 0,
            snd_wl1: SeqNum(0),
            snd_wl2: SeqNum(0),
            send: SendQueue::default(),
            segments: SegmentList::default(),
            congestion: Congestion::default(),
            rtt: Rtt::default(),
            rto_at: Instant::FAR,
            ack_at: Instant::FAR,
            wheel_at: Instant::FAR,
            next_dirty: NIL,
            out_of_order: Reassembly::default(),
            cold: Cold {
                template: None,
                user: 0,
                iss: SeqNum(0),
                max_window: 0,
                recovery_point: SeqNum(0),
                fin_at: SeqNum(0),
                dsack: (SeqNum(0), SeqNum(0)),
                recovery: NIL,
                reo_wnd_mult: 1,
                reo_wnd_persist: 0,
                probes: 0,
                dsacks: 0,
                undos: 0,
                syn_sent_at: Instant::FAR,
                give_up_at: Instant::FAR,
                keep_at: Instant::FAR,
                stalled_until: Instant::FAR,
                keep_probes: 0,
                listener: NIL,
                listener_generation: 0,
                wheel_prev: NIL,
                wheel_next: NIL,
                wheel_slot: NO_SLOT,
                soft_error: None,
                soft_error_ms: 0,
                full_mss: 0,
                raise_at: Instant::FAR,
                retransmits: 0,
                rtos: 0,
                control: NIL,
                modes: Modes::default(),
                cut_point: SeqNum(0),
                idle_ms: 0,
                ce_in: 0,
                ece_in: 0,
            },
        }
    }
}

impl Node for Connection {
    fn next(&self) -> u32 {
        self.cold.wheel_next
    }
    fn set_next(&mut self, next: u32) {
        debug_assert!(self.cold.wheel_slot == NO_SLOT, "no free slot has a timer");
        self.cold.wheel_next = next;
    }
}

impl Connection {
    /// Makes a free slot a connection that has no state yet, its name kept.
    pub(crate) fn open(&mut self, key: FlowKey, (path, profile): (u8, ProfileRef), iss: SeqNum, ts_offset: u32) {
        let id = self.id;
        *self = Self {
            key,
            id,
            path,
            profile,
            ts_offset,
            snd_una: iss,
            snd_nxt: iss,
            rtt: Rtt::new(),
            send: SendQueue::new(iss + 1),
            ..Self::default()
        };
        self.cold.iss = iss;
        self.flags.set_syn_pending(true);
    }

    /// Another initial sequence number than that of [`Connection::open`], before anything was sent.
    pub(crate) fn start_at(&mut self, iss: SeqNum) {
        self.cold.iss = iss;
        self.snd_una = iss;
        self.snd_nxt = iss;
        self.send = SendQueue::new(iss + 1);
    }

    /// Bytes (and FIN) sent and not acknowledged.
    #[inline(always)]
    pub(crate) fn in_flight(&self) -> u32 {
        self.snd_nxt.distance_from(self.snd_una)
    }

    /// Bytes queued and never sent, once the handshake is over: then our SYN counts as sent.
    #[inline(always)]
    pub(crate) fn unsent(&self) -> u32 {
        if self.flags.fin_sent() { 0 } else { self.send.end.distance_from(self.snd_nxt) }
    }

    /// The window to advertise now, as its right edge; never left of what was advertised (RFC 9293 §3.8.6), and moved
    /// only by what is worth a segment (§3.8.6.2.2).
    #[inline(always)]
    pub(crate) fn window_edge(&self) -> SeqNum {
        // With nothing held there is room for the largest window: see `fit_window`.
        let window = if self.rcv_held == 0 { self.rcv_wnd } else { self.window_left() };
        let edge = self.rcv_nxt + window;
        // What is worth a segment is never more than a full one.
        let step = edge - self.rcv_adv;
        if step >= self.worthwhile_window(1) as i32 { edge } else { self.rcv_adv }
    }

    #[inline(always)]
    fn window_left(&self) -> u32 {
        let room = self.rcv_budget.saturating_sub(self.rcv_held) / 2;
        // Whole units of the scale, or the field would promise less than is meant.
        if room >= self.rcv_wnd { self.rcv_wnd } else { room >> self.rcv_scale << self.rcv_scale }
    }

    /// FIN is queued and was not sent.
    pub(crate) fn fin_is_to_go(&self) -> bool {
        self.flags.fin_queued() && !self.flags.fin_sent()
    }

    /// `segments` full ones, or half of the largest window that can be.
    #[inline(always)]
    pub(crate) fn worthwhile_window(&self, segments: u32) -> u32 {
        (segments * u32::from(self.mss)).min(self.rcv_wnd / 2).max(1)
    }

    /// Keeps at hand what the settings say of the window: once the scale is known, and when settings change.
    pub(crate) fn fit_window(&mut self, config: &TcpConfig) {
        self.rcv_budget = config.rcv_budget;
        let largest = config.rcv_wnd.min(config.rcv_budget / 2).min(0xffff << self.rcv_scale);
        self.rcv_wnd = largest >> self.rcv_scale << self.rcv_scale;
    }

    /// TSval for `now_ms`.
    #[inline(always)]
    pub(crate) fn tsval(&self, now_ms: u32) -> u32 {
        now_ms.wrapping_add(self.ts_offset)
    }

    /// Starts (or restarts) the timer for SYNs, window probes and timeouts; see also [`Connection::arm_timer`].
    #[inline(always)]
    pub(crate) fn arm_rto(&mut self, now: Instant, config: &TcpConfig) {
        self.rto_at = now + self.rtt.rto(self.backoff, config);
    }

    /// The earliest moment at which a timer has something to do.
    #[inline(always)]
    pub(crate) fn deadline(&self) -> Instant {
        self.rto_at.min(self.ack_at).min(self.cold.give_up_at)
    }

    /// A window of `cwnd` bytes, as if the path had been found to hold that.
    #[cfg(test)]
    pub(crate) fn congestion_for_tests(&mut self, cwnd: u32) {
        self.congestion = Congestion { window: Window::new(cwnd), ..Congestion::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unsent_does_not_depend_on_how_far_the_initial_sequence_number_is_behind() {
        let mut c = Connection::default();
        c.cold.iss = SeqNum(7);
        for sent in [0, 1, u32::MAX / 2, 1 << 31, u32::MAX - 1, u32::MAX] {
            c.snd_nxt = SeqNum(8) + sent;
            c.send = SendQueue::new(c.snd_nxt);
            assert_eq!(c.unsent(), 0, "{sent} bytes on");
        }
    }
}
