//! Feature bits.

use core::fmt;

/// A set of feature bits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(pub u64);

/// The bits that this crate knows (virtio 1.2, sections 5.1.3 and 6).
pub mod feature {
    use super::Features;

    /// The device completes checksums.
    pub const NET_CSUM: Features = Features(1 << 0);
    /// The driver takes frames with unfinished checksums, and the device says of others that it verified them.
    pub const NET_GUEST_CSUM: Features = Features(1 << 1);
    /// The device knows its MTU.
    pub const NET_MTU: Features = Features(1 << 3);
    /// The device knows its hardware address.
    pub const NET_MAC: Features = Features(1 << 5);
    /// The device takes TCP segments of up to 64 KiB over IPv4 and cuts them.
    pub const NET_HOST_TSO4: Features = Features(1 << 11);
    /// Likewise over IPv6.
    pub const NET_HOST_TSO6: Features = Features(1 << 12);
    /// A received frame may lie in several buffers.
    pub const NET_MRG_RXBUF: Features = Features(1 << 15);
    /// The device says whether the link is up.
    pub const NET_STATUS: Features = Features(1 << 16);
    /// There is a control queue.
    pub const NET_CTRL_VQ: Features = Features(1 << 17);
    /// There are several pairs of queues.
    pub const NET_MQ: Features = Features(1 << 22);
    /// The device spreads flows over receive queues by a Toeplitz hash.
    pub const NET_RSS: Features = Features(1 << 60);
    /// Buffers may be described in a table of their own.
    pub const INDIRECT_DESC: Features = Features(1 << 28);
    /// Each side says at which index it wants to be told.
    pub const EVENT_IDX: Features = Features(1 << 29);
    /// Virtio 1.
    pub const VERSION_1: Features = Features(1 << 32);
    /// The device goes through an IOMMU.
    pub const ACCESS_PLATFORM: Features = Features(1 << 33);
    /// Packed rings.
    pub const RING_PACKED: Features = Features(1 << 34);
    /// The device is hardware: device barriers are needed, not a processor's.
    pub const ORDER_PLATFORM: Features = Features(1 << 36);
}

impl Features {
    /// No bits.
    pub const NONE: Self = Self(0);

    /// Whether all bits of `other` are in it.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The bits of either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits of this that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
