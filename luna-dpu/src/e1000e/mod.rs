//! Intel 82574L ("e1000e", PCI 8086:10d3): a NIC of registers and descriptor rings, of a shape quite unlike virtio's. It is
//! here to show that the seam fits both; QEMU emulates it.
//!
//! | file | what |
//! | --- | --- |
//! | `registers` | the register block, its offsets checked when it is compiled |
//! | `ring` | receive and transmit descriptors; no hardware |
//! | `device` | reset and set-up |
//! | `care` | whether it still works |
//! | `queue` | the pair of rings as a [`luna_core::nic::NicQueue`] |
//!
//! Section numbers are those of the "Intel 82574 GbE Controller Family Datasheet". Absent: the second queue, TCP
//! segmentation, interrupts, VLAN stripping, PHY management (the PHY negotiates by itself), energy saving.

mod care;
mod device;
mod queue;
mod registers;
mod ring;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub use device::{DEVICE_ID, Device, SetupError, VENDOR_ID};
pub use queue::{E1000eFaults, E1000eQueue, QueueMemory};
pub use registers::LEN as REGISTERS_LEN;
pub use ring::{Slot, memory};
