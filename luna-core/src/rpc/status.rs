//! The answer of a server in 16 bits.

use core::fmt;

/// A response's status. 0 is success; values below 256 are this layer's, the others the application's own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Status(pub u16);

impl Status {
    /// Done.
    pub const OK: Self = Self(0);
    /// No such method.
    pub const NO_METHOD: Self = Self(1);
    /// No such thing.
    pub const NOT_FOUND: Self = Self(2);
    /// A limit of the server is reached; nothing was executed.
    pub const BUSY: Self = Self(3);
    /// The request makes no sense.
    pub const BAD_REQUEST: Self = Self(4);
    /// The server failed.
    pub const INTERNAL: Self = Self(5);
    /// The server gave up because the deadline passed.
    pub const DEADLINE_EXCEEDED: Self = Self(6);
    /// The server gave up because the client cancelled.
    pub const CANCELLED: Self = Self(7);
    /// The application neither answered nor detached the request.
    pub const UNANSWERED: Self = Self(8);
    /// The payload's CRC does not match; nothing was executed.
    pub const CORRUPT: Self = Self(9);
    /// The method takes no payload of that size; nothing was executed.
    pub const TOO_LARGE: Self = Self(10);
    /// The payload arrived in more pieces than a request may hold; nothing was executed.
    pub const FRAGMENTED: Self = Self(11);
    /// The peer may not do this.
    pub const DENIED: Self = Self(12);
    /// First value that the application may define.
    pub const FIRST_USER: Self = Self(256);

    /// Whether it is [`Status::OK`].
    #[must_use]
    #[inline]
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::OK => "ok",
            Self::NO_METHOD => "no such method",
            Self::NOT_FOUND => "not found",
            Self::BUSY => "busy",
            Self::BAD_REQUEST => "bad request",
            Self::INTERNAL => "internal error",
            Self::DEADLINE_EXCEEDED => "deadline exceeded",
            Self::CANCELLED => "cancelled",
            Self::UNANSWERED => "unanswered by the application",
            Self::CORRUPT => "payload corrupt",
            Self::TOO_LARGE => "payload too large",
            Self::FRAGMENTED => "payload in too many pieces",
            Self::DENIED => "denied",
            Self(n) => return write!(f, "status {n}"),
        })
    }
}
