//! Log lines of luna-core as `defmt` frames: strings stay in the image's symbols, on the host, where `defmt-decoder` finds
//! them. Frames leave by semihosting, byte by byte, to what the emulator or debugger shows of it; the console stays text.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use defmt::Encoder;

/// Who writes a frame now: one core at a time.
static BUSY: AtomicBool = AtomicBool::new(false);

struct Frames(UnsafeCell<Encoder>);

// SAFETY: reached between `acquire` and `release` only, which exclude each other.
unsafe impl Sync for Frames {}

static FRAMES: Frames = Frames(UnsafeCell::new(Encoder::new()));

#[defmt::global_logger]
struct Logger;

// SAFETY: `acquire` returns to one core at a time, until that core's `release`. Nothing interrupts a core between them.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        while BUSY.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        // SAFETY: this core has it now.
        unsafe { (*FRAMES.0.get()).start_frame(put) };
    }

    unsafe fn flush() {
        // Nothing is held back.
    }

    unsafe fn release() {
        // SAFETY: this core has had it since `acquire`.
        unsafe { (*FRAMES.0.get()).end_frame(put) };
        BUSY.store(false, Ordering::Release);
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: likewise.
        unsafe { (*FRAMES.0.get()).write(bytes, put) };
    }
}

/// SYS_WRITEC (Arm semihosting specification, 7.13) for each byte.
fn put(bytes: &[u8]) {
    for byte in bytes {
        // SAFETY: the host reads the byte; x0 may change.
        unsafe { asm!("hlt #0xf000", inout("x0") 0x03_u64 => _, in("x1") core::ptr::from_ref(byte), options(nostack)) };
    }
}
