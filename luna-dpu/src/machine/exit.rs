//! Ways out of an image: an exit code for whoever runs it, power off, or to stop.

use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering};

use smccc::{Hvc, Smc, psci};

use crate::parts::REPORTS;

/// How [`exit`] leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ExitBy {
    /// The core stops; a real machine's watchdog or operator does the rest.
    Stop = 0,
    /// Semihosting: an emulator or debugger gets the exit code. Without one the instruction is an exception.
    Semihosting = 1,
    /// Power off by PSCI over HVC. The code is lost.
    PsciHvc = 2,
    /// Power off by PSCI over SMC. The code is lost.
    PsciSmc = 3,
}

/// Exit code of a panic, and of an exception.
pub const EXIT_PANIC: u32 = 101;

static BY: AtomicU8 = AtomicU8::new(ExitBy::Stop as u8);

/// Chooses how [`exit`] leaves.
pub fn exit_by(by: ExitBy) {
    BY.store(by as u8, Ordering::Relaxed);
}

/// Ends the image: all cores where the machine can do that, else this one. Not 0 means failure.
#[cold]
#[inline(never)]
pub fn exit(code: u32) -> ! {
    // At most one attempt: an exception on the way out comes back here.
    match BY.swap(ExitBy::Stop as u8, Ordering::Relaxed) {
        1 => semihosting_exit(code),
        2 => {
            let _ = psci::system_off::<Hvc>();
        }
        3 => {
            let _ = psci::system_off::<Smc>();
        }
        _ => {}
    }
    loop {
        // SAFETY: masks interrupts and sleeps, for ever.
        unsafe { asm!("msr daifset, #0xf", "wfi", options(nomem, nostack)) };
    }
}

/// SYS_EXIT with ADP_Stopped_ApplicationExit and the code (Arm semihosting specification, 7.5).
fn semihosting_exit(code: u32) {
    let block = [0x20026_u64, u64::from(code)];
    // SAFETY: the host reads the block and ends us. Whatever comes back instead, only x0 changed.
    unsafe { asm!("hlt #0xf000", inout("x0") 0x18_u64 => _, in("x1") block.as_ptr(), options(nostack)) };
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let (core, console) = (super::core_id(), super::console());
    match info.location() {
        // Without what each place has to say, none of that is linked.
        Some(at) if !REPORTS => {
            console.last_line(format_args!("core {core:#x}: panic at {}:{}", at.file(), at.line()));
        }
        _ => console.last_line(format_args!("core {core:#x}: {info}")),
    }
    exit(EXIT_PANIC)
}
