//! `--nic`: which port a stack runs on, as text and as types.
//!
//! `KIND[:KEY=VALUE,...]`. Every kind but `mem` needs the `dpdk` feature; the text is parsed without it all the same, so
//! that a mistake in it and a missing feature are told apart.

mod address;

use core::fmt;
use core::str::FromStr;
use std::path::PathBuf;

use luna_core::wire::MacAddr;

pub use address::{Cidr, Net, Peer};

/// Help text of `--nic`.
pub const SYNTAX: &str = "\
mem[:mtu=N,checksums=port|software]
af_xdp:iface=IF,addr=IP/LEN,peer=IP[@MAC]
memif:socket=PATH,role=server|client,addr=IP/LEN,peer=IP[@MAC]
virtio:path=PATH,role=vhost|user[,tso=on|off][,iommu=on|off],addr=IP/LEN,peer=IP[@MAC]
The last three also take mac=MAC, gateway=IP, vlan=ID, and peer= more than once";

/// Where Luna's services listen unless told otherwise: outside the kernel's ephemeral ports.
pub const DEFAULT_PORT: u16 = 7480;

/// Largest MTU of the in-memory pair: jumbo frames.
const MAX_MTU: u16 = 9_000;
/// Smallest: what IPv6 needs.
const MIN_MTU: u16 = 1_280;

/// A port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Nic {
    /// The in-memory pair: both ends in this process.
    Mem {
        /// Largest IP packet.
        mtu: u16,
        /// Whether the stacks sum up what they send and receive; otherwise the link is as NICs that do.
        checksums: bool,
    },
    /// A kernel interface over AF_XDP; the kernel keeps all traffic that is not Luna's.
    AfXdp {
        /// Name of the interface.
        iface: String,
        /// Addresses; those of the interface itself, shared with the kernel.
        net: Net,
    },
    /// Shared memory between two processes.
    Memif {
        /// Unix socket by which they meet.
        socket: PathBuf,
        /// Which of the two this is.
        role: MemifRole,
        /// Addresses.
        net: Net,
    },
    /// virtio rings in shared memory between two processes.
    Virtio {
        /// Unix socket by which they meet.
        path: PathBuf,
        /// Which of the two this is.
        role: VirtioRole,
        /// Whether frames larger than the MTU may be sent (TSO): by the user side, if the vhost side agrees.
        tso: bool,
        /// Whether the driver's addresses may be an IOMMU's, of its machine: the vhost side then asks it for each.
        iommu: bool,
        /// Addresses.
        net: Net,
    },
}

/// Sides of a memif pair. The server is started first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemifRole {
    /// Makes the socket.
    Server,
    /// Connects to it, and shares its memory (zero copy).
    Client,
}

/// Sides of a virtio pair. The vhost side is started first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VirtioRole {
    /// The device: `net_vhost`, makes the socket.
    Vhost,
    /// The driver: `virtio_user`, shares its memory.
    User,
}

/// What is wrong with a `--nic` text, and what would be right.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NicError {
    /// No such kind.
    #[error("unknown port kind '{0}': use mem, af_xdp, memif or virtio")]
    Kind(String),
    /// Not KEY=VALUE.
    #[error("'{0}' is not KEY=VALUE")]
    NotPair(String),
    /// A key that this kind does not take.
    #[error("{kind} takes no '{key}'; it takes {takes}")]
    UnknownKey {
        /// Kind of port.
        kind: &'static str,
        /// What was given.
        key: String,
        /// What may be given.
        takes: &'static str,
    },
    /// A key given twice.
    #[error("'{0}' is given twice")]
    Twice(String),
    /// A key that must be there.
    #[error("{kind} needs {key}=, for example {example}")]
    Missing {
        /// Kind of port.
        kind: &'static str,
        /// What is missing.
        key: &'static str,
        /// A whole text that works.
        example: &'static str,
    },
    /// A value of the wrong form.
    #[error("'{value}' is no {key}: {want}")]
    Value {
        /// Its key.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is expected.
        want: &'static str,
    },
    /// This build has no DPDK.
    #[error(
        "this luna was built without DPDK, so it has only --nic mem: run `cargo xtask setup` once, then build with \
         `--features dpdk`"
    )]
    NoDpdk,
}

const AF_XDP_EXAMPLE: &str = "af_xdp:iface=veth0,addr=10.9.0.2/24,peer=10.9.0.1";
const MEMIF_EXAMPLE: &str = "memif:socket=/tmp/luna.sock,role=server,addr=10.9.0.1/24,peer=10.9.0.2";
const VIRTIO_EXAMPLE: &str = "virtio:path=/tmp/luna.sock,role=vhost,addr=10.9.0.1/24,peer=10.9.0.2";

