//! The console: lines of text on the board's UART, from any core; with feature `defmt`, frames that stand for them.

use core::fmt;
#[cfg(not(feature = "defmt"))]
use core::fmt::Write;

use spin::mutex::{SpinMutex, SpinMutexGuard};

use crate::mmio::Mmio;
use crate::pl011::Pl011;

static CONSOLE: SpinMutex<Option<Pl011<Mmio>>> = SpinMutex::new(None);

type Held = SpinMutexGuard<'static, Option<Pl011<Mmio>>>;

/// The console of this machine.
#[derive(Debug)]
pub struct Console(());

/// The console; lines go nowhere until [`Console::open`].
#[must_use]
pub fn console() -> Console {
    Console(())
}

impl Console {
    /// From now on lines go to the UART at `registers`.
    #[cold]
    #[inline(never)]
    pub fn open(&self, registers: Mmio) {
        *CONSOLE.lock() = Some(Pl011::new(registers));
    }

    /// One line, whole: other cores wait.
    #[cold]
    #[inline(never)]
    #[cfg(not(feature = "defmt"))]
    pub fn line(&self, text: fmt::Arguments<'_>) {
        if let Some(uart) = CONSOLE.lock().as_mut() {
            // A UART refuses nothing.
            let _ = writeln!(uart, "{text}");
        }
    }

    /// One line, from a core that is about to stop, which may itself hold the console: it is taken after a while.
    #[cold]
    #[inline(never)]
    pub fn last_line(&self, text: fmt::Arguments<'_>) {
        for _ in 0..1_000_000 {
            if let Some(console) = CONSOLE.try_lock() {
                return last(console, text);
            }
        }
        // SAFETY: whoever holds it is this core, further down its stack, or has had time for thousands of lines: at
        // worst two lines mingle.
        unsafe { CONSOLE.force_unlock() };
        last(CONSOLE.lock(), text);
    }
}

#[cfg(not(feature = "defmt"))]
fn last(mut console: Held, text: fmt::Arguments<'_>) {
    if let Some(uart) = console.as_mut() {
        let _ = writeln!(uart, "{text}");
    }
}

/// The frame takes the lock itself.
#[cfg(feature = "defmt")]
fn last(console: Held, text: fmt::Arguments<'_>) {
    drop(console);
    defmt::error!("{}", defmt::Display2Format(&text));
}

/// What frames are made of.
#[cfg(feature = "defmt")]
impl Console {
    /// Takes the lock, until [`Console::release`].
    pub(super) fn hold(&self) {
        core::mem::forget(CONSOLE.lock());
    }

    /// # Safety
    /// This core holds the lock.
    pub(super) unsafe fn release(&self) {
        // SAFETY: by contract.
        unsafe { CONSOLE.force_unlock() };
    }

    /// # Safety
    /// This core holds the lock.
    pub(super) unsafe fn put(&self, bytes: &[u8]) {
        // SAFETY: by contract, nobody else has a reference to it.
        if let Some(uart) = unsafe { (*CONSOLE.as_mut_ptr()).as_mut() } {
            bytes.iter().for_each(|byte| uart.put(*byte));
        }
    }
}

/// Prints a line on the console.
#[cfg(not(feature = "defmt"))]
#[macro_export]
macro_rules! say {
    ($($arg:tt)*) => { $crate::machine::console().line(core::format_args!($($arg)*)) };
}

/// Prints a line on the console, as a frame. (Its place in the source is the caller's, which needs `defmt` for it.)
#[cfg(feature = "defmt")]
#[collapse_debuginfo(yes)]
#[macro_export]
macro_rules! say {
    ($($arg:tt)*) => { ::defmt::info!("{}", ::defmt::Display2Format(&core::format_args!($($arg)*))) };
}
