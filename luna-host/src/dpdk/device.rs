//! A DPDK device before it is a port: what it can do, and the calls that configure and start it.

use core::ffi::CStr;
use std::ffi::CString;
use std::sync::Arc;

use dpdk_sys as sys;
use luna_core::nic::{Caps, MAX_TSO_PAYLOAD, MAX_TX_FRAGS};
use luna_core::wire::MacAddr;

use super::eal::{EalShared, strerror};
use super::error::PortError;
use super::log_stream;
use super::mempool::MbufPool;
use super::port::{PortConfig, PortInfo, PortShared, QueuePools};
use super::reap::ReapKind;

/// Bytes of Ethernet header, a VLAN tag and the checksum that some devices deliver.
const FRAME_OVERHEAD: u32 = 14 + 4 + 4;
/// Descriptors of a memif ring, as [`super::Memif::new`] asks for.
const MEMIF_RING: u16 = 1024;
/// memif declares less than it carries.
const MEMIF_MAX_MTU: u16 = 9600;

/// A device that was looked at and not yet touched.
pub(super) struct Setup {
    pub(super) shared: PortShared,
    pub(super) device: Device,
    pub(super) xdp: bool,
}

/// What `rte_eth_dev_info_get` said.
pub(super) struct Device {
    info: sys::rte_eth_dev_info,
    /// Largest MTU that DPDK lets this device be configured with.
    max_mtu: u16,
    rx_offloads: u64,
    tx_offloads: u64,
}

impl Setup {
    pub(super) fn look(eal: &Arc<EalShared>, name: &str, config: &PortConfig) -> Result<Self, PortError> {
        let failed = |step, errno: i32| PortError::Step { port: name.to_owned(), step, reason: strerror(errno) };
        let c_name = CString::new(name).map_err(|_| failed("looking it up", libc::EINVAL))?;
        let mut port = 0;
        // SAFETY: a terminated name and a place for the answer.
        let ret = unsafe { sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &raw mut port) };
        if ret != 0 {
            return Err(failed("looking it up", -ret));
        }
        let mut info = sys::rte_eth_dev_info::default();
        let mut mac = sys::rte_ether_addr::default();
        // SAFETY: an existing port, and places for the answers.
        unsafe {
            let ret = sys::rte_eth_dev_info_get(port, &raw mut info);
            if ret != 0 {
                return Err(failed("asking what it can do", -ret));
            }
            let ret = sys::rte_eth_macaddr_get(port, &raw mut mac);
            if ret != 0 {
                return Err(failed("asking for its address", -ret));
            }
        }
        // SAFETY: the driver's name is a static string.
        let driver = unsafe { CStr::from_ptr(info.driver_name) }.to_string_lossy().into_owned();
        let xdp = driver == "net_af_xdp";
        let max_queues = info.max_rx_queues.min(info.max_tx_queues);
        if config.queues == 0 || config.queues > max_queues {
            return Err(PortError::Queues { port: name.to_owned(), asked: config.queues, max: max_queues });
        }
        // Old PMDs leave the MTU to the longest frame.
        let by_frame = info.max_rx_pktlen.saturating_sub(14 + 4).min(u32::from(u16::MAX)) as u16;
        let declared = info.max_mtu.min(by_frame.max(info.min_mtu));
        // memif declares 1518 bytes and carries what is sent, over several of its buffers where need be.
        let max_mtu = if driver == "net_memif" { MEMIF_MAX_MTU } else { declared };
        if config.mtu > max_mtu {
            return Err(PortError::Mtu { port: name.to_owned(), asked: config.mtu, max: max_mtu });
        }
        let wanted_rx = sys::LUNA_RX_OFFLOAD_TCP_CKSUM | sys::LUNA_RX_OFFLOAD_IPV4_CKSUM;
        let wanted_tx = sys::LUNA_TX_OFFLOAD_TCP_CKSUM | sys::LUNA_TX_OFFLOAD_MULTI_SEGS;
        let rss = if config.queues > 1 { sys::LUNA_RX_OFFLOAD_RSS_HASH } else { 0 };
        let rx_offloads = (wanted_rx | rss) & info.rx_offload_capa;
        let mut tx_offloads = wanted_tx & info.tx_offload_capa;
        let tso = sys::LUNA_TX_OFFLOAD_TCP_TSO | wanted_tx;
        // A device that cuts frames writes each one's IPv4 checksum, and wants to be told where it can be told.
        let mut tso_flags = 0;
        if config.tso && info.tx_offload_capa & tso == tso {
            tx_offloads |= sys::LUNA_TX_OFFLOAD_TCP_TSO | info.tx_offload_capa & sys::LUNA_TX_OFFLOAD_IPV4_CKSUM;
            tso_flags = sys::LUNA_MBUF_F_TX_TCP_SEG;
            if tx_offloads & sys::LUNA_TX_OFFLOAD_IPV4_CKSUM != 0 {
                tso_flags |= sys::LUNA_MBUF_F_TX_IP_CKSUM;
            }
        }
        let limit = match info.tx_desc_lim.nb_mtu_seg_max {
            0 => MAX_TX_FRAGS as u16 + 1,
            n => n.min(MAX_TX_FRAGS as u16 + 1),
        };
        let max_tx_segments = if tx_offloads & sys::LUNA_TX_OFFLOAD_MULTI_SEGS != 0 { limit as u8 } else { 1 };
        let reap = ReapKind::of_driver(&driver);
        let caps = Caps {
            mac: config.mac.unwrap_or(MacAddr(mac.addr_bytes)),
            mtu: config.mtu,
            max_tx_segments,
            tx_checksum: tx_offloads & sys::LUNA_TX_OFFLOAD_TCP_CKSUM != 0,
            // Foreign memory is not mapped for devices yet: it is copied, and counted.
            foreign: false,
            prompt_completion: reap.is_prompt(),
            // DPDK has one word for both families.
            max_tso_payload: if tso_flags != 0 { MAX_TSO_PAYLOAD } else { 0 },
            max_tso_payload_v6: if tso_flags != 0 { MAX_TSO_PAYLOAD } else { 0 },
        };
        // memif's zero-copy transmit writes a descriptor before it looks whether one is free (DPDK 22.11): a chain that
        // meets a full ring overwrites a frame that the other side has yet to read, and frees its memory early.
        let tx_ring = (driver == "net_memif").then(|| u32::from(config.tx_descriptors.min(MEMIF_RING)));
        let max_frame = u32::from(config.mtu) + FRAME_OVERHEAD;
        let may_copy = ReapKind::may_copy(&driver);
        let info_for_queues = PortInfo { port, caps, reap, max_frame, tx_ring, may_copy, tso_flags };
        let shared = PortShared::new(eal, c_name, driver, info_for_queues);
        Ok(Self { shared, device: Device { info, max_mtu: declared, rx_offloads, tx_offloads }, xdp })
    }
}

