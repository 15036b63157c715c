//! In a build without the DHCP client, what stands for it and for the lease: types that have no value.

use core::net::Ipv4Addr;

use luna_core::time::Instant;

use super::icmp::Unreachable;
use super::jitter::Jitter;
use super::{Control, ControlConfig, ControlError, Packet, Port};

/// No lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lease {}

/// No client.
#[derive(Debug)]
pub(super) enum Dhcp {}

/// None; whoever asks for one is refused.
pub(super) fn begin(_: Instant, config: &ControlConfig, _: &mut Jitter) -> Result<Option<Dhcp>, ControlError> {
    if config.net.dhcp { Err(ControlError::NoDhcp) } else { Ok(None) }
}

impl Dhcp {
    pub(super) fn next(&self) -> Instant {
        match *self {}
    }

    pub(super) fn lease(&self) -> Option<&Lease> {
        match *self {}
    }
}

impl Control {
    pub(super) fn leased_router(&self) -> Option<Ipv4Addr> {
        None
    }

    pub(super) fn poll_dhcp(&mut self, _: Instant, _: &mut impl Port) {}

    /// Nobody listens to datagrams, whole or damaged.
    pub(super) fn udp(&mut self, now: Instant, packet: &Packet<'_>, _: bool, port: &mut impl Port) {
        self.unreachable(now, packet, Unreachable::Port, port);
    }

    pub(super) fn decline(&mut self, _: Instant, _: &mut impl Port) {}
}
