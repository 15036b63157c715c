//! A `NicQueue` over a Unix datagram socket.

use std::io::{self, IoSlice};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use luna_core::nic::{Caps, MAX_TX_FRAGS, NicQueue, QueueStats, RxBurst, RxFrame, RxMeta, TxMeta};
use luna_core::wire::{MacAddr, RxChecksum};
use luna_core::zbuf::{FragRef, Pool, ZbufMut};
use rustix::net::{SendAncillaryBuffer, SendFlags, SocketAddrUnix, sendmsg_addr};

/// Frames in and out of a socket. The kernel copies both ways, as a NIC's DMA would.
pub struct SocketQueue {
    socket: UnixDatagram,
    remote: SocketAddrUnix,
    rx_pool: &'static Pool,
    header_pool: &'static Pool,
    caps: Caps,
    stats: QueueStats,
}

impl SocketQueue {
    /// A queue at `local` (replaced when it exists), whose other end is at `remote`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(
        local: &Path,
        remote: PathBuf,
        mac: MacAddr,
        rx_pool: &'static Pool,
        header_pool: &'static Pool,
    ) -> io::Result<Self> {
        let _ = std::fs::remove_file(local);
        let socket = UnixDatagram::bind(local)?;
        socket.set_nonblocking(true)?;
        let caps = Caps {
            mac,
            mtu: 1500,
            max_tx_segments: (MAX_TX_FRAGS + 1) as u8,
            tx_checksum: false,
            foreign: false,
            prompt_completion: true,
            max_tso_payload: 0,
        };
        let remote = SocketAddrUnix::new(remote)?;
        Ok(Self { socket, remote, rx_pool, header_pool, caps, stats: QueueStats::default() })
    }
}

impl NicQueue for SocketQueue {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn header_pool(&self) -> &Pool {
        self.header_pool
    }

    fn rx_burst(&mut self, burst: &mut RxBurst) {
        while burst.room() > 0 {
            let Some(mut obj) = self.rx_pool.alloc() else {
                self.stats.rx_no_obj += 1;
                return;
            };
            obj.set_len(u32::MAX);
            let Ok(len) = self.socket.recv(&mut obj) else { return };
            obj.truncate(len as u32);
            self.stats.rx_frames += 1;
            self.stats.rx_bytes += len as u64;
            let meta = RxMeta { checksum: RxChecksum::UNKNOWN, rss_hash: 0 };
            if burst.push(RxFrame { data: obj.freeze(), meta }).is_err() {
                return;
            }
        }
    }

    fn tx(&mut self, header: ZbufMut, payload: &[FragRef<'_>], _: TxMeta) -> Result<(), ZbufMut> {
        // Foreign fragments were declared not to be sendable, so that all have bytes.
        let pieces = core::iter::once(&*header).chain(payload.iter().filter_map(|f| f.bytes()));
        let iov: heapless::Vec<IoSlice<'_>, { MAX_TX_FRAGS + 1 }> = pieces.map(IoSlice::new).collect();
        let len: usize = iov.iter().map(|piece| piece.len()).sum();
        let mut control = SendAncillaryBuffer::default();
        match sendmsg_addr(&self.socket, &self.remote, &iov, &mut control, SendFlags::DONTWAIT) {
            Ok(_) => {
                self.stats.tx_frames += 1;
                self.stats.tx_bytes += len as u64;
            }
            // Nobody there yet, or no room there: lost on the wire.
            Err(_) => self.stats.tx_dropped += 1,
        }
        Ok(())
    }

    fn flush(&mut self) {}

    fn reap(&mut self) -> usize {
        0
    }

    fn stats(&self) -> QueueStats {
        self.stats
    }
}