impl Device {
    pub(super) fn start(
        &self,
        shared: &PortShared,
        config: &PortConfig,
        queues: &[Box<QueuePools>],
        xdp: bool,
    ) -> Result<(), PortError> {
        let port = shared.info().port;
        let check = |step, ret: i32| match ret {
            0 => Ok(()),
            _ => Err(PortError::Step {
                port: shared.name().to_owned(),
                step,
                reason: log_stream::reason(&strerror(-ret)),
            }),
        };
        let mut conf = sys::rte_eth_conf::default();
        conf.rxmode.mtu = u32::from(config.mtu.min(self.max_mtu));
        conf.rxmode.offloads = self.rx_offloads;
        conf.txmode.offloads = self.tx_offloads;
        let rss = self.info.flow_type_rss_offloads & RSS_TCP;
        if config.queues > 1 && rss != 0 {
            conf.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = rss;
        }
        let (mut rx_descriptors, mut tx_descriptors) = (config.rx_descriptors, config.tx_descriptors.min(8192));
        // SAFETY: the port exists and is not started; the structures live through the calls that read them.
        unsafe {
            check("configuring it", sys::rte_eth_dev_configure(port, config.queues, config.queues, &raw const conf))?;
            let ret = sys::rte_eth_dev_adjust_nb_rx_tx_desc(port, &raw mut rx_descriptors, &raw mut tx_descriptors);
            check("choosing ring sizes", ret)?;
            let mut tx_conf = self.info.default_txconf;
            tx_conf.offloads = self.tx_offloads;
            let mut rx_conf = self.info.default_rxconf;
            rx_conf.offloads = self.rx_offloads;
            for (queue, pools) in (0..config.queues).zip(queues) {
                let mp = pools.rx.mempool().as_ptr();
                let ret = if xdp {
                    with_umem_span(&pools.rx, || {
                        sys::rte_eth_rx_queue_setup(port, queue, rx_descriptors, 0, &raw const rx_conf, mp)
                    })
                } else {
                    sys::rte_eth_rx_queue_setup(port, queue, rx_descriptors, 0, &raw const rx_conf, mp)
                };
                check("setting up a receive queue", ret)?;
                let ret = sys::rte_eth_tx_queue_setup(port, queue, tx_descriptors, 0, &raw const tx_conf);
                check("setting up a transmit queue", ret)?;
            }
            check("starting it", sys::rte_eth_dev_start(port))?;
        }
        Ok(())
    }
}

/// RSS over the TCP four-tuple (bits of `RTE_ETH_RSS_*`, which are function-like macros).
const RSS_TCP: u64 = sys::LUNA_RSS_TCP;

/// Runs AF_XDP's queue set-up with the pool's population stated such that the UMEM covers all of its zones.
///
/// The PMD makes one UMEM of `populated_size` frames from the pool's first chunk. Frame addresses are arbitrary in it
/// (unaligned chunks), so zone headers in between do no harm, but they make the objs span more than their number says.
///
/// # Safety
/// The pool is not used meanwhile. Its memory has a frame's length of slack behind the last zone.
unsafe fn with_umem_span(pool: &MbufPool, setup: impl FnOnce() -> i32) -> i32 {
    let mp = pool.mempool().as_ptr();
    let zones = pool.pool().zones().count();
    let frame = pool.pool().layout().obj_size as usize;
    let frames = (zones * luna_core::zbuf::ZONE_SIZE).div_ceil(frame);
    debug_assert_eq!(pool.pool().zones().next().map(|zone| zone.base()), Some(pool.base()));
    // SAFETY: `populated_size` is a plain number that only the PMD reads here; it is put back before anything else is.
    unsafe {
        let populated = (*mp).populated_size;
        (*mp).populated_size = frames as u32;
        let ret = setup();
        (*mp).populated_size = populated;
        ret
    }
}
