//! What a build may leave out: Cargo features of these names, all on by default. As in luna-core, constants where there is
//! only a way to close; what has a type of its own (DHCP, packed rings) has another file that stands for it.

/// IPv6, with luna-core's: neighbour discovery; without it addresses are IPv4's.
pub(crate) const IPV6: bool = cfg!(feature = "ipv6");

/// Packed rings beside split ones.
pub(crate) const PACKED: bool = cfg!(feature = "packed");

/// Frames lost, and devices broken, on purpose.
pub(crate) const LOSS: bool = cfg!(feature = "loss");

/// The benchmark's client.
pub(crate) const CLIENT: bool = cfg!(feature = "client");

/// Reports with all that was counted; else events of the control plane are numbers, and a panic says where, not what.
#[cfg(all(target_arch = "aarch64", target_os = "none"))]
pub(crate) const REPORTS: bool = cfg!(feature = "reports");
