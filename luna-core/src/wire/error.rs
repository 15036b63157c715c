//! Why a received packet was refused. Each reason has an index, so that drops are counted by reason.

use core::fmt;

macro_rules! parse_errors {
    ($($(#[$doc:meta])* $name:ident, $key:literal => $text:literal,)*) => {
        /// Why a packet was refused.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum ParseError { $($(#[$doc])* $name,)* }

        impl ParseError {
            /// All reasons, in the order of [`ParseError::index`].
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// One sentence.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The name of its counter.
            #[must_use]
            pub const fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }
        }
    };
}

parse_errors! {
    /// The bytes end inside a header.
    Short, "truncated" => "packet ends inside a header",
    /// The IP version is not that of the EtherType, or neither 4 nor 6.
    BadVersion, "bad_version" => "wrong IP version",
    /// The IPv4 header length is below 20 bytes or leaves the packet.
    BadHeaderLen, "bad_header_len" => "bad IPv4 header length",
    /// The IP length field is shorter than the headers or longer than the packet.
    BadTotalLen, "bad_total_len" => "bad IP length",
    /// An IP fragment: there is no reassembly.
    Fragment, "ip_fragment" => "IP fragment",
    /// The IPv4 header checksum is wrong.
    BadIpChecksum, "bad_ip_checksum" => "bad IPv4 header checksum",
    /// The TCP checksum is wrong.
    BadTcpChecksum, "bad_tcp_checksum" => "bad TCP checksum",
    /// The TCP data offset is below 20 bytes or leaves the packet.
    BadDataOffset, "bad_data_offset" => "bad TCP data offset",
    /// A TCP option has an impossible length.
    BadOption, "bad_option" => "malformed TCP option",
    /// Neither IPv4 nor IPv6.
    NotIp, "not_ip" => "not an IP packet",
    /// IP, but not TCP.
    NotTcp, "not_tcp" => "not a TCP segment",
    /// An IPv6 extension header is out of place, or holds an option that asks to be refused (RFC 8200 section 4.2).
    BadExtension, "bad_extension" => "bad IPv6 extension header",
    /// An IPv6 routing header of type 0 (RFC 5095), or one with segments left: we are not a router.
    RoutingHeader, "routing_header" => "IPv6 source routing",
    /// An ICMP error that is cut off, damaged, or quotes what we did not send.
    BadIcmp, "bad_icmp" => "bad ICMP error",
    /// More IPv6 extension headers than are followed.
    TooManyExtensions, "too_many_extensions" => "too many IPv6 extension headers",
    /// A telemetry shim whose lengths or checksum are wrong.
    BadShim, "bad_shim" => "bad telemetry shim",
}

impl ParseError {
    /// How many reasons there are: the length of a table of counters.
    pub const COUNT: usize = Self::ALL.len();

    /// The reason's place in a table of [`ParseError::COUNT`] counters.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for ParseError {}
