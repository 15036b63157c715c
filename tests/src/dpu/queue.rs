//! The link that QEMU calls `dgram`: a Unix datagram socket, one datagram a frame.

use std::io::{self, IoSlice};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use luna_core::wire::MacAddr;
use luna_core::zbuf::Pool;
use rustix::net::{SendAncillaryBuffer, SendFlags, SocketAddrUnix, sendmsg_addr};

use crate::frame_queue::{FrameIo, FrameQueue};

/// A socket, and the address of the other end.
pub struct Datagrams {
    socket: UnixDatagram,
    remote: SocketAddrUnix,
}

/// A queue at the socket `local` (replaced when it exists), whose other end is at `remote`.
///
/// # Errors
/// What the kernel says.
pub fn socket_queue(
    local: &Path,
    remote: PathBuf,
    mac: MacAddr,
    rx_pool: &'static Pool,
    header_pool: &'static Pool,
) -> io::Result<FrameQueue<Datagrams>> {
    let _ = std::fs::remove_file(local);
    let socket = UnixDatagram::bind(local)?;
    socket.set_nonblocking(true)?;
    let io = Datagrams { socket, remote: SocketAddrUnix::new(remote)? };
    Ok(FrameQueue::new(io, mac, 1500, rx_pool, header_pool))
}

impl FrameIo for Datagrams {
    fn receive(&mut self, to: &mut [u8]) -> Option<usize> {
        self.socket.recv(to).ok()
    }

    /// Nobody may be there yet, or have room.
    fn send(&mut self, pieces: &[IoSlice<'_>]) -> bool {
        let mut control = SendAncillaryBuffer::default();
        sendmsg_addr(&self.socket, &self.remote, pieces, &mut control, SendFlags::DONTWAIT).is_ok()
    }
}
