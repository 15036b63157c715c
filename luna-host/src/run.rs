//! Loops: who turns a driver, how long, and what is done when nothing happens.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::thread;

use crate::link::{Driver, DriverError, Endpoint};

/// Turns with nothing to do before a loop sleeps: tens of milliseconds. A benchmark never gets there.
const QUIET_TURNS: u32 = 100_000;
/// Turns with nothing to do before a spinner offers its core to others: some hundred microseconds. The peer that it waits
/// for may be one of them.
const SPIN_TURNS: u32 = 1_000;
/// How long it sleeps at first; over kernel sockets, arrivals end it.
const NAP: Duration = Duration::from_micros(100);
/// Naps after which they become twice as long.
const LONGER_AFTER: u32 = 1_000;
/// How often they do: up to 3.2 ms, so that a server that nobody uses takes hardly anything from its core.
const LONGER: u32 = 5;
/// Turns between two looks at flags that another thread or a signal sets.
const LOOK_EVERY: u32 = 64;

/// What to do with a turn that had nothing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// Turn again at once, and only after many such turns let another thread run first.
    Spin,
    /// Let another thread run first, always: spinners outnumber cores.
    Yield,
}

/// Counts turns without work, and says what to do after each.
#[derive(Clone, Copy, Debug)]
pub struct Idler {
    idle: Idle,
    quiet: u32,
    naps: u32,
}

impl Idler {
    /// Nothing was idle yet.
    #[must_use]
    pub fn new(idle: Idle) -> Self {
        Self { idle, quiet: 0, naps: 0 }
    }

    /// A turn had something to do.
    #[inline]
    pub fn busy(&mut self) {
        self.quiet = 0;
        self.naps = 0;
    }

    /// A turn had nothing to do: lets others run, or returns for how long to sleep.
    #[inline]
    pub fn idle(&mut self) -> Option<Duration> {
        self.quiet += 1;
        if self.quiet >= QUIET_TURNS {
            self.quiet = QUIET_TURNS;
            self.naps += 1;
            return Some(NAP * (1 << (self.naps / LONGER_AFTER).min(LONGER)));
        }
        if self.idle == Idle::Yield || self.quiet >= SPIN_TURNS {
            thread::yield_now();
        } else {
            core::hint::spin_loop();
        }
        None
    }
}

/// Turns `driver` until `look`, asked now and then, says that it is over.
///
/// # Errors
/// What the driver said.
pub fn run<D: Driver, E: Endpoint>(
    driver: &mut D,
    endpoint: &mut E,
    idle: Idle,
    mut look: impl FnMut(&mut E) -> bool,
) -> Result<(), DriverError> {
    let mut idler = Idler::new(idle);
    let mut until_look = 0;
    loop {
        if until_look == 0 {
            if look(endpoint) {
                return Ok(());
            }
            until_look = LOOK_EVERY;
        }
        until_look -= 1;
        if driver.turn(endpoint)? {
            idler.busy();
        } else if let Some(nap) = idler.idle() {
            if driver.doze(endpoint, nap)? {
                idler.busy();
            }
            until_look = 0;
        }
    }
}

/// A flag that SIGINT and SIGTERM set; the second of them ends the process at once.
///
/// # Errors
/// When the kernel takes no handler.
pub fn stop_on_signals() -> std::io::Result<std::sync::Arc<AtomicBool>> {
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The order matters: the first time the flag is not set yet.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

/// Whether the flag is set.
#[must_use]
pub fn stopped(stop: &AtomicBool) -> bool {
    stop.load(Ordering::Relaxed)
}
