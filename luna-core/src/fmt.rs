//! Log lines, off the packet path only: the same line goes to `defmt` or to `log`, or compiles to nothing.
//!
//! Arguments are numbers and strings, which both can format.

// Where a line is in the source is where it is logged.
#[cfg_attr(feature = "defmt", collapse_debuginfo(yes))]
macro_rules! log_debug {
    ($text:literal $(, $arg:expr)* $(,)?) => {{
        #[cfg(feature = "defmt")]
        defmt::debug!($text $(, $arg)*);
        #[cfg(all(feature = "log", not(feature = "defmt")))]
        log::debug!($text $(, $arg)*);
        #[cfg(not(any(feature = "log", feature = "defmt")))]
        { let _ = ($(&$arg,)*); }
    }};
}

pub(crate) use log_debug;
