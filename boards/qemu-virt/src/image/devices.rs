//! Which devices there are.

use luna_dpu::devicetree::Iommu;
use luna_dpu::mmio::Mmio;
use luna_dpu::node::Transports;
#[cfg(feature = "pci")]
use luna_dpu::virtio::AnyTransport;
use luna_dpu::virtio::{DeviceType, MmioTransport, Transport as _};

use super::device;

/// virtio-mmio: 32 slots.
const SLOTS: usize = 0x0a00_0000;
const SLOT: usize = 0x200;

/// How devices are reached.
#[cfg(feature = "pci")]
pub(super) type AnyDevice = AnyTransport<Mmio>;
#[cfg(not(feature = "pci"))]
pub(super) type AnyDevice = MmioTransport<Mmio>;

/// A device that was found.
pub(super) struct Device {
    pub(super) transport: AnyDevice,
    /// Where.
    pub(super) place: &'static str,
    /// What the SMMU knows it by, if its accesses go through one.
    pub(super) stream: Option<u32>,
}

/// What was found.
#[derive(Default)]
pub(super) struct Devices {
    /// The first network device.
    pub(super) net: Option<Device>,
    /// The first entropy device.
    pub(super) entropy: Option<Device>,
}

impl Devices {
    /// Looks behind the transports that are wanted.
    pub(super) fn find(
        wanted: Transports,
        #[cfg_attr(not(feature = "pci"), allow(unused))] iommu: Option<&Iommu>,
    ) -> Self {
        let mut found = Self::default();
        // QEMU fills slots from the last one on.
        for slot in (0..32).rev() {
            if let Some(t) = MmioTransport::new(device(SLOTS + slot * SLOT, SLOT)) {
                #[cfg(feature = "pci")]
                let t = AnyTransport::Mmio(t);
                let device = Device { transport: t, place: "virtio over MMIO", stream: None };
                found.take(device, wanted != Transports::Pci);
            }
        }
        #[cfg(feature = "pci")]
        super::pci::find(&mut found, wanted, iommu);
        found
    }

    /// Keeps a device that is the first of its kind.
    pub(super) fn take(&mut self, device: Device, net_wanted: bool) {
        match device.transport.device_type() {
            DeviceType::NET if self.net.is_none() && net_wanted => self.net = Some(device),
            DeviceType::ENTROPY if self.entropy.is_none() => self.entropy = Some(device),
            _ => {}
        }
    }
}