impl Default for Nic {
    fn default() -> Self {
        Self::Mem { mtu: 1_500, checksums: false }
    }
}

impl Nic {
    /// Its kind, as in the text.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Mem { .. } => "mem",
            Self::AfXdp { .. } => "af_xdp",
            Self::Memif { .. } => "memif",
            Self::Virtio { .. } => "virtio",
        }
    }

    /// Its addresses; the in-memory pair brings its own.
    #[must_use]
    pub fn net(&self) -> Option<&Net> {
        match self {
            Self::Mem { .. } => None,
            Self::AfXdp { net, .. } | Self::Memif { net, .. } | Self::Virtio { net, .. } => Some(net),
        }
    }

    /// The hardware addresses of a shared-memory pair when none are given: the listening side's, the other's. Both are
    /// locally administered ("02") and spell "Luna".
    pub const MEM_MACS: (MacAddr, MacAddr) =
        (MacAddr([0x02, 0x4c, 0x75, 0x6e, 0x61, 0x01]), MacAddr([0x02, 0x4c, 0x75, 0x6e, 0x61, 0x02]));

    /// This side's hardware address and the other's, when none are given; none on an interface, which has its own.
    #[must_use]
    pub fn default_macs(&self) -> Option<(MacAddr, MacAddr)> {
        let (first, second) = Self::MEM_MACS;
        match self {
            Self::Mem { .. }
            | Self::Memif { role: MemifRole::Server, .. }
            | Self::Virtio { role: VirtioRole::Vhost, .. } => Some((first, second)),
            Self::Memif { role: MemifRole::Client, .. } | Self::Virtio { role: VirtioRole::User, .. } => {
                Some((second, first))
            }
            Self::AfXdp { .. } => None,
        }
    }

    /// Whether this build can open it.
    ///
    /// # Errors
    /// [`NicError::NoDpdk`].
    pub fn supported(&self) -> Result<(), NicError> {
        if cfg!(feature = "dpdk") || matches!(self, Self::Mem { .. }) { Ok(()) } else { Err(NicError::NoDpdk) }
    }
}

/// The KEY=VALUE pairs of one text, taken out one by one.
struct Pairs<'t>(Vec<(&'t str, &'t str)>);

impl<'t> Pairs<'t> {
    fn parse(text: &'t str) -> Result<Self, NicError> {
        let mut pairs = Vec::new();
        for pair in text.split(',').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| NicError::NotPair(pair.into()))?;
            if key != "peer" && pairs.iter().any(|(k, _)| *k == key) {
                return Err(NicError::Twice(key.into()));
            }
            pairs.push((key, value));
        }
        Ok(Self(pairs))
    }

    fn take(&mut self, key: &str) -> Option<&'t str> {
        let at = self.0.iter().position(|(k, _)| *k == key)?;
        Some(self.0.remove(at).1)
    }

    fn need(&mut self, kind: &'static str, key: &'static str, example: &'static str) -> Result<&'t str, NicError> {
        self.take(key).filter(|v| !v.is_empty()).ok_or(NicError::Missing { kind, key, example })
    }

    fn parsed<T: FromStr>(&mut self, key: &'static str, want: &'static str) -> Result<Option<T>, NicError> {
        self.take(key).map(|value| value_of(key, value, want)).transpose()
    }

    fn net(&mut self, kind: &'static str, example: &'static str) -> Result<Net, NicError> {
        let addr = value_of("addr", self.need(kind, "addr", example)?, "an address with its prefix, as 10.9.0.1/24")?;
        let mut peers = Vec::new();
        while let Some(peer) = self.take("peer") {
            peers.push(value_of("peer", peer, "an address, or address@MAC, as 10.9.0.2@02:4c:75:6e:61:02")?);
        }
        let net = Net {
            addr,
            peers,
            gateway: self.parsed("gateway", "an IP address")?,
            vlan: self.parsed("vlan", "a number from 1 to 4094")?,
            mac: self.parsed("mac", "a MAC address, as 02:4c:75:6e:61:01")?,
        };
        net.check()?;
        Ok(net)
    }

    fn end(self, kind: &'static str, takes: &'static str) -> Result<(), NicError> {
        match self.0.first() {
            Some((key, _)) => Err(NicError::UnknownKey { kind, key: (*key).into(), takes }),
            None => Ok(()),
        }
    }
}

fn value_of<T: FromStr>(key: &'static str, value: &str, want: &'static str) -> Result<T, NicError> {
    value.parse().map_err(|_| NicError::Value { key, value: value.into(), want })
}

