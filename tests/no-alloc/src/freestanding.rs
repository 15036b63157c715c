//! The program itself: entry point, panic handler, and the part of luna-core that is run.

use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::ptr::NonNull;

use luna_core::zbuf::{DeviceKey, IoAddr, Pool, Region, ZONE_SIZE, ZoneLayout};

#[repr(C, align(0x20_0000))]
struct Memory(UnsafeCell<[u8; 2 * ZONE_SIZE]>);

// SAFETY: the program has one thread, and only `main` takes the address, once.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; 2 * ZONE_SIZE]));

#[link(name = "c")]
unsafe extern "C" {
    fn abort() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: abort(3) has no preconditions.
    unsafe { abort() }
}

// The precompiled `core` names it in its unwind tables; nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    if buffers_work() == Some(()) { 0 } else { 1 }
}

/// Memory from a region goes out, is shared and comes back; `None` where it does not.
fn buffers_work() -> Option<()> {
    let base = NonNull::new(MEMORY.0.get().cast::<u8>())?;
    // SAFETY: MEMORY is aligned to 2 MiB, writable, lives as long as the program and is used here only.
    let region = unsafe { Region::new(base, 2, |zone| IoAddr((zone * ZONE_SIZE) as u64), DeviceKey(0)) }.ok()?;
    let pool = Pool::new(region, ZoneLayout { obj_size: 4096, prefix: 0 }).ok()?;
    let mut buffer = pool.alloc()?;
    buffer.append(3)?.copy_from_slice(b"zbf");
    let whole = buffer.freeze();
    let part = whole.slice(1..3);
    drop(whole);
    let still_there = *part == *b"bf" && pool.outstanding() == 1;
    drop(part);
    (still_there && pool.outstanding() == 0).then_some(())
}
