//! The bytes that travel: the same stream on both sides, made and digested as it goes.

use sha2::{Digest, Sha256};

/// Bytes each way.
pub(crate) fn total() -> u64 {
    std::env::var("LUNA_INTEROP_MIB").ok().and_then(|n| n.parse::<u64>().ok()).unwrap_or(256) << 20
}

/// A generator of a fixed, not compressible-looking stream (splitmix64 over the word's number).
pub(crate) fn fill(out: &mut [u8], mut offset: u64) {
    for chunk in out.chunks_mut(8) {
        let mut z = (offset / 8).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let word = (z ^ (z >> 31)).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
        offset += 8;
    }
}

/// Digest of the first `total` bytes of the stream.
pub(crate) fn expected(total: u64) -> String {
    let mut hash = Sha256::new();
    let mut buf = vec![0; 1 << 16];
    let mut at = 0;
    while at < total {
        let n = (total - at).min(buf.len() as u64) as usize;
        fill(&mut buf[..n], at);
        hash.update(&buf[..n]);
        at += n as u64;
    }
    hex(hash)
}

pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
