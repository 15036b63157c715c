//! An aarch64 machine without an operating system: console, reports of panics and exceptions, ways out, counters.
//!
//! Only in images. Everything that can be tried on the development host is outside of this module.

mod console;
mod cpu;
mod exception;
mod exit;
#[cfg(feature = "defmt")]
mod log;
mod nap;
mod random;
mod reach;
mod stray;
mod tell;

pub use console::{Console, console};
pub use cpu::{Level, core_id, counter, counter_frequency, enable_simd, level, wait_for_event};
pub use exception::Exceptions;
pub use exit::{EXIT_PANIC, ExitBy, exit, exit_by};
pub use nap::{Idler, Nap};
pub use random::seed;
pub use reach::Reach;
pub use tell::{tell, tell_event, tell_fault};
