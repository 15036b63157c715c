//! What requests carry, and whether it came back.

use luna_core::rpc::Payload;
use luna_core::zbuf::{Pool, Zbuf};

use crate::pattern;

/// Objs with the pattern of `seed`; `None` when memory is short.
pub(crate) fn make(pool: &Pool, size: u32, seed: u64) -> Option<Vec<Zbuf>> {
    let mut bytes = vec![0; size as usize];
    pattern::fill(&mut bytes, seed);
    let mut pieces = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let mut obj = pool.alloc()?;
        let n = obj.set_len(rest.len() as u32) as usize;
        let (piece, others) = rest.split_at_checked(n)?;
        obj.copy_from_slice(piece);
        pieces.push(obj.freeze());
        rest = others;
    }
    Some(pieces)
}

/// Whether a response is what was sent.
pub(super) fn is_right(payload: &Payload<'_>, size: u32, seed: Option<u64>) -> bool {
    let Some(seed) = seed else { return payload.len() == size };
    let mut at = 0;
    payload.len() == size
        && payload.pieces().all(|bytes| {
            let start = at;
            at += bytes.len();
            pattern::matches(bytes, seed, start)
        })
}
