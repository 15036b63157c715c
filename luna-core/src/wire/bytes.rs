//! Fields at constant offsets of fixed-size headers. The offset is checked at compile time, so no access can fail.

/// The `LEN` bytes at `AT`.
#[inline(always)]
pub(super) fn take<const AT: usize, const LEN: usize, const N: usize>(from: &[u8; N]) -> [u8; LEN] {
    const { assert!(AT + LEN <= N) };
    let mut field = [0; LEN];
    field.copy_from_slice(&from[AT..AT + LEN]);
    field
}

/// Writes `field` at `AT`.
#[inline(always)]
pub(super) fn put<const AT: usize, const LEN: usize, const N: usize>(into: &mut [u8; N], field: [u8; LEN]) {
    const { assert!(AT + LEN <= N) };
    into[AT..AT + LEN].copy_from_slice(&field);
}

/// The big-endian 16-bit field at `AT`.
#[inline(always)]
pub(super) fn be16<const AT: usize, const N: usize>(from: &[u8; N]) -> u16 {
    u16::from_be_bytes(take::<AT, 2, N>(from))
}

/// The big-endian 32-bit field at `AT`.
#[inline(always)]
pub(super) fn be32<const AT: usize, const N: usize>(from: &[u8; N]) -> u32 {
    u32::from_be_bytes(take::<AT, 4, N>(from))
}
