//! The XDP program for a set of ports.
//!
//! net_af_xdp loads a program from a path by itself and offers no way to fill other maps than its own. So the ports are
//! constants of the program, written into a copy of its object file before the load: `xdp/luna_split.bpf.c` marks their
//! place with a magic number. The copy is a memfd, named by `/proc/self/fd/N`: nothing is left in the file system.

use std::fs::File;
use std::io::{self, Write as _};
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
