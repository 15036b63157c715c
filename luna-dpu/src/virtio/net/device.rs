//! Setting the device up: features, queues, and what its configuration says.

use luna_core::nic::{Caps, MAX_TSO_PAYLOAD};
use luna_core::wire::MacAddr;

use super::control::{CONTROL_SIZE, Control, Rss};
use super::queue::{MAX_SEGMENTS, QueuePair, RingMemory};
use crate::dma::DmaArea;
use crate::parts::{IPV6, PACKED};
use crate::virtio::features::{Features, feature};
use crate::virtio::ring::{Layout, Node, Ring, RingConfig};
use crate::virtio::transport::{DeviceType, InitError, RingAddresses, Transport, begin, finish, reset};

/// Offsets in the device's configuration (section 5.1.4).
const MAC: usize = 0;
const MAX_PAIRS: usize = 8;
const MTU: usize = 10;
const RSS_MAX_KEY: usize = 17;
const RSS_MAX_TABLE: usize = 18;

/// Queues of one device: eight pairs, and the control queue.
const MAX_QUEUES: usize = 2 * 8 + 1;

/// MTU of a device that says none.
const ETHERNET_MTU: u16 = 1500;

/// What is wanted of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NetConfig {
    /// Pairs of queues, one for each core.
    pub pairs: u16,
    /// Packed rings where the device offers them.
    pub packed: bool,
    /// `EVENT_IDX` where the device offers it.
    pub event_idx: bool,
    /// Checksums by the device where it offers that.
    pub checksum: bool,
    /// Frames of many segments cut by the device where it offers that (TSO over IPv4, over IPv6), which takes `checksum`.
    pub tso: bool,
    /// Largest IP packet; what the device says is a limit.
    pub mtu: u16,
    /// The hardware address of a device that has none.
    pub mac: MacAddr,
}

impl Default for NetConfig {
    fn default() -> Self {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        Self { pairs: 1, packed: true, event_idx: true, checksum: true, tso: true, mtu: ETHERNET_MTU, mac }
    }
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NetInfo {
    /// What was agreed on.
    pub features: Features,
    /// Hardware address.
    pub mac: MacAddr,
    /// Largest IP packet.
    pub mtu: u16,
    /// Pairs of queues that are used.
    pub pairs: u16,
    /// Pairs that the device has.
    pub max_pairs: u16,
}

/// A network device under set-up: [`NetDevice::new`], a [`NetDevice::pair`] for each core, [`NetDevice::start`].
pub struct NetDevice<'m, T: Transport> {
    transport: T,
    info: NetInfo,
    control: Option<Control<'m, T::Registers>>,
    rss: Option<(u8, u16)>,
    made: u16,
    /// Every queue's size and memory, as the device was told.
    queues: heapless::Vec<(u16, u16, RingAddresses), MAX_QUEUES>,
}

impl<'m, T: Transport> NetDevice<'m, T> {
    /// Resets the device and agrees on features. Its control queue, if it has one, gets memory of `area`.
    ///
    /// # Errors
    /// [`InitError`].
    pub fn new(
        mut transport: T,
        config: NetConfig,
        area: &mut DmaArea,
        control_nodes: &'m mut [Node<()>; CONTROL_SIZE],
    ) -> Result<Self, InitError> {
        if transport.device_type() != DeviceType::NET {
            return Err(InitError::WrongType(transport.device_type()));
        }
        let mut wanted = feature::NET_MAC.or(feature::NET_MTU).or(feature::NET_STATUS).or(feature::NET_MRG_RXBUF);
        if config.checksum {
            wanted = wanted.or(feature::NET_CSUM).or(feature::NET_GUEST_CSUM);
            if config.tso {
                wanted = wanted.or(feature::NET_HOST_TSO4);
                if IPV6 {
                    wanted = wanted.or(feature::NET_HOST_TSO6);
                }
            }
        }
        if PACKED && config.packed {
            wanted = wanted.or(feature::RING_PACKED);
        }
        if config.event_idx {
            wanted = wanted.or(feature::EVENT_IDX);
        }
        let mut needed = Features::NONE;
        if config.pairs > 1 {
            needed = feature::NET_CTRL_VQ.or(feature::NET_MQ);
            wanted = wanted.or(feature::NET_RSS);
        }
        let features = begin(&mut transport, needed, wanted)?;
        let max_pairs = if features.has(feature::NET_MQ) { transport.config16(MAX_PAIRS) } else { 1 };
        if max_pairs < config.pairs {
            return Err(InitError::NoQueue(2 * config.pairs - 1));
        }
        let mac = if features.has(feature::NET_MAC) {
            MacAddr([0, 1, 2, 3, 4, 5].map(|i| transport.config8(MAC + i)))
        } else {
            config.mac
        };
        let mtu = if features.has(feature::NET_MTU) { transport.config16(MTU).min(config.mtu) } else { config.mtu };
        let info = NetInfo { features, mac, mtu, pairs: config.pairs, max_pairs };
        let rss =
            features.has(feature::NET_RSS).then(|| (transport.config8(RSS_MAX_KEY), transport.config16(RSS_MAX_TABLE)));
        let mut this = Self { transport, info, control: None, rss, made: 0, queues: heapless::Vec::new() };
        if features.has(feature::NET_CTRL_VQ) {
            // Behind all pairs that the device has, used or not.
            let queue = 2 * max_pairs;
            let RingMemory { config, memory } = this.ring_memory(queue, CONTROL_SIZE as u16, area)?;
            let ring = Ring::new(config, memory, control_nodes).ok_or(InitError::NoMemory)?;
            let bell = this.transport.doorbell(queue);
            this.control = Some(Control::new(ring, bell, area).ok_or(InitError::NoMemory)?);
        }
        Ok(this)
    }

