//! What a script says, as data. Sequence numbers are the script's own throughout: the runner maps them.

use core::ops::Range;
use core::time::Duration;

use super::expr::Statement;

/// A whole script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// `--name=value`, in order.
    pub settings: Vec<Setting>,
    /// What happens, in order.
    pub events: Vec<Event>,
}

/// One `--name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Byte offset of its first dash.
    pub at: usize,
    /// Name without the dashes.
    pub name: String,
    /// All behind the equals sign; empty without one.
    pub value: String,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its bytes in the script.
    pub text: Range<usize>,
    /// When.
    pub time: Time,
    /// What.
    pub action: Action,
}

/// When an event happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// `*`: whenever it does.
    Any,
    /// `1.5` or `1.5~1.6`: since the script began.
    Absolute(Duration, Duration),
    /// `+.5` or `+.5~+.6`: since the event before.
    Relative(Duration, Duration),
    /// `1.5...1.7` or `+0...0.2`: a call that waits, from when to when. True: relative.
    Waits(bool, Duration, Duration),
}

/// What an event is.
#[derive(Clone, Debug)]
pub enum Action {
    /// `<`: this arrives.
    Inbound(Packet),
    /// `>`: this must be sent.
    Outbound(Packet),
    /// A call of the application.
    Call(Call),
    /// `%{ ... }%`.
    Check(Vec<Statement>),
}

/// A packet, to be built or to be expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Which connection's addresses and ports: `#2` is another remote port. 1 unless said.
    pub flow: u8,
    /// The IP header's part.
    pub ip: IpFields,
    /// TCP or ICMP.
    pub body: Body,
}

/// What a script may say of the IP header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpFields {
    /// ECN field; `None`: not ECT, or not looked at.
    pub ecn: Option<Ecn>,
    /// TTL or hop limit; `None`: 255, or not looked at.
    pub ttl: Option<u8>,
    /// IPv6 extension headers in order.
    pub extensions: Vec<u8>,
    /// IPv4: the don't-fragment bit is expected (or set).
    pub df: Option<bool>,
    /// It claims to be a fragment that others follow.
    pub more_fragments: bool,
    /// Source address instead of the remote's.
    pub src: Option<core::net::IpAddr>,
    /// Destination address instead of ours.
    pub dst: Option<core::net::IpAddr>,
    /// Source port instead of the flow's.
    pub sport: Option<u16>,
    /// Destination port instead of the flow's.
    pub dport: Option<u16>,
}

/// The ECN field (RFC 3168 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecn {
    /// `noecn`.
    NotEct,
    /// `ect1`.
    Ect1,
    /// `ect0`.
    Ect0,
    /// `ect01`: either.
    Ect01,
    /// `ce`.
    Ce,
}

impl Ecn {
    /// The two bits; ECT(0) for either.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::NotEct => 0,
            Self::Ect1 => 1,
            Self::Ect0 | Self::Ect01 => 2,
            Self::Ce => 3,
        }
    }

    /// Of the two bits.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }
}

/// What the IP packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A segment.
    Tcp(Segment),
    /// An error message about one of our segments.
    Icmp(Icmp),
}

/// A TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Bits of the header's bytes 12 (its lowest, AE) and 13.
    pub flags: u16,
    /// First sequence number.
    pub seq: u32,
    /// Payload bytes.
    pub len: u32,
    /// Acknowledgment number.
    pub ack: Option<u32>,
    /// Window as on the wire, not scaled; `None`: not looked at.
    pub win: Option<u16>,
    /// Urgent pointer.
    pub urg: Option<u16>,
    /// Options; `None`: `<...>`, not looked at.
    pub options: Option<Vec<TcpOption>>,
    /// What the payload repeats, instead of the stream's pattern.
    pub data: Option<Vec<u8>>,
    /// What is wrong with it.
    pub damage: Damage,
}

/// Ways to break an arriving segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// A wrong checksum.
    pub checksum: bool,
    /// Another data offset, in words.
    pub data_offset: Option<u8>,
    /// Cut off behind this many bytes of the TCP segment, the IP length with it.
    pub cut: Option<u16>,
}

/// Flag letters in the order of the wire, lowest bit first.
pub const FLAG_LETTERS: [char; 9] = ['F', 'S', 'R', 'P', '.', 'U', 'E', 'W', 'A'];

/// The ACK bit.
pub const ACK: u16 = 0x10;
/// The PSH bit.
pub const PSH: u16 = 0x08;
/// The SYN bit.
pub const SYN: u16 = 0x02;
/// The RST bit.
pub const RST: u16 = 0x04;
/// The FIN bit.
pub const FIN: u16 = 0x01;

/// A TCP option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpOption {
    /// End of options.
    Eol,
    /// No operation.
    Nop,
    /// Maximum segment size.
    Mss(u16),
    /// Window scale.
    WindowScale(u8),
    /// SACK permitted.
    SackOk,
    /// SACK blocks: first byte, and the one behind the last.
    Sack(Vec<(u32, u32)>),
    /// TSval and TSecr; `None`: `*`, not looked at.
    Timestamps(Option<u32>, Option<u32>),
    /// Bytes as they are.
    Raw(Vec<u8>),
}

/// An ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Type, of ICMP or ICMPv6.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Next hop's MTU.
    pub mtu: Option<u32>,
    /// Sequence number of our segment that it quotes.
    pub seq: u32,
    /// Payload bytes that the quoted segment had.
    pub len: u32,
}

/// A call and what it must return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Function.
    pub name: String,
    /// Arguments.
    pub args: Vec<Arg>,
    /// Result.
    pub result: i64,
    /// Error that goes with -1.
    pub errno: Option<String>,
}

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// `...`.
    Ellipsis,
    /// A number.
    Int(i64),
    /// A string.
    Str(Vec<u8>),
    /// Names joined by `|`.
    Names(Vec<String>),
    /// `[a, b]`.
    List(Vec<Self>),
    /// `{name=value, ...}`.
    Struct(Vec<(String, Self)>),
}
