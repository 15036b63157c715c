//! The packet size that the path takes: what a router says (RFC 1191, RFC 8201), and what can be concluded when none says
//! anything (RFC 4821 §7: full segments that time out again and again).
//!
//! Deviation from RFC 4821: there are no probe segments. After a while the full size is simply used again; should it still
//! not get through, a router says so at once, or the first timeout, not one of several, brings the smaller size back.

use super::ack::AckEnv;
use super::connection::Connection;
use crate::slab::NIL;
use crate::time::{Duration, Instant};
use crate::wire::int::MAX_LEN as SHIM_LEN;
use crate::wire::tcp_options::TIMESTAMPS_LEN;

/// Sizes that paths are known to have: what is tried when a larger one seems to vanish.
const LADDER: [u32; 4] = [4352, 1500, 1280, 576];
/// No path is believed to take less. RFC 791 allows 68, but somebody who says so makes us send 50 times as many packets.
const LEAST_V4: u32 = 552;
/// None may (RFC 8200 §5).
const LEAST_V6: u32 = 1280;

/// The plateaus of RFC 1191 §7, for routers that do not say what they take.
const PLATEAUS: [u32; 7] = [17914, 8166, 4352, 2002, 1492, 1006, 508];

/// The plateau below a packet's length.
pub(crate) fn plateau_below(len: u32) -> u32 {
    PLATEAUS.into_iter().find(|p| *p < len).unwrap_or(LEAST_V4)
}

impl Connection {
    fn headers(&self) -> u32 {
        let ip_tcp = if self.key.addrs_are_v6() { 60 } else { 40 };
        let shim = if self.cold.modes.int() { SHIM_LEN as u32 } else { 0 };
        ip_tcp + shim + if self.flags.timestamps() { TIMESTAMPS_LEN as u32 } else { 0 }
    }

    /// The largest packet that it sends.
    fn packet_size(&self) -> u32 {
        u32::from(self.mss) + self.headers()
    }

    /// No packet shall be larger than `mtu` until it is time to try again. What is in flight and larger goes out anew.
    /// False when that changes nothing.
    pub(crate) fn lower_packet_size(&mut self, env: &mut AckEnv<'_, '_>, mtu: u32) -> bool {
        let mtu = mtu.max(if self.key.addrs_are_v6() { LEAST_V6 } else { LEAST_V4 });
        if mtu >= self.packet_size() {
            return false;
        }
        if self.cold.full_mss == 0 {
            self.cold.full_mss = self.mss;
        }
        self.resize(env, (mtu - self.headers()) as u16);
        let again = env.config.pmtu_raise;
        self.cold.raise_at = if again.is_zero() { Instant::FAR } else { env.now + again };
        self.cold.modes.set_size_on_trial(false);
        true
    }

    /// A timeout. True when it is one too many of a segment that the path may be too narrow for, and a smaller size is used
    /// from now on. One that is not full (applications' messages may never be) has twice the patience: with a peer that is
    /// gone for a while it is none of its doing.
    pub(crate) fn suspect_black_hole(&mut self, env: &mut AckEnv<'_, '_>) -> bool {
        let most = env.config.black_hole_timeouts;
        // A size that is on trial has one chance.
        let head = self.segments.head();
        let len = if head == NIL { 0 } else { env.segments.at(head).len.min(self.mss.into()) };
        let patience = match len == u32::from(self.mss) {
            true if self.cold.modes.size_on_trial() => most.min(1),
            true => most,
            false => most.saturating_mul(2),
        };
        if most == 0 || self.backoff < patience {
            return false;
        }
        let size = len + self.headers();
        LADDER.into_iter().find(|m| *m < size).is_some_and(|next| self.lower_packet_size(env, next))
    }

    /// The path may take more by now (RFC 1191 §6.3). False: what was tried then has proved itself.
    pub(crate) fn raise_packet_size(&mut self, now: Instant, trial: Duration) -> bool {
        let raised = self.cold.full_mss > self.mss;
        if raised {
            self.mss = self.cold.full_mss;
            self.cold.full_mss = 0;
        }
        self.cold.modes.set_size_on_trial(raised);
        self.cold.raise_at = if raised { now + trial } else { Instant::FAR };
        raised
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plateaus_are_below_what_did_not_fit() {
        for (len, want) in
            [(1500, 1492), (1492, 1006), (9000, 8166), (1006, 508), (508, 552), (100, 552), (65535, 17914)]
        {
            assert_eq!(plateau_below(len), want, "{len}");
        }
    }
}
