//! A DPDK port: configured, started, its queues given out, and taken down again when the last user is gone.
//!
//! Everything is set up on one thread; each queue then travels as a [`QueueSeed`] to the thread that will own it. A queue
//! that is dropped parks its pools here. When the port and all its queues are gone the device is stopped and closed, and
//! what it still held is taken back, on the thread that let go last: every owner has quiesced by then.

use core::ptr::NonNull;
use core::time::Duration;
use std::collections::VecDeque;
use std::ffi::CString;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use dpdk_sys as sys;
use luna_core::nic::Caps;
use luna_core::wire::MacAddr;

use super::device::Setup;
use super::eal::EalShared;
use super::error::{MemoryError, PortError};
use super::log_stream;
use super::mbuf::{self, EXT_PRIV_SIZE, HEADROOM};
use super::memory::Memory;
use super::mempool::MbufPool;
use super::queue::DpdkQueue;
use super::reap::{Probe, ReapKind};
use super::tx::Deferred;

/// What virtio counts as part of a frame: its own header.
const VIRTIO_HEADER: u32 = 12;
/// What the kernel puts before a frame in an AF_XDP buffer, beside the headroom that is asked for.
const XDP_HEADROOM: u32 = 256;
/// Largest frame buffer of AF_XDP: one page.
const XDP_CHUNK: u32 = 4096;

/// How to configure a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortConfig {
    /// Queue pairs.
    pub queues: u16,
    /// Largest IP packet.
    pub mtu: u16,
    /// Receive descriptors per queue; the port rounds and limits.
    pub rx_descriptors: u16,
    /// Transmit descriptors per queue; the port rounds and limits.
    pub tx_descriptors: u16,
    /// Receive objs per queue: those posted and those that the application holds.
    pub rx_objs: usize,
    /// Header objs per queue.
    pub header_objs: usize,
    /// Bytes of a header obj, headroom included.
    pub header_size: u32,
    /// Payload fragments that may be in flight per queue.
    pub fragments: usize,
    /// Hardware address that the queues declare instead of the device's own: for ports without an address filter, whose
    /// own address DPDK makes up and nobody can set (vhost).
    pub mac: Option<MacAddr>,
    /// Let the device cut large frames into segments, where it can.
    pub tso: bool,
}

impl Default for PortConfig {
    fn default() -> Self {
        Self {
            queues: 1,
            mtu: 1500,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            rx_objs: 8192,
            header_objs: 4096,
            header_size: 640,
            fragments: 8192,
            mac: None,
            tso: true,
        }
    }
}

/// Counters that the device itself keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortStats {
    /// Frames received.
    pub rx_frames: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames lost for want of descriptors.
    pub rx_missed: u64,
    /// Damaged frames.
    pub rx_errors: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
    /// Times that no obj was there to post.
    pub rx_no_mbuf: u64,
}

/// A started port. May be asked from any thread.
#[derive(Debug)]
pub struct Port {
    shared: Arc<PortShared>,
}

/// What closing a port found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Closed {
    /// Objs that the device never gave back and that were taken from it (posted receive buffers, mostly).
    pub taken_back: usize,
    /// Objs that somebody still holds: their memory stays reserved until the process ends.
    pub missing: usize,
}

/// What a queue must know of its port.
#[derive(Clone, Copy, Debug)]
pub(super) struct PortInfo {
    pub(super) port: u16,
    pub(super) caps: Caps,
    pub(super) reap: ReapKind,
    pub(super) max_frame: u32,
    /// Descriptors that may be in the device's hands at a time, where it does not see to that itself.
    pub(super) tx_ring: Option<u32>,
    /// Whether the device may be one that copies, and is done with frames when a burst returns.
    pub(super) may_copy: bool,
    /// What marks a frame that the device cuts; 0 when it cuts none.
    pub(super) tso_flags: u64,
}

#[derive(Debug)]
pub(super) struct PortShared {
    info: PortInfo,
    name: CString,
    text_name: String,
    driver: String,
    virtual_device: bool,
    closed: bool,
    /// Pools of queues that are gone, kept until the device is closed.
    parked: Mutex<Vec<Parked>>,
    eal: Arc<EalShared>,
}

/// The pools of one queue.
#[derive(Debug)]
pub(super) struct QueuePools {
    pub(super) rx: MbufPool,
    /// None where a frame is one obj, header and payload: then headers come from `rx`.
    pub(super) header: Option<MbufPool>,
    pub(super) ext: MbufPool,
    pub(super) deferred: Box<Deferred>,
    pub(super) probe: Option<Probe>,
}

#[derive(Debug)]
struct Parked(Box<QueuePools>);

