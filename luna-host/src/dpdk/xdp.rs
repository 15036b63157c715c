//! The XDP program for a set of ports.
//!
//! net_af_xdp loads a program from a path by itself and offers no way to fill other maps than its own. So the ports are
//! constants of the program, written into a copy of its object file before the load: `xdp/luna_split.bpf.c` marks their
//! place with a magic number. The copy is a memfd, named by `/proc/self/fd/N`: nothing is left in the file system.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd, FromRawFd};

use super::config::PortRange;
use super::error::EalError;

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/luna_split.bpf.o"));
const MAGIC: &[u8; 16] = b"LunaPortRangesV1";
const MAX_RANGES: usize = 16;

/// The object file with these ports in it, and the path to load it from while the file is open.
pub(super) fn program_for(ports: &[PortRange]) -> Result<(File, String), EalError> {
    let image = patched(OBJECT, ports)?;
    // SAFETY: a terminated name; the descriptor is checked and owned below.
    let fd = unsafe { libc::memfd_create(c"luna_split.bpf.o".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(EalError::Xdp(io::Error::last_os_error()));
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    let mut file = unsafe { File::from_raw_fd(fd) };
    file.write_all(&image).map_err(EalError::Xdp)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok((file, path))
}

const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
/// Length of nlmsghdr and of ifinfomsg: neither needs padding.
const HEADER: usize = 16;

/// Whether an XDP program is on the interface, by RTM_GETLINK. The PMD takes off whatever is there when it closes, also
/// after it was refused, so another's program has to be noticed before.
pub(super) fn is_occupied(index: u32) -> io::Result<bool> {
    // SAFETY: no preconditions; the result is checked and owned below.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns; reads and writes of a File are read(2) and write(2).
    let mut socket = unsafe { File::from_raw_fd(fd) };
    let mut request = [0u8; 2 * HEADER];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = request.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, &(2 * HEADER as u32).to_ne_bytes());
    put(4, &libc::RTM_GETLINK.to_ne_bytes());
    put(6, &(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    put(HEADER + 4, &index.to_ne_bytes());
    socket.write_all(&request)?;
    let mut answer = vec![0; 32 << 10];
    let len = socket.read(&mut answer)?;
    let answer = answer.get(..len).unwrap_or_default();
    let kind = answer.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
    if kind != Some(libc::RTM_NEWLINK) {
        return Err(io::Error::other("the kernel does not describe the interface"));
    }
    let attributes = answer.get(2 * HEADER..).unwrap_or_default();
    let attached = attribute(attributes, IFLA_XDP).and_then(|xdp| attribute(xdp, IFLA_XDP_ATTACHED));
    Ok(attached.and_then(|value| value.first()).is_some_and(|&mode| mode != 0))
}

/// The value of the first attribute of this kind.
fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (len, kind) = match rest.get(..4)? {
            [a, b, c, d] => (usize::from(u16::from_ne_bytes([*a, *b])), u16::from_ne_bytes([*c, *d]) & 0x3fff),
            _ => return None,
        };
        if kind == wanted {
            return rest.get(4..len);
        }
        rest = rest.get(len.max(4).next_multiple_of(4)..)?;
    }
}

/// A copy of `object` with the ranges written behind the magic.
fn patched(object: &[u8], ports: &[PortRange]) -> Result<Vec<u8>, EalError> {
    if ports.is_empty() || ports.len() > MAX_RANGES {
        return Err(EalError::BadConfig("an AF_XDP port takes between 1 and 16 ranges of TCP ports: merge some"));
    }
    if ports.iter().any(|range| range.first > range.last || range.first == 0) {
        return Err(EalError::BadConfig("a range of TCP ports begins at 1 or above and does not end before it begins"));
    }
    let mut table = Vec::with_capacity(4 + 4 * MAX_RANGES);
    table.extend_from_slice(&(ports.len() as u32).to_ne_bytes());
    for range in ports {
        table.extend_from_slice(&range.first.to_ne_bytes());
        table.extend_from_slice(&range.last.to_ne_bytes());
    }
    let mut image = object.to_vec();
    let mut places = object.windows(MAGIC.len()).enumerate().filter(|(_, bytes)| bytes == MAGIC);
    let (Some((at, _)), None) = (places.next(), places.next()) else {
        return Err(EalError::Xdp(io::Error::other("its object file has not exactly one port table")));
    };
    let start = at + MAGIC.len();
    match image.get_mut(start..start + table.len()) {
        Some(place) => place.copy_from_slice(&table),
        None => return Err(EalError::Xdp(io::Error::other("its object file ends inside the port table"))),
    }
    Ok(image)
}

#[cfg(test)]
mod tests;