impl FromStr for Nic {
    type Err = NicError;

    fn from_str(text: &str) -> Result<Self, NicError> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let mut pairs = Pairs::parse(rest)?;
        match kind {
            "mem" => {
                const WANT: &str = "a number from 1280 to 9000";
                let mtu = pairs.parsed("mtu", WANT)?.unwrap_or(1_500);
                if !(MIN_MTU..=MAX_MTU).contains(&mtu) {
                    return Err(NicError::Value { key: "mtu", value: mtu.to_string(), want: WANT });
                }
                let checksums = match pairs.take("checksums") {
                    None | Some("port") => false,
                    Some("software") => true,
                    Some(other) => {
                        return Err(NicError::Value {
                            key: "checksums",
                            value: other.into(),
                            want: "port or software",
                        });
                    }
                };
                pairs.end("mem", "mtu, checksums")?;
                Ok(Self::Mem { mtu, checksums })
            }
            "af_xdp" => {
                let iface: String = pairs.need("af_xdp", "iface", AF_XDP_EXAMPLE)?.into();
                // What the kernel allows in a name (and so nothing that could leave the text given to DPDK).
                if iface.len() > 15 || iface.bytes().any(|b| !b.is_ascii_graphic() || b == b'/' || b == b':') {
                    let want = "the name of an interface, as `ip link` shows it";
                    return Err(NicError::Value { key: "iface", value: iface, want });
                }
                let net = pairs.net("af_xdp", AF_XDP_EXAMPLE)?;
                pairs.end("af_xdp", "iface, addr, peer, mac, gateway, vlan")?;
                Ok(Self::AfXdp { iface, net })
            }
            "memif" => {
                let socket = socket_path("socket", pairs.need("memif", "socket", MEMIF_EXAMPLE)?)?;
                let role = value_of("role", pairs.need("memif", "role", MEMIF_EXAMPLE)?, "server or client")?;
                let net = pairs.net("memif", MEMIF_EXAMPLE)?;
                pairs.end("memif", "socket, role, addr, peer, mac, gateway, vlan")?;
                Ok(Self::Memif { socket, role, net })
            }
            "virtio" => {
                let path = socket_path("path", pairs.need("virtio", "path", VIRTIO_EXAMPLE)?)?;
                let role = value_of("role", pairs.need("virtio", "role", VIRTIO_EXAMPLE)?, "vhost or user")?;
                let mut switch = |key, usual| match pairs.take(key) {
                    None => Ok(usual),
                    Some("on") => Ok(true),
                    Some("off") => Ok(false),
                    Some(other) => Err(NicError::Value { key, value: other.into(), want: "on or off" }),
                };
                let (tso, iommu) = (switch("tso", true)?, switch("iommu", false)?);
                let net = pairs.net("virtio", VIRTIO_EXAMPLE)?;
                pairs.end("virtio", "path, role, tso, iommu, addr, peer, mac, gateway, vlan")?;
                Ok(Self::Virtio { path, role, tso, iommu, net })
            }
            other => Err(NicError::Kind(other.into())),
        }
    }
}

/// A path that fits `sockaddr_un`.
fn socket_path(key: &'static str, value: &str) -> Result<PathBuf, NicError> {
    if value.len() > 107 {
        return Err(NicError::Value { key, value: value.into(), want: "at most 107 bytes, as Unix sockets allow" });
    }
    Ok(value.into())
}

impl FromStr for MemifRole {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "server" => Ok(Self::Server),
            "client" => Ok(Self::Client),
            _ => Err(()),
        }
    }
}

impl FromStr for VirtioRole {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "vhost" => Ok(Self::Vhost),
            "user" => Ok(Self::User),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Nic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mem { mtu, checksums: false } => write!(f, "mem:mtu={mtu}"),
            Self::Mem { mtu, checksums: true } => write!(f, "mem:mtu={mtu},checksums=software"),
            Self::AfXdp { iface, net } => write!(f, "af_xdp:iface={iface},{net}"),
            Self::Memif { socket, role, net } => {
                let role = if *role == MemifRole::Server { "server" } else { "client" };
                write!(f, "memif:socket={},role={role},{net}", socket.display())
            }
            Self::Virtio { path, role, tso, iommu, net } => {
                let role = if *role == VirtioRole::Vhost { "vhost" } else { "user" };
                let tso = if *tso { "" } else { "tso=off," };
                let iommu = if *iommu { "iommu=on," } else { "" };
                write!(f, "virtio:path={},role={role},{tso}{iommu}{net}", path.display())
            }
        }
    }
}

#[cfg(test)]
mod tests;
