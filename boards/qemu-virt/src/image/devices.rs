//! Which devices there are, and random numbers from the best of them.

use luna_dpu::dma::DmaArea;
use luna_dpu::mmio::Mmio;
use luna_dpu::node::Transports;
#[cfg(feature = "pci")]
use luna_dpu::virtio::AnyTransport;
use luna_dpu::virtio::{DeviceType, MmioTransport, Transport as _, random_seed};
use luna_dpu::{machine, say};

use super::device;

/// virtio-mmio: 32 slots.
const SLOTS: usize = 0x0a00_0000;
const SLOT: usize = 0x200;

/// How devices are reached.
#[cfg(feature = "pci")]
type Device = AnyTransport<Mmio>;
#[cfg(not(feature = "pci"))]
type Device = MmioTransport<Mmio>;

/// What was found.
pub(super) struct Devices {
    /// The first network device.
    pub(super) net: Option<Device>,
    /// The first entropy device.
    pub(super) entropy: Option<Device>,
    /// Where the network device is.
    pub(super) place: &'static str,
}

impl Devices {
    /// Looks behind the transports that are wanted.
    pub(super) fn find(wanted: Transports) -> Self {
        let mut found = Self { net: None, entropy: None, place: "none" };
        // QEMU fills slots from the last one on.
        for slot in (0..32).rev() {
            if let Some(t) = MmioTransport::new(device(SLOTS + slot * SLOT, SLOT)) {
                #[cfg(feature = "pci")]
                let t = AnyTransport::Mmio(t);
                found.take(t, "virtio over MMIO", wanted != Transports::Pci);
            }
        }
        #[cfg(feature = "pci")]
        super::pci::find(&mut found, wanted);
        found
    }

    /// Keeps a device that is the first of its kind.
    pub(super) fn take(&mut self, device: Device, place: &'static str, net_wanted: bool) {
        match device.device_type() {
            DeviceType::NET if self.net.is_none() && net_wanted => {
                self.net = Some(device);
                self.place = place;
            }
            DeviceType::ENTROPY if self.entropy.is_none() => self.entropy = Some(device),
            _ => {}
        }
    }
}

/// 32 unpredictable bytes: of the core, of virtio-rng, of whoever made the device tree; else a constant, and it says so.
pub(super) fn seed(entropy: Option<Device>, area: &mut DmaArea, tree: Option<[u8; 32]>) -> [u8; 32] {
    let mut seed = [0; 32];
    if machine::hardware_random(&mut seed) {
        say!("entropy: RNDR");
        return seed;
    }
    match entropy.map(|device| random_seed(device, area, &mut Default::default())) {
        Some(Ok(seed)) => {
            say!("entropy: virtio-rng");
            return seed;
        }
        Some(Err(e)) => say!("virtio-rng: {e}"),
        None => {}
    }
    if let Some(seed) = tree {
        say!("entropy: the device tree's rng-seed");
        return seed;
    }
    say!("************************************************************************");
    say!("WARNING: NO ENTROPY. Sequence numbers and ports can be guessed; give this");
    say!("machine RNDR, virtio-rng or /chosen/rng-seed before it meets a network.");
    say!("************************************************************************");
    let mixed = machine::counter() ^ 0x6c75_6e61;
    core::array::from_fn(|i| mixed.rotate_left(8 * i as u32) as u8 ^ i as u8)
}
