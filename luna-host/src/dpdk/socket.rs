//! Whether somebody listens on a Unix socket's path, found out without disturbing them.
//!
//! A datagram socket can connect to neither of the kinds that DPDK listens on (memif: sequenced packets; vhost-user:
//! stream), and the kernel tells why not: wrong type when somebody is there, connection refused when nobody is.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Whether a live socket is bound to `path`.
///
/// # Errors
/// What the kernel says of a path that is no socket, or that this process may not use.
pub(crate) fn is_live(path: &Path) -> io::Result<bool> {
    match UnixDatagram::unbound()?.connect(path) {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::EPROTOTYPE) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests;
