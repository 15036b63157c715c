//! Ethernet II with at most one 802.1Q tag. Stacked tags and 802.3 length frames are somebody else's: [`EtherType::Other`].

use core::fmt;
use core::str::FromStr;

use super::ParseError;
use super::bytes::{be16, put, take};

/// Length of an untagged header.
pub const HEADER_LEN: usize = 14;
/// Length of a header with an 802.1Q tag.
pub const TAGGED_HEADER_LEN: usize = 18;

const TPID_8021Q: u16 = 0x8100;

/// A 48-bit MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All stations.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit is set; true for broadcast as well.
    #[inline]
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it names one station: no group, not all zeros.
    #[must_use]
    pub fn is_unicast(self) -> bool {
        !self.is_multicast() && self != Self::default()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is not six two-digit hexadecimal numbers with colons between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MacAddrError;

impl fmt::Display for MacAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a MAC address of the form aa:bb:cc:dd:ee:ff")
    }
}

impl core::error::Error for MacAddrError {}

impl FromStr for MacAddr {
    type Err = MacAddrError;

    fn from_str(text: &str) -> Result<Self, MacAddrError> {
        let mut mac = [0; 6];
        let mut rest = text.as_bytes();
        for (nth, byte) in mac.iter_mut().enumerate() {
            if nth != 0 {
                rest = rest.strip_prefix(b":").ok_or(MacAddrError)?;
            }
            let (&[high, low], after) = rest.split_first_chunk().ok_or(MacAddrError)?;
            *byte = hex_digit(high)? << 4 | hex_digit(low)?;
            rest = after;
        }
        if rest.is_empty() { Ok(Self(mac)) } else { Err(MacAddrError) }
    }
}

fn hex_digit(digit: u8) -> Result<u8, MacAddrError> {
    char::from(digit).to_digit(16).map(|value| value as u8).ok_or(MacAddrError)
}

/// What an Ethernet frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum EtherType {
    /// 0x0800
    Ipv4,
    /// 0x86dd
    Ipv6,
    /// 0x0806
    Arp,
    /// Anything else, 802.3 lengths included.
    Other(u16),
}

impl From<u16> for EtherType {
    #[inline]
    fn from(value: u16) -> Self {
        match value {
            0x0800 => Self::Ipv4,
            0x86dd => Self::Ipv6,
            0x0806 => Self::Arp,
            other => Self::Other(other),
        }
    }
}

impl From<EtherType> for u16 {
    #[inline]
    fn from(value: EtherType) -> Self {
        match value {
            EtherType::Ipv4 => 0x0800,
            EtherType::Ipv6 => 0x86dd,
            EtherType::Arp => 0x0806,
            EtherType::Other(other) => other,
        }
    }
}

/// An Ethernet II header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EthernetHeader {
    /// Destination.
    pub dst: MacAddr,
    /// Source.
    pub src: MacAddr,
    /// The 802.1Q tag control information: priority (3 bits), drop eligibility (1), VLAN identifier (12).
    pub vlan: Option<u16>,
    /// The type behind the tag, if there is one.
    pub ethertype: EtherType,
    /// 14, or 18 with a tag.
    pub header_len: u8,
}

impl EthernetHeader {
    /// A header with the length that fits its tag.
    #[must_use]
    pub const fn new(dst: MacAddr, src: MacAddr, vlan: Option<u16>, ethertype: EtherType) -> Self {
        let header_len = if vlan.is_some() { TAGGED_HEADER_LEN } else { HEADER_LEN };
        Self { dst, src, vlan, ethertype, header_len: header_len as u8 }
    }

    /// Reads the header at the start of `frame`.
    ///
    /// # Errors
    /// [`ParseError::Short`].
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<Self, ParseError> {
        let (head, rest) = frame.split_first_chunk::<HEADER_LEN>().ok_or(ParseError::Short)?;
        let (dst, src) = (MacAddr(take::<0, 6, _>(head)), MacAddr(take::<6, 6, _>(head)));
        let outer = be16::<12, _>(head);
        if outer != TPID_8021Q {
            return Ok(Self::new(dst, src, None, EtherType::from(outer)));
        }
        let tag = rest.first_chunk::<4>().ok_or(ParseError::Short)?;
        Ok(Self::new(dst, src, Some(be16::<0, _>(tag)), EtherType::from(be16::<2, _>(tag))))
    }

    /// Writes the header and returns its length, which follows from `vlan`; 0 if `out` is too short.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> usize {
        let len = if self.vlan.is_some() { TAGGED_HEADER_LEN } else { HEADER_LEN };
        debug_assert!(out.len() >= len, "no room for an Ethernet header");
        let mut header = [0; TAGGED_HEADER_LEN];
        put::<0, 6, _>(&mut header, self.dst.0);
        put::<6, 6, _>(&mut header, self.src.0);
        let ethertype = u16::from(self.ethertype).to_be_bytes();
        if let Some(tci) = self.vlan {
            put::<12, 2, _>(&mut header, TPID_8021Q.to_be_bytes());
            put::<14, 2, _>(&mut header, tci.to_be_bytes());
            put::<16, 2, _>(&mut header, ethertype);
        } else {
            put::<12, 2, _>(&mut header, ethertype);
        }
        let (Some(out), Some(header)) = (out.get_mut(..len), header.get(..len)) else {
            return 0;
        };
        out.copy_from_slice(header);
        len
    }
}

#[cfg(test)]
mod tests;
