//! The control queue (section 5.1.6.5): how many pairs are used, and which flow goes to which.

use crate::barrier;
use crate::dma::{DmaArea, DmaPiece};
use crate::mmio::Registers;
use crate::virtio::ring::{Buffer, Ring};
use crate::virtio::transport::{Doorbell, InitError};

const CLASS_MQ: u8 = 4;
const VQ_PAIRS_SET: u8 = 0;
const RSS_CONFIG: u8 = 1;
const OK: u8 = 0;

/// TCP over IPv4 and IPv6, and both without it.
const HASH_TYPES: u32 = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4;
/// Entries of the indirection table.
const TABLE: usize = 64;
/// Command and data.
const COMMAND_LEN: usize = 2 + 4 + 2 + 2 + 2 * TABLE + 2 + 1 + 40;
/// Looks at the ring before a command counts as refused.
const PATIENCE: u32 = 100_000_000;

/// Descriptors of the control queue.
pub const CONTROL_SIZE: usize = 4;

/// Which flow goes to which queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rss {
    /// The Toeplitz hash's key.
    pub key: [u8; 40],
    /// Receive queue, by the hash's low bits.
    pub table: [u16; TABLE],
    /// Entries used, a power of two.
    pub entries: u16,
    /// Pairs.
    pub pairs: u16,
}

impl Rss {
    /// Flows evenly over `pairs`, in a table of at most `max_table` entries.
    #[must_use]
    pub fn spread(pairs: u16, max_table: u16, key: [u8; 40]) -> Self {
        let most = max_table.clamp(1, TABLE as u16);
        let entries = 1 << most.ilog2();
        let table = core::array::from_fn(|i| i as u16 % pairs.max(1));
        Self { key, table, entries, pairs }
    }

    /// The data of the command.
    fn write(&self, out: &mut heapless::Vec<u8, COMMAND_LEN>) -> Result<(), InitError> {
        let used = self.table.get(..usize::from(self.entries)).unwrap_or_default();
        let table = used.iter().flat_map(|q| q.to_le_bytes());
        let bytes = (HASH_TYPES.to_le_bytes().into_iter())
            .chain((self.entries - 1).to_le_bytes())
            .chain(0u16.to_le_bytes())
            .chain(table)
            .chain(self.pairs.to_le_bytes())
            .chain([self.key.len() as u8])
            .chain(self.key);
        for byte in bytes {
            out.push(byte).map_err(|_| InitError::NoMemory)?;
        }
        Ok(())
    }
}

/// The queue, its driver's side: one command at a time, waited for.
pub(super) struct Control<'m, R> {
    ring: Ring<'m, ()>,
    bell: Doorbell<R>,
    /// Command with data, and behind it the device's answer.
    memory: DmaPiece,
}

impl<'m, R: Registers> Control<'m, R> {
    pub(super) fn new(ring: Ring<'m, ()>, bell: Doorbell<R>, area: &mut DmaArea) -> Option<Self> {
        Some(Self { ring, bell, memory: area.take(COMMAND_LEN + 1, 64)? })
    }

    /// Begins anew.
    ///
    /// # Safety
    /// As of [`Ring::restart`].
    pub(super) unsafe fn restart(&mut self) {
        // SAFETY: by contract.
        unsafe { self.ring.restart(drop) };
    }

    fn command(&mut self, what: &'static str, bytes: &[u8]) -> Result<(), InitError> {
        let len = bytes.len().min(COMMAND_LEN);
        // SAFETY: inside the piece, which is ours while no command is under way.
        unsafe {
            self.memory.base().copy_from_nonoverlapping(core::ptr::NonNull::from(bytes).cast(), len);
            self.memory.base().add(COMMAND_LEN).write_volatile(!OK);
        }
        let command = Buffer { addr: self.memory.io(0), len: len as u32, device_writes: false };
        let answer = Buffer { addr: self.memory.io(COMMAND_LEN), len: 1, device_writes: true };
        if self.ring.add([(command, ()), (answer, ())].into_iter()) != 2 {
            return Err(InitError::Command(what));
        }
        if self.ring.publish() {
            self.bell.ring();
        }
        for _ in 0..PATIENCE {
            if self.ring.pop(drop).is_some() {
                barrier::read();
                // SAFETY: the device has returned it.
                let answer = unsafe { self.memory.base().add(COMMAND_LEN).read_volatile() };
                return if answer == OK { Ok(()) } else { Err(InitError::Command(what)) };
            }
            core::hint::spin_loop();
        }
        Err(InitError::Command(what))
    }

    /// Uses `pairs` pairs; the device chooses by flow.
    pub(super) fn set_pairs(&mut self, pairs: u16) -> Result<(), InitError> {
        let [low, high] = pairs.to_le_bytes();
        self.command("set the number of queue pairs", &[CLASS_MQ, VQ_PAIRS_SET, low, high])
    }

    /// Uses the pairs of `rss`, by hash.
    pub(super) fn set_rss(&mut self, rss: &Rss) -> Result<(), InitError> {
        let mut bytes = heapless::Vec::<u8, COMMAND_LEN>::new();
        bytes.extend_from_slice(&[CLASS_MQ, RSS_CONFIG]).map_err(|_| InitError::NoMemory)?;
        rss.write(&mut bytes)?;
        self.command("set RSS", &bytes)
    }
}
