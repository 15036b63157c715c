//! Addresses that come and go: a lease that ends, another gateway. And whether a neighbour is still needed.

use core::net::IpAddr;

use super::path::check;
use super::{ConfigError, PathConfig, PathId, Stack};
use crate::nic::NicQueue;
use crate::tcp::State;
use crate::time::Instant;

impl<Q: NicQueue> Stack<'_, Q> {
    /// Changes the addresses, gateways or VLAN of a path. Connections whose address is gone end as
    /// [`Aborted`](super::CloseReason::Aborted), without a reset: nothing is sent from an address that is not ours any
    /// more. Others go on, in the VLAN that it is now, and keep the next hop that they have until
    /// [`Cx::neighbor`](super::Cx::neighbor) tells another.
    ///
    /// # Errors
    /// [`ConfigError::NoPath`], [`ConfigError::MtuTooSmall`], [`ConfigError::NoIpv6`]; nothing changed.
    pub fn readdress(&mut self, now: Instant, path: PathId, config: PathConfig) -> Result<(), ConfigError> {
        self.now = self.now.max(now);
        self.now_ms = self.now.as_millis_u32();
        let p = self.paths.get_mut(path.index()).ok_or(ConfigError::NoPath)?;
        check(&p.queue, &config)?;
        let other_vlan = p.config.vlan != config.vlan;
        p.config = config;
        // Its answers are made for the address and the VLAN as they were.
        self.flood = None;
        for slot in 0..self.conns.capacity() {
            let c = self.conns.at(slot);
            if c.state == State::Closed || c.path != path.0 {
                continue;
            }
            if self.paths.get(path.index()).is_none_or(|p| p.owns(c.key.addrs().1)) {
                if let Some(template) = c.cold.template.filter(|_| other_vlan) {
                    self.set_template(slot, Some(template.dst_mac()));
                }
                continue;
            }
            let c = self.conns.at_mut(slot);
            c.cold.template = None;
            c.flags.set_needs_neighbor(true);
            c.flags.set_aborting(true);
            self.mark_dirty(slot);
        }
        self.was_busy = true;
        Ok(())
    }

    /// Whether a connection of `path` has this neighbour as its next hop, or waits to know where it is. Looks at every
    /// connection: for questions every few seconds, not for every packet.
    #[must_use]
    pub fn uses_neighbor(&self, path: PathId, ip: IpAddr) -> bool {
        let Some(p) = self.paths.get(path.index()) else { return false };
        (0..self.conns.capacity())
            .map(|slot| self.conns.at(slot))
            .any(|c| c.state != State::Closed && c.path == path.0 && p.next_hop(c.key.addrs().0) == Some(ip))
    }
}
