//! A transport of either kind, so that there is one driver in an image that looks at both.

use super::features::Features;
use super::mmio::MmioTransport;
use super::pci::PciTransport;
use super::transport::{DeviceType, Doorbell, RingAddresses, Transport, Watch};
use crate::mmio::Registers;

/// MMIO or PCI.
#[derive(Debug)]
pub enum AnyTransport<R> {
    /// MMIO.
    Mmio(MmioTransport<R>),
    /// PCI.
    Pci(PciTransport<R>),
}

macro_rules! either {
    ($self:expr, $t:ident => $call:expr) => {
        match $self {
            AnyTransport::Mmio($t) => $call,
            AnyTransport::Pci($t) => $call,
        }
    };
}

impl<R: Registers + Clone> Transport for AnyTransport<R> {
    type Registers = R;

    fn device_type(&self) -> DeviceType {
        either!(self, t => t.device_type())
    }

    fn status(&self) -> u8 {
        either!(self, t => t.status())
    }

    fn set_status(&mut self, status: u8) {
        either!(self, t => t.set_status(status));
    }

    fn offered(&mut self) -> Features {
        either!(self, t => t.offered())
    }

    fn accept(&mut self, features: Features) {
        either!(self, t => t.accept(features));
    }

    fn queue_limit(&mut self, queue: u16) -> u16 {
        either!(self, t => t.queue_limit(queue))
    }

    fn set_queue(&mut self, queue: u16, size: u16, addresses: RingAddresses) {
        either!(self, t => t.set_queue(queue, size, addresses));
    }

    fn doorbell(&mut self, queue: u16) -> Doorbell<R> {
        either!(self, t => t.doorbell(queue))
    }

    fn watch(&self) -> Watch<R> {
        either!(self, t => t.watch())
    }

    fn config8(&self, offset: usize) -> u8 {
        either!(self, t => t.config8(offset))
    }

    fn config16(&self, offset: usize) -> u16 {
        either!(self, t => t.config16(offset))
    }
}
