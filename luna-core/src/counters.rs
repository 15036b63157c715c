//! Counters of a stack: everything dropped or refused, by reason, and what the protocol did.

use crate::tcp::Transitions;
use crate::wire::ParseError;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of a stack, cumulative.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
            /// Frames and segments dropped because of what stands in them, by [`ParseError::index`].
            pub malformed: [u64; ParseError::COUNT],
            /// What states connections went through.
            pub transitions: Transitions,
        }

        impl Counters {
            /// Every counter with its name, for printing.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name),)*]
                    .into_iter()
                    .chain(ParseError::ALL.iter().zip(self.malformed).map(|(e, n)| (e.key(), n)))
            }
        }
    };
}

counters! {
    /// Segments received that parsed.
    segments_in,
    /// Segments sent, retransmissions and bare acknowledgments included.
    segments_out,
    /// Segments that took the fast path.
    fast_path,
    /// Payload bytes delivered to applications.
    bytes_in,
    /// Payload bytes sent for the first time.
    bytes_out,
    /// Bare acknowledgments sent.
    acks_out,
    /// Connections opened by us.
    active_opens,
    /// Connections opened by peers.
    passive_opens,
    /// Connections that became established.
    established,
    /// Segments retransmitted, for whatever reason.
    retransmits,
    /// Times that loss was detected by duplicate acknowledgments or SACK.
    fast_recoveries,
    /// Times that the retransmission timer fired.
    rtos,
    /// Tail loss probes sent (RFC 8985), those in fast recovery included.
    tlp_probes,
    /// Probes in fast recovery.
    repair_probes,
    /// Losses that a probe repaired.
    tlp_recoveries,
    /// Times that RACK's reordering timer fired.
    rack_timeouts,
    /// Connections on whose path segments were seen to overtake one another.
    reorderings,
    /// Retransmissions that were lost again and found without the timer.
    lost_retransmits,
    /// Retransmissions on suspicion: RFC 6675's rules 3 and 4, where RACK is off.
    speculative,
    /// Recoveries found unnecessary by an echoed time stamp, and taken back (Eifel, RFC 3522).
    undos_eifel,
    /// Timeouts found unnecessary by F-RTO, and taken back (RFC 5682).
    undos_frto,
    /// Recoveries found unnecessary by D-SACKs, and taken back.
    undos_dsack,
    /// D-SACKs received (RFC 2883).
    dsacks_in,
    /// D-SACKs sent.
    dsacks_out,
    /// SACK blocks of what was never sent, or long ago.
    bad_sacks,
    /// SACK blocks not taken in whole because looking for their segments took too long.
    sack_walks_cut,
    /// Times that a peer had thrown away what it reported received (RFC 2018 §8).
    reneged,
    /// Signs of loss that were not acted upon because all recovery records were in use.
    recovery_full,
    /// Echoed time stamps that we cannot have sent.
    bad_tsecr,
    /// SYNs sent again.
    syn_retransmits,
    /// Zero-window probes sent.
    window_probes,
    /// ICMP errors about TCP segments received.
    icmp_in,
    /// Those that were about nothing in flight, or said nothing new.
    icmp_ignored,
    /// Handshakes that one ended.
    icmp_refusals,
    /// Times that a connection went over to smaller segments because a router said so.
    pmtu_lowered,
    /// The same because full ones timed out again and again.
    black_holes,
    /// Times that the full segment size was tried again.
    pmtu_raised,
    /// Keepalive probes sent.
    keepalives,
    /// RTT samples taken.
    rtt_samples,
    /// Data segments that arrived ahead of their turn and were kept.
    out_of_order,
    /// FINs that arrived ahead of their turn and were kept.
    fins_ahead,
    /// Segments with nothing new in them.
    duplicates,
    /// Segments outside the window.
    outside_window,
    /// Segments refused by PAWS (RFC 7323 §5).
    paws,
    /// Acknowledgments of data never sent, or too old.
    bad_ack,
    /// Challenge acknowledgments sent (RFC 5961).
    challenge_acks,
    /// Challenge acknowledgments not sent because of their rate limit.
    challenge_acks_limited,
    /// Segments that make no sense in the connection's state: without ACK, or data behind the peer's FIN.
    unexpected,
    /// Out-of-order data dropped because pool or budget was full.
    out_of_order_full,
    /// In-order data dropped because the application holds more than the receive budget.
    over_budget,
    /// Resets received that ended a connection.
    resets_in,
    /// Resets sent.
    resets_out,
    /// Connections that ran into a time limit.
    timeouts,
    /// SYNs for a port that nobody listens on, and segments of no connection.
    no_connection,
    /// SYNs refused because the connection table or the flow table was full.
    connections_full,
    /// SYNs refused because the listener's backlog was full.
    backlog_full,
    /// SYNs answered with a cookie because the listener's backlog was full.
    syn_cookies_out,
    /// Connections whose handshake only a cookie remembered.
    syn_cookies_in,
    /// Segments that overtook the first one behind a cookie, and were dropped: that one opens the connection.
    syn_cookies_later,
    /// Acknowledgments of no connection that answered no cookie of ours, while one might have.
    syn_cookies_bad,
    /// Frames that were not addressed to us.
    not_ours,
    /// Frames to or from a group address.
    not_unicast,
    /// Transmissions put off because the queue was full.
    tx_queue_full,
    /// Transmissions put off because there was no obj for the header.
    no_header_obj,
    /// Transmissions put off because all segment records were in use.
    no_segment_record,
    /// Sends refused because a queue or the entry pool was full.
    sends_refused,
    /// Transmissions put off because the next hop's address is not known.
    no_neighbor,
    /// Data that arrived after `close`.
    data_after_close,
    /// Connections ended because foreign memory was revoked under them.
    revoked,
    /// Connections that agreed on ECN.
    ecn_agreed,
    /// Data segments received with a router's mark.
    ce_in,
    /// Acknowledgments received that echo a mark.
    ece_in,
    /// Times that a window was cut for a mark.
    ecn_cuts,
    /// Connections refused because the pool of congestion controllers was full.
    controls_full,
    /// Connections that run NewReno instead of HPCC because the peer or the port cannot do telemetry.
    telemetry_refused,
    /// Segments received with records of telemetry.
    telemetry_in,
    /// Windows that decayed because the connection had been idle.
    idle_decays,
    /// Times that a connection waited for its pace.
    paced,
    /// Turns that put timers off because the clock had jumped and frames were still waiting.
    clock_jumps,
    /// Retransmission timers held back because the turn before had overstayed: what they time may be younger than it says.
    timers_held,
}

impl Counters {
    pub(crate) fn malformed(&mut self, e: ParseError) {
        if let Some(n) = self.malformed.get_mut(e.index()) {
            *n += 1;
        }
    }
}
