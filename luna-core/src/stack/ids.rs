//! Names: of connections, listeners and paths. A name carries its slot's generation, so that a stale one is an error and
//! never somebody else's connection.

use core::fmt;

/// A connection of one stack: (stack, slot, generation).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(u64);

impl ConnId {
    pub(crate) fn new(stack: u8, slot: u32, generation: u32) -> Self {
        Self(u64::from(stack) << 56 | u64::from(slot & 0x00ff_ffff) << 32 | u64::from(generation))
    }

    /// As a number, for tables and logs.
    #[must_use]
    #[inline(always)]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// From [`ConnId::as_u64`]. A made-up number is a stale name, nothing worse.
    #[must_use]
    pub fn from_u64(n: u64) -> Self {
        Self(n)
    }

    /// The stack's number.
    #[must_use]
    #[inline(always)]
    pub fn stack(self) -> u8 {
        (self.0 >> 56) as u8
    }

    /// The slot: below the stack's connection capacity, for tables beside it.
    #[must_use]
    #[inline(always)]
    pub fn slot(self) -> u32 {
        (self.0 >> 32) as u32 & 0x00ff_ffff
    }

    #[inline(always)]
    pub(crate) fn generation(self) -> u32 {
        self.0 as u32
    }

    /// The name of the slot's next user.
    pub(crate) fn next_generation(self) -> Self {
        Self::new(self.stack(), self.slot(), self.generation().wrapping_add(1))
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {}/{}#{}", self.stack(), self.slot(), self.generation())
    }
}

/// A listener of one stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenerId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// A path: one queue of one port, with its addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PathId(pub(crate) u8);

impl PathId {
    /// As an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.into()
    }
}
