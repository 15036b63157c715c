//! Log lines as `defmt` frames on the console's UART: what is always the same of a line stays in the image's symbols, on the
//! host, where `cargo xtask dpu run --log defmt` finds it. All that the image says is in frames then, `say!` included, so
//! that there is nothing else on the line.
//!
//! The console's lock is held from a frame's first byte to its last.

use core::cell::UnsafeCell;

use defmt::Encoder;

use super::{console, counter, counter_frequency};

struct Frames(UnsafeCell<Encoder>);

// SAFETY: reached between `acquire` and `release` only, which exclude each other.
unsafe impl Sync for Frames {}

static FRAMES: Frames = Frames(UnsafeCell::new(Encoder::new()));

#[defmt::global_logger]
struct Logger;

// Microseconds since the counter began.
defmt::timestamp!("{=u64:us}", (u128::from(counter()) * 1_000_000 / u128::from(counter_frequency().max(1))) as u64);

// SAFETY: `acquire` returns to one core at a time, until that core's `release`. Nothing interrupts a core between them but
// an exception, which ends the image.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        console().hold();
        // SAFETY: this core has it now.
        unsafe { (*FRAMES.0.get()).start_frame(put) };
    }

    unsafe fn flush() {
        // Nothing is held back.
    }

    unsafe fn release() {
        // SAFETY: this core has had it since `acquire`.
        unsafe {
            (*FRAMES.0.get()).end_frame(put);
            console().release();
        }
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: likewise.
        unsafe { (*FRAMES.0.get()).write(bytes, put) };
    }
}

fn put(bytes: &[u8]) {
    // SAFETY: called between `acquire` and `release`.
    unsafe { console().put(bytes) };
}
