//! Random numbers: of the core itself (FEAT_RNG), and from the best source that there is.

use core::arch::asm;

use super::counter;
use crate::dma::DmaArea;
use crate::say;
use crate::virtio::{Transport, random_seed};

/// 32 unpredictable bytes: of the core, of virtio-rng (with memory that it reaches), of whoever made the device tree; else
/// a constant, and it says so.
#[cold]
pub fn seed<T: Transport>(entropy: Option<(T, DmaArea)>, tree: Option<[u8; 32]>) -> [u8; 32] {
    let mut seed = [0; 32];
    if hardware_random(&mut seed) {
        say!("entropy: RNDR");
        return seed;
    }
    match entropy.map(|(device, mut area)| random_seed(device, &mut area, &mut Default::default())) {
        Some(Ok(seed)) => {
            say!("entropy: virtio-rng");
            return seed;
        }
        Some(Err(e)) => say!("virtio-rng: {e}"),
        None => {}
    }
    if let Some(seed) = tree {
        say!("entropy: the device tree's rng-seed");
        return seed;
    }
    say!("************************************************************************");
    say!("WARNING: NO ENTROPY. Sequence numbers and ports can be guessed; give this");
    say!("machine RNDR, virtio-rng or /chosen/rng-seed before it meets a network.");
    say!("************************************************************************");
    let mixed = counter() ^ 0x6c75_6e61;
    core::array::from_fn(|i| mixed.rotate_left(8 * i as u32) as u8 ^ i as u8)
}

/// Fills `out` from RNDR; false when this core has none or its source failed, and `out` is then not to be used.
fn hardware_random(out: &mut [u8]) -> bool {
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
