//! How often drivers look whether their device is still at work, and when they give one up.

/// Turns without anything to do between two looks: a register's read, which an emulated device makes slow. Some ms where idle
/// cores sleep.
pub(crate) const LOOK_EVERY: u32 = 256;
/// Resets in a row without a frame received between them.
pub(crate) const MOST: u32 = 3;