    /// What was agreed on.
    #[must_use]
    pub fn info(&self) -> NetInfo {
        self.info
    }

    /// Memory for queue `queue`, which the device is told of.
    fn ring_memory(&mut self, queue: u16, size: u16, area: &mut DmaArea) -> Result<RingMemory, InitError> {
        match self.transport.queue_limit(queue) {
            0 => return Err(InitError::NoQueue(queue)),
            limit if limit < size => return Err(InitError::QueueTooSmall(queue, limit)),
            _ => {}
        }
        let features = self.info.features;
        let layout = if features.has(feature::RING_PACKED) { Layout::Packed } else { Layout::Split };
        let config = RingConfig { layout, size, event_idx: features.has(feature::EVENT_IDX) };
        // A page: what an IOMMU protects at the least.
        let memory = area.take(config.memory(), 4096).ok_or(InitError::NoMemory)?;
        let addresses = config.addresses(&memory);
        self.queues.push((queue, size, addresses)).map_err(|_| InitError::NoQueue(queue))?;
        self.transport.set_queue(queue, size, addresses);
        Ok(RingMemory { config, memory })
    }

    /// The next pair of queues, with so many descriptors to receive and to send. What it returns may go to the core that
    /// will own it.
    ///
    /// # Errors
    /// [`InitError`].
    pub fn pair(
        &mut self,
        area: &mut DmaArea,
        rx_size: u16,
        tx_size: u16,
    ) -> Result<QueuePair<T::Registers>, InitError> {
        let pair = self.made;
        if pair >= self.info.pairs {
            return Err(InitError::NoQueue(2 * pair));
        }
        let rx = self.ring_memory(2 * pair, rx_size, area)?;
        let tx = self.ring_memory(2 * pair + 1, tx_size, area)?;
        self.made += 1;
        let NetInfo { features, mac, mtu, .. } = self.info;
        // It needs checksums as well (section 5.1.3.1).
        let cuts = |how| if features.has(feature::NET_CSUM.or(how)) { MAX_TSO_PAYLOAD } else { 0 };
        let caps = Caps {
            mac,
            mtu,
            max_tx_segments: MAX_SEGMENTS,
            tx_checksum: features.has(feature::NET_CSUM),
            // What a device key is for, this device has no field.
            foreign: true,
            prompt_completion: true,
            max_tso_payload: cuts(feature::NET_HOST_TSO4),
            max_tso_payload_v6: cuts(feature::NET_HOST_TSO6),
        };
        Ok(QueuePair {
            caps,
            rx,
            tx,
            rx_bell: self.transport.doorbell(2 * pair),
            tx_bell: self.transport.doorbell(2 * pair + 1),
            guest_csum: features.has(feature::NET_GUEST_CSUM),
            mergeable: features.has(feature::NET_MRG_RXBUF),
            watch: self.transport.watch(),
        })
    }

    /// Sets the device going; with several pairs, tells it to use them, by RSS with `key` where it offers that.
    /// Returns the RSS settings that hold, if any.
    ///
    /// # Errors
    /// [`InitError::Command`].
    #[inline(never)]
    pub fn start(&mut self, key: &[u8; 40]) -> Result<Option<Rss>, InitError> {
        finish(&mut self.transport);
        let pairs = self.info.pairs;
        let Some(control) = self.control.as_mut().filter(|_| pairs > 1) else { return Ok(None) };
        match self.rss {
            Some((max_key, max_table)) if max_key >= 40 && max_table >= 1 => {
                let rss = Rss::spread(pairs, max_table, *key);
                control.set_rss(&rss)?;
                Ok(Some(rss))
            }
            _ => {
                control.set_pairs(pairs)?;
                Ok(None)
            }
        }
    }

    /// Resets the device: it touches no memory any more, and does nothing until [`NetDevice::restart`].
    ///
    /// # Errors
    /// [`InitError::NoReset`].
    pub fn reset(&mut self) -> Result<(), InitError> {
        reset(&mut self.transport)
    }

    /// Sets it going again after [`NetDevice::reset`], with the same features and queues, whose owners began anew
    /// ([`super::NetQueue::restart`]).
    ///
    /// # Errors
    /// [`InitError`], also when it offers less than it did.
    #[cold]
    #[inline(never)]
    pub fn restart(&mut self, key: &[u8; 40]) -> Result<Option<Rss>, InitError> {
        let features = self.info.features;
        let agreed = begin(&mut self.transport, features, features)?;
        if agreed != features {
            return Err(InitError::FeaturesRefused(agreed));
        }
        if let Some(control) = &mut self.control {
            // SAFETY: it was just reset.
            unsafe { control.restart() };
        }
        for &(queue, size, addresses) in &self.queues {
            let limit = self.transport.queue_limit(queue);
            if limit < size {
                return Err(InitError::QueueTooSmall(queue, limit));
            }
            self.transport.set_queue(queue, size, addresses);
        }
        self.start(key)
    }

    /// The transport: for its status.
    #[must_use]
    pub fn transport(&self) -> &T {
        &self.transport
    }
}
