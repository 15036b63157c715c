//! What is behind PCIe.

use luna_dpu::e1000e::{DEVICE_ID, Device, VENDOR_ID};
use luna_dpu::mmio::Mmio;
use luna_dpu::pci::{Ecam, PciRoot, Window, enable, requester};
use luna_dpu::say;
use luna_dpu::virtio::{AnyTransport, DeviceType, PciTransport, Transport as _, pci_device_type};

use super::device;

/// Configuration space of bus 0 (of 256), memory for BARs.
const ECAM: usize = 0xf000_0000;
const ECAM_BUS: usize = 1 << 20;
const PCI_MEMORY: u64 = 0x8000_0000;
const PCI_MEMORY_LEN: u64 = 0x7000_0000;

/// What was found.
pub(super) struct Devices {
    /// The first network device, reset, and what the SMMU knows it by.
    pub(super) nic: Option<(Device<Mmio>, u32)>,
    /// The first entropy device.
    pub(super) entropy: Option<AnyTransport<Mmio>>,
}

/// Looks at bus 0.
pub(super) fn find() -> Devices {
    let mut found = Devices { nic: None, entropy: None };
    let config = Ecam::new(device(ECAM, ECAM_BUS));
    let mut root = PciRoot::new(config);
    let mut window = Window::new(PCI_MEMORY, PCI_MEMORY_LEN);
    for (function, info) in PciRoot::new(config).enumerate_bus(0) {
        let e1000e = (info.vendor_id, info.device_id) == (VENDOR_ID, DEVICE_ID);
        let virtio = pci_device_type(&info);
        if !e1000e && virtio.is_none() {
            continue;
        }
        let Some(bars) = enable(&mut root, function, &mut window) else {
            say!("PCI function {function}: its BARs find no room");
            continue;
        };
        if e1000e && found.nic.is_none() {
            let Some((address, len)) = bars[0] else { continue };
            match Device::reset(device(address as usize, len)) {
                Ok(nic) => found.nic = Some((nic, requester(function).into())),
                Err(e) => say!("PCI function {function}: {e}"),
            }
        } else if let Some(kind) = virtio.filter(|kind| *kind == DeviceType::ENTROPY) {
            let map = |address: u64, len| device(address as usize, len);
            match PciTransport::new(&root, &config, function, kind, &bars, map) {
                Ok(t) if t.device_type() == DeviceType::ENTROPY => found.entropy = Some(AnyTransport::Pci(t)),
                Ok(_) => {}
                Err(e) => say!("PCI function {function}: {e}"),
            }
        }
    }
    found
}
