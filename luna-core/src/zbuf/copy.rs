//! The one function that copies payload, so that "zero-copy" is a number.

/// Bytes copied, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CopyCounter {
    /// Bytes copied.
    pub bytes: u64,
    /// Calls that copied.
    pub copies: u64,
}

/// Copies as much of `src` as fits `dst`, counts it, and returns how much that was.
#[inline]
pub fn copy_counted(dst: &mut [u8], src: &[u8], counter: &mut CopyCounter) -> usize {
    let n = dst.len().min(src.len());
    if let (Some(d), Some(s)) = (dst.get_mut(..n), src.get(..n)) {
        d.copy_from_slice(s);
    }
    counter.bytes += n as u64;
    counter.copies += 1;
    n
}
