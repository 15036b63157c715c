//! The entry point, the panic handler, and the memory: one static array and `main`'s stack.

mod echo;
mod sockets;

use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::ptr::NonNull;

use luna_core::zbuf::{DeviceKey, IoAddr, Region, ZONE_SIZE};

const ZONES: usize = 6;

#[repr(C, align(0x20_0000))]
struct Memory(UnsafeCell<[u8; ZONES * ZONE_SIZE]>);

// SAFETY: the program has one thread, and only `main` takes the address, once.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; ZONES * ZONE_SIZE]));

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
    let Some(base) = NonNull::new(MEMORY.0.get().cast::<u8>()) else { return 2 };
    // SAFETY: MEMORY is aligned to 2 MiB, writable, lives as long as the program and is used here only.
    let region = unsafe { Region::new(base, ZONES, |zone| IoAddr((zone * ZONE_SIZE) as u64), DeviceKey(0)) };
    let done = region.ok().and_then(|region| region.split_off_front(1).ok()).and_then(|(first, rest)| {
        sockets::run(first)?;
        echo::run(rest)
    });
    match done {
        Some(()) => 0,
        None => 1,
    }
}
