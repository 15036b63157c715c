//! ICMP errors: the size that a path takes, and peers that cannot be reached (RFC 1122 §4.2.3.9, RFC 5461, RFC 5927).
//!
//! They come in frames, where the port hands them up, or by [`Stack::icmp`], where another owner of the interface (the
//! kernel) passes them on. Anybody can forge them. So an error counts only when the sequence number that it quotes is in
//! flight (RFC 5927 §4.1); none ends a connection once both SYNs are through (RFC 5461 §4.1: what may be a passing
//! failure is remembered, and named when the connection times out of itself); and a smaller packet size is believed only
//! when the packet quoted was larger, and never below a floor (RFC 5927 §7).

use super::deliver::Next;
use super::flow::FlowKey;
use super::{App, CloseReason, PathId, Stack};
use crate::nic::NicQueue;
use crate::tcp::path_mtu::plateau_below;
use crate::tcp::{Connection, State};
use crate::time::Instant;
use crate::wire::{IcmpError, IcmpKind, ParseError};

impl Connection {
    /// Whether an error that quotes `seq` can be about something that we sent and that is not acknowledged.
    fn has_in_flight(&self, seq: crate::wire::SeqNum) -> bool {
        seq.in_window(self.snd_una, self.in_flight())
    }
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// Takes in an IP packet with an ICMP error, which arrived on `path` by another way than its queue. Its outer
    /// destination is one of our addresses, its checksum is verified here.
    ///
    /// # Errors
    /// Why it was not looked at; it is counted.
    pub fn icmp<A: App<Q>>(
        &mut self,
        now: Instant,
        path: PathId,
        packet: &[u8],
        app: &mut A,
    ) -> Result<(), ParseError> {
        self.now = self.now.max(now);
        self.now_ms = self.now.as_millis_u32();
        match IcmpError::parse_ip(packet) {
            Ok(error) => {
                self.icmp_error(path.0, &error, app);
                Ok(())
            }
            Err(e) => {
                self.counters.malformed(e);
                Err(e)
            }
        }
    }

    /// A frame that is IP but not TCP.
    #[cold]
    pub(super) fn not_tcp<A: App<Q>>(&mut self, path: u8, frame: &[u8], app: &mut A) {
        match IcmpError::parse_frame(frame) {
            Ok(error) => self.icmp_error(path, &error, app),
            Err(e) => self.counters.malformed(e),
        }
    }

    fn icmp_error<A: App<Q>>(&mut self, path: u8, error: &IcmpError, app: &mut A) {
        self.counters.icmp_in += 1;
        let key = FlowKey::new(error.remote, error.local, error.remote_port, error.local_port);
        let found = self.flows.find(&key, |slot| self.conns.at(slot).key.matches(&key));
        let about = found.filter(|slot| {
            let c = self.conns.at(*slot);
            c.path == path && c.state != State::TimeWait && c.has_in_flight(error.seq)
        });
        let Some(slot) = about else {
            self.counters.icmp_ignored += 1;
            return;
        };
        match error.kind {
            IcmpKind::TooBig(mtu) => self.too_big(slot, mtu, error.quoted_len),
            IcmpKind::Hard if !self.conns.at(slot).state.synchronised() => {
                self.counters.icmp_refusals += 1;
                let reason = CloseReason::Unreachable(error.code.0, error.code.1);
                let _: Next = self.over(slot, reason, app);
            }
            IcmpKind::Hard | IcmpKind::Soft => {
                let now_ms = self.now_ms;
                let cold = &mut self.conns.at_mut(slot).cold;
                cold.soft_error = Some(CloseReason::Unreachable(error.code.0, error.code.1));
                cold.soft_error_ms = now_ms;
            }
        }
    }

    fn too_big(&mut self, slot: u32, mtu: u32, quoted_len: u32) {
        let mtu = if mtu == 0 { plateau_below(quoted_len) } else { mtu };
        let (conn, mut env) = self.split(slot);
        if quoted_len > mtu && conn.lower_packet_size(&mut env.ack, mtu) {
            self.counters.pmtu_lowered += 1;
            self.mark_dirty(slot);
            self.arm_lazy(slot);
        } else {
            self.counters.icmp_ignored += 1;
        }
    }
}
