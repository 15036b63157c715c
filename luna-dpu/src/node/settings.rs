//! Settings of a node as words of a command line, beside the interface's own ([`crate::control::NetArgs`]).
//!
//! | word | what |
//! | --- | --- |
//! | `listen=7480` | port of the echo service; 0 for none |
//! | `until=3` | stop when so many connections have come and gone; 0: never |
//! | `connect=10.0.0.1:7480` | run the benchmark against a server, then stop |
//! | `peer=10.0.0.1@02:00:00:00:00:01` | where a neighbour is that answers no ARP; may be repeated |
//! | `size=4096` | payload of its requests |
//! | `count=1000` | how many |
//! | `depth=1` | how many in flight |
//! | `verify=off` | do not compare what comes back |
//! | `patience=60` | seconds that this may take |
//! | `loss=10` | lose so many of a thousand frames, each way |
//! | `tcp=datacenter` | its presets for connections; else those that suit Linux (`interop`) |
//! | `cores=2` | stacks, each on a core with a queue of its own; queue N leads to the peer's queue N |
//! | `nap=off` | do not sleep for some 50 us when nothing happens: for cores that are shared with nobody |
//! | `rings=split` | no packed rings |
//! | `events=off` | no event index |
//! | `checksum=off` | no checksums by the device |
//! | `die=panic` | panic at once, or `fault`: touch memory that is none, to see what the board says of it; or `stray`: have the NIC write where it must not; or `device`: have it break down once, and go on |
//! | `transport=pci` | only a device behind PCI, or only behind MMIO |

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

use luna_core::rpc::MAX_GATHER;
use luna_core::wire::MacAddr;

use crate::control::parse_ip;
use crate::parts::{CLIENT, LOSS, PACKED};

/// Which rings a device is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rings {
    /// Packed where it offers them.
    Best,
    /// Split.
    Split,
}

/// Whom connections are set for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peers {
    /// Whoever comes, Linux too: [`luna_core::tcp::TcpConfig::INTEROP`].
    Any,
    /// Luna in the same data centre: [`luna_core::tcp::TcpConfig::DATACENTER`].
    Luna,
}

/// How an image is to end, to see what the board says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Die {
    /// By a panic.
    Panic,
    /// By a data abort.
    Fault,
    /// By a NIC that writes where it must not: not at once, but when a frame arrives.
    Stray,
    /// Not at all: the NIC is given what none takes after some frames, and is to be started again.
    Device,
}

/// Where a device is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transports {
    /// MMIO first, then PCI.
    Any,
    /// Behind MMIO registers.
    Mmio,
    /// Behind PCI.
    Pci,
}

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Port of the echo service; 0 for none.
    pub listen: u16,
    /// Stop after so many connections; 0: never.
    pub until: u32,
    /// The benchmark's server.
    pub connect: Option<SocketAddr>,
    /// Neighbours that are known.
    pub peers: [Option<(IpAddr, MacAddr)>; MAX_PEERS],
    /// Payload bytes.
    pub size: u32,
    /// Requests.
    pub count: u32,
    /// Requests in flight.
    pub depth: u16,
    /// Compare what comes back.
    pub verify: bool,
    /// Seconds that a benchmark may take.
    pub patience: u32,
    /// Of a thousand frames, so many are lost, each way.
    pub loss: u16,
    /// Settings of connections.
    pub tcp: Peers,
    /// Cores.
    pub cores: u16,
    /// Sleep for short when nothing happens, where the board can.
    pub nap: bool,
    /// Rings.
    pub rings: Rings,
    /// Event index.
    pub events: bool,
    /// Checksums by the device.
    pub checksum: bool,
    /// Transports.
    pub transports: Transports,
    /// Die.
    pub die: Option<Die>,
}

/// Most neighbours that are known from the start.
const MAX_PEERS: usize = 4;

/// Most requests in flight.
pub(crate) const MAX_DEPTH: u16 = 64;

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: 7480,
            until: 0,
            connect: None,
            peers: [None; MAX_PEERS],
            size: 4096,
            count: 1000,
            depth: 1,
            verify: true,
            patience: 60,
            loss: 0,
            tcp: Peers::Any,
            cores: 1,
            nap: true,
            rings: Rings::Best,
            events: true,
            checksum: true,
            transports: Transports::Any,
            die: None,
        }
    }
}

/// A word that is not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SettingsError<'a> {
    /// The word.
    pub word: &'a str,
    /// What it should be.
    pub expected: &'static str,
}

impl fmt::Display for SettingsError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' in the boot arguments: expected {}", self.word, self.expected)
    }
}

impl core::error::Error for SettingsError<'_> {}

