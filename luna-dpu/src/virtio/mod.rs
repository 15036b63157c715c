//! Virtio 1.2 devices, as far as a network needs them: transports (MMIO, PCI), rings (split, packed), the network
//! device, and the entropy device.
//!
//! [`ring`] knows nothing of hardware: it is memory that a device reads and writes, and is tested against a device made
//! of plain Rust, a faulty one included. [`Transport`] is registers. [`net`] puts both together as a `NicQueue`.
//!
//! What a device says is checked before it is used: lengths, ids, indices. What makes no sense is a [`ring::Fault`]: the
//! ring takes nothing more from this device, gives it nothing more, and keeps what the device may still write to.

mod any;
mod entropy;
mod features;
mod mmio;
pub mod net;
mod pci;
pub mod ring;
mod transport;

pub use any::AnyTransport;
pub use entropy::{ENTROPY_SIZE, random_seed};
pub use features::{Features, feature};
pub use mmio::MmioTransport;
pub use pci::{PciError, PciTransport, device_type as pci_device_type};
pub use transport::{DeviceType, Doorbell, InitError, RingAddresses, Transport, Watch, begin, finish, reset, status};
