//! Devices behind PCIe.

use luna_dpu::node::Transports;
use luna_dpu::pci::{Ecam, PciRoot, Window, enable};
use luna_dpu::say;
use luna_dpu::virtio::{AnyTransport, PciTransport, pci_device_type};

use super::device;
use super::devices::Devices;

/// Configuration space of bus 0 (of 256), memory for BARs.
const ECAM: usize = 0x40_1000_0000;
const ECAM_BUS: usize = 1 << 20;
const PCI_MEMORY: u64 = 0x1000_0000;
const PCI_MEMORY_LEN: u64 = 0x2eff_0000;

/// Enables what there is, and keeps what is of use.
pub(super) fn find(found: &mut Devices, wanted: Transports) {
    let config = Ecam::new(device(ECAM, ECAM_BUS));
    let mut root = PciRoot::new(config);
    let mut window = Window::new(PCI_MEMORY, PCI_MEMORY_LEN);
    for (function, info) in PciRoot::new(config).enumerate_bus(0) {
        let Some(kind) = pci_device_type(&info) else { continue };
        let Some(bars) = enable(&mut root, function, &mut window) else { continue };
        let map = |address: u64, len| device(address as usize, len);
        match PciTransport::new(&root, &config, function, kind, &bars, map) {
            Ok(t) => found.take(AnyTransport::Pci(t), "virtio over PCI", wanted != Transports::Mmio),
            Err(e) => say!("PCI function {function}: {e}"),
        }
    }
}
