//! Linux taps: made here, and one of them as a queue of Luna's, for MTUs that DPDK 22.11's ports to the kernel refuse
//! (net_tap declares 1504, AF_XDP's frames end with a page). One system call a frame, and the kernel's copy.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IoSlice, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use luna_core::wire::MacAddr;

use crate::frame_queue::{FrameIo, FrameQueue};
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
const LINK_HEADER: u32 = 18;

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

/// The tap `name` as a queue, whose other side has `mac`.
pub(crate) fn queue(name: &str, mac: MacAddr, mtu: u16) -> std::io::Result<FrameQueue<File>> {
    let frame = (u32::from(mtu) + LINK_HEADER).next_multiple_of(64);
    let (headers, frames) = (memory::pool(1, 256), memory::pool(16, frame));
    Ok(FrameQueue::new(open(name)?, mac, mtu, frames, headers))
}

/// A tap reads as nothing, too, while the interface is not up.
impl FrameIo for File {
    fn receive(&mut self, to: &mut [u8]) -> Option<usize> {
        self.read(to).ok()
    }

    fn send(&mut self, pieces: &[IoSlice<'_>]) -> bool {
        self.write_vectored(pieces).is_ok()
    }
}
