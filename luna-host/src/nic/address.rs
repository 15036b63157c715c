//! Addresses of a port: its own, its peers', its gateway.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use luna_core::wire::MacAddr;

use super::NicError;

/// An address with the length of its network's prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cidr {
    /// The address.
    pub ip: IpAddr,
    /// Leading bits that all neighbours share.
    pub prefix: u8,
}

/// A neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// Its hardware address, where it is not to be learned.
    pub mac: Option<MacAddr>,
}

/// What a port is called and whom it reaches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Net {
    /// Its own address.
    pub addr: Cidr,
    /// Neighbours known from the start.
    pub peers: Vec<Peer>,
    /// Next hop to everything else.
    pub gateway: Option<IpAddr>,
    /// VLAN that all frames carry.
    pub vlan: Option<u16>,
    /// Hardware address, where the port lets it be chosen.
    pub mac: Option<MacAddr>,
}

impl Cidr {
    /// Whether `ip` is a neighbour.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let differ = match (self.ip, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
            (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
            _ => return false,
        };
        differ.leading_zeros() >= u32::from(self.prefix)
    }
}

impl Net {
    /// Refuses what cannot work.
    pub(super) fn check(&self) -> Result<(), NicError> {
        let bad = |key, value: String, want| Err(NicError::Value { key, value, want });
        if let Some(vlan) = self.vlan
            && !(1..=4094).contains(&vlan)
        {
            return bad("vlan", vlan.to_string(), "a number from 1 to 4094");
        }
        if let Some(mac) = self.mac
            && !mac.is_unicast()
        {
            return bad("mac", mac.to_string(), "the address of one station, as 02:4c:75:6e:61:01");
        }
        if let Some(gateway) = self.gateway
            && !self.addr.contains(gateway)
        {
            return bad("gateway", gateway.to_string(), "an address in the port's own network");
        }
        for peer in &self.peers {
            if !self.addr.contains(peer.ip) {
                return bad("peer", peer.to_string(), "an address in the port's own network; others need gateway=");
            }
            if peer.ip == self.addr.ip {
                return bad("peer", peer.to_string(), "another address than the port's own");
            }
            if peer.mac.is_some_and(|mac| !mac.is_unicast()) {
                return bad("peer", peer.to_string(), "the hardware address of one station behind the @");
            }
        }
        Ok(())
    }
}

impl FromStr for Cidr {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (ip, prefix) = text.split_once('/').ok_or(())?;
        let ip: IpAddr = ip.parse().map_err(|_| ())?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.parse().ok().filter(|p| (1..=most).contains(p)).ok_or(())?;
        if ip.is_unspecified() || ip.is_multicast() {
            return Err(());
        }
        Ok(Self { ip, prefix })
    }
}

impl FromStr for Peer {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (ip, mac) = match text.split_once('@') {
            Some((ip, mac)) => (ip, Some(mac.parse().map_err(|_| ())?)),
            None => (text, None),
        };
        Ok(Self { ip: ip.parse().map_err(|_| ())?, mac })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ip)?;
        self.mac.map_or(Ok(()), |mac| write!(f, "@{mac}"))
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "addr={}", self.addr)?;
        for peer in &self.peers {
            write!(f, ",peer={peer}")?;
        }
        if let Some(gateway) = self.gateway {
            write!(f, ",gateway={gateway}")?;
        }
        if let Some(vlan) = self.vlan {
            write!(f, ",vlan={vlan}")?;
        }
        self.mac.map_or(Ok(()), |mac| write!(f, ",mac={mac}"))
    }
}
