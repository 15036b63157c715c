//! Random numbers of the core itself (FEAT_RNG).

use core::arch::asm;

/// Fills `out` from RNDR; false when this core has none or its source failed, and `out` is then not to be used.
pub fn hardware_random(out: &mut [u8]) -> bool {
    let isar0: u64;
    // SAFETY: reads an identification register.
    unsafe { asm!("mrs {}, id_aa64isar0_el1", out(reg) isar0, options(nomem, nostack, preserves_flags)) };
    if isar0 >> 60 == 0 {
        return false;
    }
    out.chunks_mut(8).all(|chunk| {
        // The architecture lets it fail for a while.
        let word = (0..100).find_map(|_| rndr());
        if let Some(word) = word {
            chunk.iter_mut().zip(word.to_le_bytes()).for_each(|(to, from)| *to = from);
        }
        word.is_some()
    })
}

fn rndr() -> Option<u64> {
    let (word, failed): (u64, u64);
    // SAFETY: reads RNDR, which exists as its caller has seen; it sets Z when it failed.
    unsafe { asm!("mrs {}, s3_3_c2_c4_0", "cset {}, eq", out(reg) word, out(reg) failed, options(nomem, nostack)) };
    (failed == 0).then_some(word)
}
