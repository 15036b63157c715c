//! CRC-32C (iSCSI), of frame headers always and of payloads when asked for.

use crc::{CRC_32_ISCSI, Crc, Digest, Table};

static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// Of one piece.
#[inline]
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes)
}

/// Of a payload that comes in pieces.
#[derive(Clone)]
pub(super) struct Running(Digest<'static, u32, Table<16>>);

impl Running {
    pub(super) fn new() -> Self {
        Self(CRC32C.digest())
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> u32 {
        self.0.finalize()
    }
}
