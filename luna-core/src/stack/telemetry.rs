//! Telemetry shims of connections that agreed on them: what arrives goes to the controller and back to the peer.

use super::Stack;
use crate::nic::NicQueue;
use crate::parts::CONTROLLERS;
use crate::wire::int::{self, Shim, Telemetry};
use crate::wire::{MAX_HEADER_LEN, TcpPacket};

/// A shim about to be sent, and its length; none on connections without.
#[derive(Default)]
pub(super) struct TxShim(Option<(u8, [u8; int::MAX_LEN])>);

impl TxShim {
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().filter(|_| CONTROLLERS).map_or(0, |(len, _)| (*len).into())
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        !CONTROLLERS || self.0.is_none()
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.0.as_ref().and_then(|(len, bytes)| bytes.get(..(*len).into())).unwrap_or_default()
    }
}

impl<Q: NicQueue> Stack<'_, Q> {
    /// A segment's shim: its stamps are to be returned, what it returns is for the controller.
    #[cold]
    pub(super) fn take_telemetry(&mut self, slot: u32, packet: &TcpPacket, frame: &[u8]) {
        let c = self.conns.at(slot);
        if !c.cold.modes.int() {
            return;
        }
        // The parser has checked it.
        let Ok(shim) = Shim::parse(packet.shim(frame)) else { return };
        self.counters.telemetry_in += 1;
        let c = self.conns.at_mut(slot);
        let echo = &mut self.controls.at_mut(c.cold.control).echo;
        if !shim.stamped.is_empty() && !shim.stamped.is_truncated() {
            echo.returns = Some(shim.stamped);
            // Records are worth something while they are fresh: they leave at the burst's end.
            c.flags.set_ack_now(true);
        }
        echo.arrived = shim.returned;
    }

    /// Whether headers of a path have room for a shim.
    pub(super) fn can_shim(&self, path: u8) -> bool {
        let room = MAX_HEADER_LEN + int::MAX_LEN;
        self.paths.get(usize::from(path)).is_some_and(|p| p.queue.header_pool().data_capacity() as usize >= room)
    }

    /// The shim of a segment: room for records if it carries data, and what the peer is to have back. Empty when there is
    /// nothing of both.
    #[inline(always)]
    pub(super) fn shim_for(&self, slot: u32, data: bool) -> TxShim {
        if self.conns.at(slot).flags.careful() { self.make_shim(slot, data) } else { TxShim::default() }
    }

    #[cold]
    fn make_shim(&self, slot: u32, data: bool) -> TxShim {
        let c = self.conns.at(slot);
        if !c.cold.modes.int() {
            return TxShim::default();
        }
        let returns: Option<&Telemetry> = self.controls.at(c.cold.control).echo.returns.as_ref();
        if !data && returns.is_none() {
            return TxShim::default();
        }
        let mut bytes = [0; int::MAX_LEN];
        let len = int::emit(&mut bytes, if data { int::MAX_HOPS } else { 0 }, returns);
        TxShim(Some((len as u8, bytes)))
    }

    /// The segment with the shim left.
    #[cold]
    pub(super) fn shim_sent(&mut self, slot: u32) {
        let c = self.conns.at(slot);
        if c.cold.modes.int() {
            self.controls.at_mut(c.cold.control).echo.returns = None;
        }
    }
}
