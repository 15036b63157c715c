//! The console: lines of text on the board's UART, from any core.

use core::fmt::{self, Write};

use spin::Mutex;

use crate::mmio::Mmio;
use crate::pl011::Pl011;

static CONSOLE: Mutex<Option<Pl011<Mmio>>> = Mutex::new(None);

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
            if let Some(mut console) = CONSOLE.try_lock() {
                if let Some(uart) = console.as_mut() {
                    let _ = writeln!(uart, "{text}");
                }
                return;
            }
        }
        // SAFETY: whoever holds it is this core, further down its stack, or has had time for thousands of lines: at
        // worst two lines mingle.
        unsafe { CONSOLE.force_unlock() };
        self.line(text);
    }
}

/// Prints a line on the console.
#[macro_export]
macro_rules! say {
    ($($arg:tt)*) => { $crate::machine::console().line(core::format_args!($($arg)*)) };
}
