//! Linux taps: made here, and one of them as a queue of Luna's, for MTUs that DPDK 22.11's ports to the kernel refuse
//! (net_tap declares 1504, AF_XDP's frames end with a page). One system call a frame, and the kernel's copy.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IoSlice, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use luna_core::nic::{Caps, MAX_TX_FRAGS, NicQueue, QueueStats, RxBurst, RxFrame, RxMeta, TxMeta};
use luna_core::wire::{MacAddr, RxChecksum};
use luna_core::zbuf::{FragRef, Pool, ZbufMut};

use crate::memory;

/// `struct ifreq` of TUNSETIFF: name and flags.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

const TUNSETIFF: rustix::ioctl::Opcode = 0x4004_54ca;
const IFF_TAP: u16 = 2;
const IFF_NO_PI: u16 = 0x1000;
/// Bytes of an Ethernet header and a VLAN tag.
const LINK_HEADER: usize = 18;

/// Makes a tap, not up yet; it lives as long as the file, whatever namespace it is moved to.
pub(crate) fn open(name: &str) -> std::io::Result<File> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open("/dev/net/tun")?;
    let mut request = Request { name: [0; 16], flags: IFF_TAP | IFF_NO_PI, rest: [0; 22] };
    let place = request.name.get_mut(..name.len()).filter(|_| name.len() < 16);
    place.ok_or(ErrorKind::InvalidInput)?.copy_from_slice(name.as_bytes());
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, whose size and layout `Request` has.
    unsafe { rustix::ioctl::ioctl(&file, rustix::ioctl::Updater::<TUNSETIFF, _>::new(&mut request))? };
    Ok(file)
}

/// A tap as a queue.
pub(crate) struct TapQueue {
    file: File,
    caps: Caps,
    headers: &'static Pool,
    frames: &'static Pool,
    stats: QueueStats,
}

impl TapQueue {
    /// The tap `name`, whose other side has `mac`.
    pub(crate) fn new(name: &str, mac: MacAddr, mtu: u16) -> std::io::Result<Self> {
        let caps = Caps {
            mac,
            mtu,
            max_tx_segments: MAX_TX_FRAGS as u8 + 1,
            tx_checksum: false,
            foreign: false,
            prompt_completion: true,
            max_tso_payload: 0,
        };
        let frame = (u32::from(mtu) + LINK_HEADER as u32).next_multiple_of(64);
        let (headers, frames) = (memory::pool(1, 256), memory::pool(16, frame));
        Ok(Self { file: open(name)?, caps, headers, frames, stats: QueueStats::default() })
    }

    /// Where received frames are.
    pub(crate) fn frames(&self) -> &'static Pool {
        self.frames
    }
}

impl NicQueue for TapQueue {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn header_pool(&self) -> &Pool {
        self.headers
    }

    fn rx_burst(&mut self, burst: &mut RxBurst) {
        while burst.room() > 0 {
            let Some(mut frame) = self.frames.alloc() else {
                self.stats.rx_no_obj += 1;
                return;
            };
            let room = frame.tailroom();
            let n = match frame.append(room).map(|to| self.file.read(to)) {
                Some(Ok(n)) => n as u32,
                // Nothing waits, or the interface is not up yet.
                _ => return,
            };
            frame.truncate(n);
            self.stats.rx_frames += 1;
            self.stats.rx_bytes += u64::from(n);
            let meta = RxMeta { checksum: RxChecksum::UNKNOWN, rss_hash: 0 };
            assert!(burst.push(RxFrame { data: frame.freeze(), meta }).is_ok(), "there was room");
        }
    }

    fn tx(&mut self, header: ZbufMut, payload: &[FragRef<'_>], _: TxMeta) -> Result<(), ZbufMut> {
        let mut parts = heapless::Vec::<IoSlice<'_>, { MAX_TX_FRAGS + 1 }>::new();
        let bytes = payload.iter().map(|f| f.bytes().expect("no foreign memory, by our own word"));
        for part in core::iter::once(&header[..]).chain(bytes) {
            assert!(parts.push(IoSlice::new(part)).is_ok(), "more fragments than a frame has");
        }
        match self.file.write_vectored(&parts) {
            Ok(n) => {
                self.stats.tx_frames += 1;
                self.stats.tx_bytes += n as u64;
            }
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
