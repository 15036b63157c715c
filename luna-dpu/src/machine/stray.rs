//! `die=stray`: the network device is told of other addresses to receive at than its objs have, of memory that it must not
//! reach and that shows whether it did.

use core::ptr::NonNull;

use crate::arena::Arena;
use crate::smmu::{IoSpace, MapError};
use luna_core::zbuf::IoAddr;

/// What is in that memory.
const CANARY: u64 = 0x5a5a_c0de_5a5a_c0de;

/// Memory that nobody writes to.
#[derive(Debug)]
pub(super) struct Canary {
    io: IoAddr,
    words: NonNull<[u64]>,
}

/// Where devices are sent, whatever the memory.
struct Astray(IoAddr);

impl IoSpace for Astray {
    fn map(&mut self, _: u64, _: u64) -> Result<IoAddr, MapError> {
        Ok(self.0)
    }
}

impl Canary {
    /// All of `memory`.
    pub(super) fn new(mut memory: Arena) -> Option<Self> {
        let io = memory.io_addr();
        let words = memory.slice::<u64>(memory.left() / 8)?;
        words.fill(CANARY);
        Some(Self { io, words: NonNull::from(words) })
    }

    /// `memory`, for which devices are sent to the canary, which is not shorter.
    pub(super) fn instead_of(&self, memory: Arena) -> Result<Arena, MapError> {
        // SAFETY: a lie, and this is what it leads to: a device that is believed to write to `memory` writes to the canary,
        // which nobody else uses, or nowhere.
        unsafe { memory.through(&mut Astray(self.io)) }
    }

    /// Its bytes.
    pub(super) fn len(&self) -> usize {
        self.words.len() * 8
    }

    /// How many of its bytes were written to.
    pub(super) fn changed(&self) -> usize {
        let word = |i| {
            // SAFETY: one of the words that `new` was given; a device may write at any time.
            unsafe { self.words.cast::<u64>().add(i).read_volatile() }
        };
        let bytes = |i| (word(i) ^ CANARY).to_ne_bytes().into_iter().filter(|byte| *byte != 0).count();
        (0..self.words.len()).map(bytes).sum()
    }
}