// SAFETY: pools that move are either released (nobody but the driver holds an obj) or stay their old owner's: then only
// the thread-safe return path is used on them.
unsafe impl Send for Parked {}

/// A queue on its way to the thread that will own it.
#[derive(Debug)]
pub struct QueueSeed {
    pools: Option<Parked>,
    queue: u16,
    shared: Arc<PortShared>,
}

impl QueueSeed {
    /// Index of the queue in its port.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.queue
    }

    /// Makes it this thread's.
    ///
    /// # Panics
    /// Never: a seed's pools are released when it is made, and it is used once.
    #[must_use]
    pub fn activate(mut self) -> DpdkQueue {
        let Some(Parked(mut pools)) = self.pools.take() else {
            unreachable!("a seed holds its pools until it is used")
        };
        let claimed = pools.each().all(MbufPool::claim);
        assert!(claimed, "another thread took over the pools of this queue");
        pools.deferred.adopt();
        DpdkQueue::new(Arc::clone(&self.shared), self.queue, pools)
    }
}

impl Drop for QueueSeed {
    fn drop(&mut self) {
        if let Some(Parked(pools)) = self.pools.take() {
            self.shared.park(pools);
        }
    }
}

impl QueuePools {
    /// Segments of frames that were built and have not come back.
    pub(super) fn tx_outstanding(&self) -> usize {
        self.header.as_ref().map_or(0, |pool| pool.pool().outstanding()) + self.ext.pool().outstanding()
    }

    fn each(&self) -> impl Iterator<Item = &MbufPool> {
        [Some(&self.rx), self.header.as_ref(), Some(&self.ext)].into_iter().flatten()
    }

    fn new(eal: &Arc<EalShared>, config: &PortConfig, info: &PortInfo, xdp: bool) -> Result<Box<Self>, MemoryError> {
        let make = |layout, objs, private, slack| {
            let memory = Memory::reserve(eal, Memory::zones_for(layout, objs), slack)?;
            MbufPool::new(memory.into_pool(layout)?, private)
        };
        let lead = HEADROOM + if xdp { XDP_HEADROOM } else { 0 };
        let rx_layout = mbuf::layout(0, lead + VIRTIO_HEADER + info.max_frame);
        // The slack lets a UMEM be rounded up to whole frames.
        let rx = make(rx_layout, config.rx_objs, 0, if xdp { XDP_CHUNK as usize } else { 0 })?;
        let header = if info.caps.max_tx_segments == 1 {
            None
        } else {
            Some(make(mbuf::layout(0, config.header_size.max(2 * HEADROOM)), config.header_objs, 0, 0)?)
        };
        let ext = make(mbuf::layout(EXT_PRIV_SIZE, 64), config.fragments, EXT_PRIV_SIZE, 0)?;
        let probe = match info.reap {
            ReapKind::Probe => match ext.take_mbuf().and_then(NonNull::new) {
                // SAFETY: a fresh mbuf, given away.
                Some(m) => Some(unsafe { Probe::new(m) }),
                None => return Err(MemoryError::Exhausted { zones: 1 }),
            },
            _ => None,
        };
        Ok(Box::new(Self { rx, header, ext, deferred: Box::new(Deferred::new()), probe }))
    }
}

impl Port {
    /// Configures and starts the device `name`.
    pub(super) fn open(
        eal: &Arc<EalShared>,
        name: &str,
        config: &PortConfig,
    ) -> Result<(Self, VecDeque<QueueSeed>), PortError> {
        let setup = Setup::look(eal, name, config)?;
        let mut shared = setup.shared;
        log_stream::mark();
        let mut queues = Vec::new();
        for _ in 0..config.queues {
            queues.push(QueuePools::new(eal, config, &shared.info, setup.xdp)?);
        }
        let started = setup.device.start(&shared, config, &queues, setup.xdp);
        if let Err(error) = started {
            for pools in queues {
                shared.park(pools);
            }
            return Err(error); // dropping `shared` closes the device and frees the pools
        }
        // Only a started queue may be asked.
        if shared.info.reap == ReapKind::Never {
            // SAFETY: the port is started and no queue is in use yet.
            let ret = unsafe { sys::rte_eth_tx_done_cleanup(shared.info.port, 0, 0) };
            if ret >= 0 {
                shared.info.reap = ReapKind::Cleanup;
                shared.info.caps.prompt_completion = true;
            }
        }
        let shared = Arc::new(shared);
        let seeds = (0..config.queues)
            .zip(queues)
            .map(|(queue, pools)| {
                let released = pools.each().all(MbufPool::release);
                debug_assert!(released, "a fresh pool has objs out");
                QueueSeed { pools: Some(Parked(pools)), queue, shared: Arc::clone(&shared) }
            })
            .collect();
        Ok((Self { shared }, seeds))
    }

