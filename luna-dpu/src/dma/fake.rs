//! A machine whose devices do not snoop the caches: what a core wrote they see when it was written back, what they wrote the
//! core sees when it has forgotten what it held; and whatever a core has written and not written back goes to memory when
//! it pleases the cache.
//!
//! The core's view is the pool's own memory. Memory, as devices see it, is a copy elsewhere: the pool's I/O addresses.

use core::alloc::Layout;
use core::cell::RefCell;
use core::ptr::NonNull;
use std::alloc::alloc_zeroed;
use std::boxed::Box;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use luna_core::zbuf::{DeviceKey, IoAddr, Pool, Region, ZONE_SIZE, ZoneLayout};

use super::DmaSync;
use crate::virtio::ring::fake::IO_OFFSET;

/// Bytes of a cache line.
const LINE: usize = 64;

/// A zone: what the core sees, what is in memory, and what both were when they last agreed.
#[derive(Debug)]
struct Zone {
    core: NonNull<u8>,
    memory: NonNull<u8>,
    agreed: Vec<u8>,
}

/// All caches between cores and memory; copies are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caches(Rc<RefCell<Vec<Zone>>>);

fn zone() -> NonNull<u8> {
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { alloc_zeroed(Layout::from_size_align(ZONE_SIZE, ZONE_SIZE).unwrap()) }).unwrap()
}

impl Zone {
    /// The core's line `i`, and memory's.
    fn line(&self, i: usize) -> (*mut u8, *mut u8) {
        assert!(i < ZONE_SIZE / LINE);
        // SAFETY: inside both, as just checked.
        unsafe { (self.core.as_ptr().add(i * LINE), self.memory.as_ptr().add(i * LINE)) }
    }

    /// Copies line `i` to memory, or from it.
    fn agree(&mut self, i: usize, to_memory: bool) {
        let (core, memory) = self.line(i);
        let (from, to) = if to_memory { (core, memory) } else { (memory, core) };
        // SAFETY: lines of two zones that live for ever; this is the only thread.
        unsafe {
            to.copy_from_nonoverlapping(from, LINE);
            self.agreed[i * LINE..][..LINE].copy_from_slice(core::slice::from_raw_parts(from, LINE));
        }
    }

    fn is_dirty(&self, i: usize) -> bool {
        // SAFETY: as above.
        self.agreed[i * LINE..][..LINE] != *unsafe { core::slice::from_raw_parts(self.line(i).0, LINE) }
    }
}

impl Caches {
    /// A pool of one zone whose memory is behind them.
    pub(crate) fn pool(&self, layout: ZoneLayout) -> &'static Pool {
        let (core, memory) = (zone(), zone());
        self.0.borrow_mut().push(Zone { core, memory, agreed: vec![0; ZONE_SIZE] });
        let at = memory.as_ptr().expose_provenance() as u64;
        // SAFETY: fresh memory, never freed; devices of this crate's tests reach the copy at these addresses.
        let region = unsafe { Region::new(core, 1, |_| IoAddr(at + IO_OFFSET), DeviceKey(0)) }.unwrap();
        Box::leak(Box::new(Pool::new(region, layout).unwrap()))
    }

    /// It pleases the cache to write back all that the core wrote.
    pub(crate) fn evict(&self) {
        for zone in self.0.borrow_mut().iter_mut() {
            for i in 0..ZONE_SIZE / LINE {
                if zone.is_dirty(i) {
                    zone.agree(i, true);
                }
            }
        }
    }

    fn each(&self, start: NonNull<u8>, len: usize, mut act: impl FnMut(&mut Zone, usize)) {
        for line in super::lines(start, len, LINE) {
            let mut zones = self.0.borrow_mut();
            let inside = |z: &&mut Zone| (line.wrapping_sub(z.core.addr().get())) < ZONE_SIZE;
            let zone = zones.iter_mut().find(inside).expect("memory of a pool behind the caches");
            let i = (line - zone.core.addr().get()) / LINE;
            act(zone, i);
        }
    }
}

// SAFETY: as the trait has it, for the core's view and memory's.
unsafe impl DmaSync for Caches {
    fn device_reads(&self, start: NonNull<u8>, len: usize) {
        self.each(start, len, |zone, i| zone.agree(i, true));
    }

    fn device_writes(&self, start: NonNull<u8>, len: usize) {
        self.each(start, len, |zone, i| zone.agree(i, true));
    }

    fn device_wrote(&self, start: NonNull<u8>, len: usize) {
        self.each(start, len, |zone, i| zone.agree(i, false));
    }
}
