//! Settings of an interface as words of a command line: the device tree's `/chosen/bootargs`.
//!
//! | word | what |
//! | --- | --- |
//! | `net.addr=10.0.0.2/24` | an address; may be repeated, IPv6 too |
//! | `net.addr=dhcp` | one from DHCP as well |
//! | `net.gateway=10.0.0.1` | where packets go that leave every network; one for each family |
//! | `net.vlan=100` | 802.1Q VLAN |
//! | `net.detect=off` | take addresses without probing for them first |
//!
//! Words that do not begin with `net.` are somebody else's; one that does and is not understood is an error.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use luna_core::stack::{Cidr, MAX_ADDRS};

use crate::parts::IPV6;

/// Settings of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetArgs {
    /// Static addresses.
    pub addrs: heapless::Vec<Cidr, MAX_ADDRS>,
    /// Ask a DHCP server for an IPv4 address.
    pub dhcp: bool,
    /// Where IPv4 packets go that leave every network. It comes before what DHCP says.
    pub gateway_v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub gateway_v6: Option<Ipv6Addr>,
    /// 802.1Q tag control information.
    pub vlan: Option<u16>,
    /// Probe for addresses before they are used: takes an IPv4 address 5 to 7 s, an IPv6 address up to 2 s.
    pub detect: bool,
}

impl Default for NetArgs {
    fn default() -> Self {
        Self { addrs: heapless::Vec::new(), dhcp: false, gateway_v4: None, gateway_v6: None, vlan: None, detect: true }
    }
}

/// A word that is not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArgsError<'a> {
    /// The word.
    pub word: &'a str,
    /// What it should be.
    pub expected: &'static str,
}

impl fmt::Display for ArgsError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' in the boot arguments: expected {}", self.word, self.expected)
    }
}

impl core::error::Error for ArgsError<'_> {}

impl NetArgs {
    /// Reads a command line.
    ///
    /// # Errors
    /// The first word that begins with `net.` and is not understood.
    pub fn parse(line: &str) -> Result<Self, ArgsError<'_>> {
        let mut args = Self::default();
        for word in line.split_ascii_whitespace() {
            let Some(setting) = word.strip_prefix("net.") else { continue };
            let wrong = |expected| ArgsError { word, expected };
            let (key, value) = setting.split_once('=').ok_or(wrong("net.NAME=VALUE"))?;
            match key {
                "addr" if value == "dhcp" => args.dhcp = true,
                "addr" => {
                    let cidr = cidr(value).ok_or(wrong("net.addr=ADDRESS/PREFIX or net.addr=dhcp"))?;
                    args.addrs.push(cidr).map_err(|_| wrong("at most 8 addresses"))?;
                }
                "gateway" => match parse_ip(value).ok_or(wrong("net.gateway=ADDRESS"))? {
                    IpAddr::V4(ip) => args.gateway_v4 = Some(ip),
                    IpAddr::V6(ip) => args.gateway_v6 = Some(ip),
                },
                "vlan" => {
                    let vlan = value.parse().ok().filter(|v| (1..4095).contains(v));
                    args.vlan = Some(vlan.ok_or(wrong("net.vlan=1 to 4094"))?);
                }
                "detect" => {
                    args.detect = match value {
                        "on" => true,
                        "off" => false,
                        _ => return Err(wrong("net.detect=on or off")),
                    }
                }
                _ => return Err(wrong("net.addr, net.gateway, net.vlan or net.detect")),
            }
        }
        Ok(args)
    }
}

/// An address, of a family that this build has.
pub(crate) fn parse_ip(text: &str) -> Option<IpAddr> {
    if IPV6 { text.parse().ok() } else { text.parse().ok().map(IpAddr::V4) }
}

fn cidr(text: &str) -> Option<Cidr> {
    let (addr, prefix) = text.split_once('/')?;
    let addr = parse_ip(addr)?;
    let most = if addr.is_ipv4() { 32 } else { 128 };
    Some(Cidr { addr, prefix: prefix.parse().ok().filter(|p| *p <= most)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(not(feature = "ipv6"), ignore = "needs ipv6")]
    fn words_are_read_and_others_left_alone() {
        let args = NetArgs::parse(
            "console=ttyAMA0 net.addr=10.0.0.2/24 net.addr=fd00::2/64 net.addr=dhcp net.gateway=10.0.0.1 \
             net.gateway=fd00::1 net.vlan=100 net.detect=off role=echo",
        )
        .unwrap();
        assert_eq!(args.addrs.len(), 2);
        assert_eq!(args.addrs[0], Cidr { addr: "10.0.0.2".parse().unwrap(), prefix: 24 });
        assert_eq!((args.gateway_v4, args.gateway_v6), ("10.0.0.1".parse().ok(), "fd00::1".parse().ok()));
        assert_eq!((args.dhcp, args.vlan, args.detect), (true, Some(100), false));
        assert_eq!(NetArgs::parse("quiet").unwrap(), NetArgs::default());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for word in [
            "net.addr=10.0.0.2",
            "net.addr=10.0.0.2/33",
            "net.addr=fd00::/129",
            "net.addr=x/8",
            "net.gateway=there",
            "net.vlan=4095",
            "net.vlan=0",
            "net.detect=maybe",
            "net.adr=10.0.0.1/8",
            "net.addr",
        ] {
            assert_eq!(NetArgs::parse(word).unwrap_err().word, word);
        }
        let nine = "net.addr=10.0.0.1/8 ".repeat(9);
        assert!(NetArgs::parse(&nine).is_err());
    }
}