    /// Stops and closes it, which dropping the port and all its queues does as well, and says what was found.
    ///
    /// # Errors
    /// The port, while a queue of it is still alive.
    pub fn close(self) -> Result<Closed, Self> {
        match Arc::try_unwrap(self.shared) {
            Ok(mut shared) => Ok(shared.shut_down()),
            Err(shared) => Err(Self { shared }),
        }
    }

    /// What DPDK calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.name()
    }

    /// The PMD.
    #[must_use]
    pub fn driver(&self) -> &str {
        &self.shared.driver
    }

    /// What its queues can do.
    #[must_use]
    pub fn caps(&self) -> &Caps {
        &self.shared.info.caps
    }

    /// Whether its peer is there.
    #[must_use]
    pub fn link_up(&self) -> bool {
        let mut link = sys::rte_eth_link::default();
        // SAFETY: a started port.
        unsafe {
            sys::rte_eth_link_get_nowait(self.shared.info.port, &raw mut link) == 0
                && sys::luna_link_is_up(&raw const link) != 0
        }
    }

    /// Waits for its peer, at most `limit`. Returns whether it is there.
    #[must_use]
    pub fn wait_link(&self, limit: Duration) -> bool {
        let start = Instant::now();
        while !self.link_up() {
            if start.elapsed() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// The device's own counters.
    #[must_use]
    pub fn stats(&self) -> PortStats {
        let mut stats = sys::rte_eth_stats::default();
        // SAFETY: a started port.
        unsafe { sys::rte_eth_stats_get(self.shared.info.port, &raw mut stats) };
        PortStats {
            rx_frames: stats.ipackets,
            tx_frames: stats.opackets,
            rx_bytes: stats.ibytes,
            tx_bytes: stats.obytes,
            rx_missed: stats.imissed,
            rx_errors: stats.ierrors,
            tx_errors: stats.oerrors,
            rx_no_mbuf: stats.rx_nombuf,
        }
    }
}

impl PortShared {
    /// A device that exists, and that nothing was done with.
    pub(super) fn new(eal: &Arc<EalShared>, name: CString, driver: String, info: PortInfo) -> Self {
        let text_name = name.to_string_lossy().into_owned();
        Self {
            info,
            virtual_device: text_name.starts_with("net_") || text_name.starts_with("virtio_user"),
            closed: false,
            name,
            text_name,
            driver,
            parked: Mutex::new(Vec::new()),
            eal: Arc::clone(eal),
        }
    }

    pub(super) fn info(&self) -> &PortInfo {
        &self.info
    }

    pub(super) fn name(&self) -> &str {
        &self.text_name
    }

    /// Keeps a queue's pools until the device is closed.
    pub(super) fn park(&self, pools: Box<QueuePools>) {
        for pool in pools.each() {
            // Refused while the application holds objs: then the pool stays this thread's.
            let _ = pool.release();
        }
        if let Ok(mut parked) = self.parked.lock() {
            parked.push(Parked(pools));
        }
    }
}

impl PortShared {
    fn shut_down(&mut self) -> Closed {
        let mut found = Closed::default();
        if core::mem::replace(&mut self.closed, true) {
            return found;
        }
        let parked = self.parked.get_mut().map(core::mem::take).unwrap_or_default();
        // Pools without a user become this thread's; frees into the others take the thread-safe way.
        for Parked(pools) in &parked {
            for pool in pools.each() {
                pool.claim();
            }
        }
        // SAFETY: the last user is gone, so no other thread is in a burst on this port.
        unsafe {
            sys::rte_eth_dev_stop(self.info.port);
            sys::rte_eth_dev_close(self.info.port);
            if self.virtual_device {
                sys::rte_vdev_uninit(self.name.as_ptr());
            }
        }
        for Parked(mut pools) in parked {
            if let Some(probe) = pools.probe.take() {
                // SAFETY: the device is closed: the mbuf is in no ring.
                unsafe { pools.ext.put_mbuf(probe.into_mbuf()) };
            }
            // All before any is counted: an external mbuf that is taken back lets go of a receive obj.
            let ours = || pools.each().filter(|pool| pool.claim());
            for pool in ours() {
                // SAFETY: the device is closed and this thread owns the pool.
                found.taken_back += unsafe { pool.sweep() };
            }
            found.missing += ours().map(|pool| pool.pool().outstanding()).sum::<usize>();
            // References to payload of another thread: that thread drops them.
            if !pools.deferred.settle() {
                self.eal.leave(*pools.deferred);
            }
        }
        log::debug!("port {} closed: {found:?}", self.text_name);
        found
    }
}

impl Drop for PortShared {
    fn drop(&mut self) {
        self.shut_down();
    }
}
