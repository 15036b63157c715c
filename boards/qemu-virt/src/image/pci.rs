//! Devices behind PCIe.

use luna_dpu::devicetree::Iommu;
use luna_dpu::node::Transports;
use luna_dpu::pci::{Ecam, PciRoot, Window, enable, requester};
use luna_dpu::say;
use luna_dpu::virtio::{AnyTransport, PciTransport, Transport as _, feature, pci_device_type};

use super::device;
use super::devices::{Device, Devices};

/// Configuration space of bus 0 (of 256), memory for BARs.
const ECAM: usize = 0x40_1000_0000;
const ECAM_BUS: usize = 1 << 20;
const PCI_MEMORY: u64 = 0x1000_0000;
const PCI_MEMORY_LEN: u64 = 0x2eff_0000;

/// Enables what there is, and keeps what is of use.
pub(super) fn find(found: &mut Devices, wanted: Transports, iommu: Option<&Iommu>) {
    let config = Ecam::new(device(ECAM, ECAM_BUS));
    let mut root = PciRoot::new(config);
    let mut window = Window::new(PCI_MEMORY, PCI_MEMORY_LEN);
    for (function, info) in PciRoot::new(config).enumerate_bus(0) {
        let Some(kind) = pci_device_type(&info) else { continue };
        let Some(bars) = enable(&mut root, function, &mut window) else {
            say!("PCI function {function}: its BARs find no room");
            continue;
        };
        let map = |address: u64, len| device(address as usize, len);
        match PciTransport::new(&root, &config, function, kind, &bars, map) {
            Ok(t) => {
                let mut transport = AnyTransport::Pci(t);
                let mut stream = iommu.and_then(|iommu| iommu.stream(requester(function)));
                // A virtio device that does not offer this uses physical addresses, wherever it is.
                let behind = transport.offered().has(feature::ACCESS_PLATFORM);
                if stream.is_some() && !behind {
                    say!("PCI function {function} goes around the SMMU: it does not offer ACCESS_PLATFORM");
                    stream = None;
                } else if !cfg!(feature = "smmu") && behind {
                    say!("PCI function {function}: this image leaves its IOMMU off, so that it reaches all memory");
                }
                found.take(Device { transport, place: "virtio over PCI", stream }, wanted != Transports::Mmio);
            }
            Err(e) => say!("PCI function {function}: {e}"),
        }
    }
}
