//! What names in `%{ assert ... }%` stand for: a connection's state and statistics (`tcpi_...`), the stack's counters
//! (`n_...`), states.

use luna_core::tcp::{State, TcpInfo};

use super::calls::Fd;
use super::world::World;

const STATES: &[(&str, State)] = &[
    ("TCP_CLOSE", State::Closed),
    ("TCP_SYN_SENT", State::SynSent),
    ("TCP_SYN_RECV", State::SynReceived),
    ("TCP_ESTABLISHED", State::Established),
    ("TCP_FIN_WAIT1", State::FinWait1),
    ("TCP_FIN_WAIT2", State::FinWait2),
    ("TCP_CLOSE_WAIT", State::CloseWait),
    ("TCP_CLOSING", State::Closing),
    ("TCP_LAST_ACK", State::LastAck),
    ("TCP_TIME_WAIT", State::TimeWait),
];

/// The value of `name`, for the connection of `fd` where it is one's.
pub(super) fn value(w: &World<'_>, fd: Option<Fd>, name: &str) -> Option<i64> {
    if let Some((_, state)) = STATES.iter().find(|(n, _)| *n == name) {
        return Some(*state as i64);
    }
    if let Some(counter) = name.strip_prefix("n_") {
        return counters(w).find(|(n, _)| n == counter).map(|(_, value)| value as i64);
    }
    match name {
        "connections" => return i64::try_from(w.sockets.connections()).ok(),
        "sockets" => return i64::try_from(w.sockets.sockets()).ok(),
        _ => {}
    }
    let info = name.strip_prefix("tcpi_")?;
    of_connection(&w.sockets.info(fd?.id).ok()?, info)
}

/// Counters by names that a script can write.
fn counters<'w>(w: &'w World<'_>) -> impl Iterator<Item = (String, u64)> + 'w {
    w.sockets.counters().iter().map(|(name, value)| {
        let name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
        (name, value)
    })
}

fn of_connection(i: &TcpInfo, name: &str) -> Option<i64> {
    let micros = |d: luna_core::time::Duration| (d.as_nanos() / 1000) as i64;
    Some(match name {
        "state" => i.state as i64,
        "snd_mss" => i.mss.into(),
        "rtt" => micros(i.srtt),
        "rttvar" => micros(i.rttvar),
        "rto" => micros(i.rto),
        // Linux counts segments; the stack counts bytes.
        "snd_cwnd" => i64::from(i.cwnd) / i64::from(i.mss.max(1)),
        "snd_cwnd_bytes" => i.cwnd.into(),
        "snd_wnd" => i.snd_wnd.into(),
        "rcv_wnd" => i.rcv_wnd.into(),
        "queued" => i.queued.into(),
        "in_flight" => i.in_flight.into(),
        "timestamps" => i.timestamps.into(),
        "sack" => i.sack.into(),
        "rcv_wscale" => i.window_scale.0.into(),
        "snd_wscale" => i.window_scale.1.into(),
        "total_retrans" => i.retransmits.into(),
        "rtos" => i.rtos.into(),
        "tlp_probes" => i.tlp_probes.into(),
        "undos" => i.undos.into(),
        "dsacks" => i.dsacks.into(),
        "sacked" => i.sacked.into(),
        "lost" => i.lost.into(),
        "retrans" => i.retrans.into(),
        "reordering_seen" => i.reordering_seen.into(),
        "reo_wnd_mult" => i.reo_wnd_mult.into(),
        // Segments; a large number before the first sign of congestion.
        "snd_ssthresh" => i64::from(i.ssthresh) / i64::from(i.mss.max(1)),
        "snd_ssthresh_bytes" => i.ssthresh.into(),
        "ecn" => i.ecn.into(),
        "delivered_ce" => i.ece_received.into(),
        "received_ce" => i.ce_received.into(),
        "min_rtt" => micros(i.min_rtt),
        _ => return None,
    })
}
