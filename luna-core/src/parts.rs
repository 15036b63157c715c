//! What a build may leave out, for images whose memory is small: Cargo features of these names, all on by default.
//!
//! Constants rather than conditional code: everything is compiled and checked either way, what cannot be reached is not
//! linked, and there is one place for each part that asks. What is asked of a part that is left out is refused or dropped as
//! from a peer that does not know it, never done in another way in silence.

/// IPv6: frames are dropped as those of a protocol that is not IP, addresses of it are no path's.
pub(crate) const IPV6: bool = cfg!(feature = "ipv6");

/// Congestion controllers beside NewReno (CUBIC, DCTCP, HPCC), with pacing and in-band telemetry: whoever asks for one is
/// refused as when their pool is empty.
pub(crate) const CONTROLLERS: bool = cfg!(feature = "controllers");

/// SYN cookies: SYNs are dropped while a backlog is full.
pub(crate) const COOKIES: bool = cfg!(feature = "cookies");

/// Foreign memory: none can be registered.
pub(crate) const FOREIGN: bool = cfg!(feature = "foreign");

/// What comes alone takes a shorter way of its own: lone messages sent from where they were written, their headers right before
/// them (else copied behind headers of their own), lone bursts that have no record, lone RPC frames. Without it they go the way
/// that all others do, which takes longer.
pub(crate) const LEADS: bool = cfg!(feature = "leads");

/// Packets that the device cuts into segments: each segment is handed over by itself.
pub(crate) const TSO: bool = cfg!(feature = "tso");
