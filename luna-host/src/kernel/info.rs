//! `TCP_INFO`: what the kernel tells of a connection.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Segments that the kernel has sent again on this connection; `None` if it does not tell.
pub(super) fn retransmits(socket: BorrowedFd<'_>) -> Option<u64> {
    let mut info = core::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` and `len` are writable and of the stated size; the kernel writes at most `len` bytes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            core::ptr::from_mut(&mut len),
        )
    };
    // SAFETY: all zeros is a valid tcp_info (it is integers), and the kernel wrote integers over a part of it.
    let info = unsafe { info.assume_init() };
    (result == 0).then_some(u64::from(info.tcpi_total_retrans))
}