fn number<T: FromStr + PartialOrd>(text: &str, least: T, most: T) -> Option<T> {
    text.parse().ok().filter(|n| (least..=most).contains(n))
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// `IP@MAC`.
fn neighbor(text: &str) -> Option<(IpAddr, MacAddr)> {
    let (ip, mac) = text.split_once('@')?;
    let mut bytes = [0; 6];
    let mut parts = mac.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|p| p.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some((parse_ip(ip)?, MacAddr(bytes)))
}

impl Settings {
    /// Reads a command line. Words with a dot in their name are somebody else's (`net.addr`).
    ///
    /// # Errors
    /// The first word that is not understood.
    pub fn parse(line: &str) -> Result<Self, SettingsError<'_>> {
        let mut s = Self::default();
        for word in line.split_ascii_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            if key.contains('.') {
                continue;
            }
            if let Some(expected) = s.set(key, value) {
                return Err(SettingsError { word, expected });
            }
        }
        Ok(s)
    }

    /// Sets one; what it should be, when it is not understood.
    fn set(&mut self, key: &str, value: &str) -> Option<&'static str> {
        fn into<T>(to: &mut T, value: Option<T>, expected: &'static str) -> Option<&'static str> {
            match value {
                Some(value) => {
                    *to = value;
                    None
                }
                None => Some(expected),
            }
        }
        match key {
            "listen" => into(&mut self.listen, value.parse().ok(), "listen=PORT, 0 for none"),
            "until" => into(&mut self.until, value.parse().ok(), "until=CONNECTIONS"),
            "connect" | "size" | "count" | "depth" | "verify" | "patience" if !CLIENT => {
                Some("no such word: this image has no client")
            }
            "connect" => into(&mut self.connect, value.parse().ok().map(Some), "connect=ADDRESS:PORT"),
            "peer" => {
                let free = self.peers.iter_mut().find(|p| p.is_none());
                match (free, neighbor(value)) {
                    (Some(free), Some(peer)) => {
                        *free = Some(peer);
                        None
                    }
                    _ => Some("peer=ADDRESS@MAC, at most 4"),
                }
            }
            "size" => into(&mut self.size, number(value, 1, MAX_GATHER), "size=BYTES, 1 to 65536"),
            "count" => into(&mut self.count, number(value, 1, u32::MAX), "count=REQUESTS"),
            "depth" => into(&mut self.depth, number(value, 1, MAX_DEPTH), "depth=REQUESTS, 1 to 64"),
            "verify" => into(&mut self.verify, switch(value), "verify=on or off"),
            "patience" => into(&mut self.patience, number(value, 1, 1 << 20), "patience=SECONDS"),
            "loss" if !LOSS => Some("no loss=: this image loses nothing"),
            "loss" => into(&mut self.loss, number(value, 0, 500), "loss=FRAMES of a thousand, at most 500"),
            "cores" => into(&mut self.cores, number(value, 1, 8), "cores=1 to 8"),
            "nap" => into(&mut self.nap, switch(value), "nap=on or off"),
            "events" => into(&mut self.events, switch(value), "events=on or off"),
            "checksum" => into(&mut self.checksum, switch(value), "checksum=on or off"),
            "tcp" => {
                let tcp = match value {
                    "interop" => Some(Peers::Any),
                    "datacenter" => Some(Peers::Luna),
                    _ => None,
                };
                into(&mut self.tcp, tcp, "tcp=interop or datacenter")
            }
            "rings" => {
                let rings = match value {
                    "packed" if PACKED => Some(Rings::Best),
                    "split" => Some(Rings::Split),
                    _ => None,
                };
                into(&mut self.rings, rings, "rings=packed or split")
            }
            "die" => {
                let die = match value {
                    "panic" => Some(Die::Panic),
                    "fault" => Some(Die::Fault),
                    "stray" => Some(Die::Stray),
                    "device" if LOSS => Some(Die::Device),
                    _ => None,
                };
                into(&mut self.die, die.map(Some), "die=panic, fault, stray or device")
            }
            "transport" => {
                let transports = match value {
                    "any" => Some(Transports::Any),
                    "mmio" => Some(Transports::Mmio),
                    "pci" => Some(Transports::Pci),
                    _ => None,
                };
                into(&mut self.transports, transports, "transport=any, mmio or pci")
            }
            _ => Some("a setting of the node (see luna_dpu::node) or net.SETTING"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(not(all(feature = "client", feature = "whole")), ignore = "needs client and whole")]
    fn words_are_read() {
        let s = Settings::parse(
            "net.addr=10.0.0.2/24 connect=10.0.0.1:7480 peer=10.0.0.1@02:00:00:00:00:af peer=fd00::1@02:00:00:00:00:AF size=65536 count=100 depth=16 verify=off loss=10 rings=split transport=pci cores=2 events=off checksum=off until=3 listen=0 patience=5 tcp=datacenter nap=off die=stray",
        );
        let s = s.unwrap();
        assert_eq!(s.connect, "10.0.0.1:7480".parse().ok());
        let mac = MacAddr([2, 0, 0, 0, 0, 0xaf]);
        assert_eq!(s.peers[..2], [Some(("10.0.0.1".parse().unwrap(), mac)), Some(("fd00::1".parse().unwrap(), mac))]);
        assert_eq!((s.size, s.count, s.depth, s.verify, s.loss), (65_536, 100, 16, false, 10));
        assert_eq!((s.rings, s.transports, s.cores, s.tcp), (Rings::Split, Transports::Pci, 2, Peers::Luna));
        assert_eq!((s.events, s.checksum, s.nap, s.until, s.listen, s.patience), (false, false, false, 3, 0, 5));
        assert_eq!(s.die, Some(Die::Stray));
        assert_eq!(Settings::parse(""), Ok(Settings::default()));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for word in [
            "size=0",
            "size=65537",
            "connect=there",
            "depth=65",
            "loss=501",
            "cores=0",
            "rings=round",
            "tcp=rfc",
            "verify",
            "quiet",
        ] {
            assert_eq!(Settings::parse(word).unwrap_err().word, word);
        }
    }
}
