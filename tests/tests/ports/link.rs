//! Ways from a client to a server, and how the command is told of them.

use std::path::PathBuf;

use crate::luna::Work;
use crate::netns::{INTERFACE, Namespaces};

/// Outside the kernel's ephemeral ports.
pub(crate) const PORT: u16 = 7480;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    AfXdp,
    Memif,
    Virtio,
    VirtioV6,
    Kernel,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Server,
    Client,
}

/// A pair of places: two namespaces joined by veth, or one socket.
pub(crate) struct Link {
    kinds: [Kind; 2],
    namespaces: Option<Namespaces>,
    pub(crate) work: Work,
}

impl Link {
    /// Both ends of the same kind.
    pub(crate) fn new(kind: Kind) -> Self {
        Self::mixed(kind, kind)
    }

    /// Ends of two kinds, joined by veth.
    pub(crate) fn mixed(server: Kind, client: Kind) -> Self {
        let over_veth = |kind| matches!(kind, Kind::AfXdp | Kind::Kernel);
        assert_eq!(over_veth(server), over_veth(client), "{server:?} and {client:?} never meet");
        let namespaces = over_veth(server).then(Namespaces::new);
        Self { kinds: [server, client], namespaces, work: Work::new() }
    }

    /// The socket of the shared-memory kinds.
    pub(crate) fn socket(&self) -> PathBuf {
        self.work.path("pair.sock")
    }

    pub(crate) fn namespace(&self, side: Side) -> Option<&str> {
        self.namespaces.as_ref().map(|both| both.names[side as usize].as_str())
    }

    pub(crate) fn address(&self, side: Side) -> String {
        let network = match self.kinds[0] {
            Kind::VirtioV6 => "fd4c:554e:41::",
            _ if self.namespaces.is_some() => "10.99.0.",
            _ => "198.18.1.",
        };
        format!("{network}{}", side as usize + 1)
    }

    /// Where the server listens.
    pub(crate) fn endpoint(&self) -> String {
        let address = self.address(Side::Server);
        if self.kinds[0] == Kind::VirtioV6 { format!("[{address}]:{PORT}") } else { format!("{address}:{PORT}") }
    }

    /// Port and stack of one side.
    pub(crate) fn transport(&self, side: Side) -> [String; 2] {
        let kind = self.kinds[side as usize];
        let (role, other) = match side {
            Side::Server => (["server", "vhost"], Side::Client),
            Side::Client => (["client", "user"], Side::Server),
        };
        let prefix = if kind == Kind::VirtioV6 { 64 } else { 24 };
        let net = format!("addr={}/{prefix},peer={}", self.address(side), self.address(other));
        let socket = self.socket();
        let nic = match kind {
            Kind::Kernel => return ["--stack".into(), "kernel".into()],
            // No hardware address: the kernel's neighbour table has it.
            Kind::AfXdp => format!("af_xdp:iface={INTERFACE},{net}"),
            Kind::Memif => format!("memif:socket={},role={},{net}", socket.display(), role[0]),
            Kind::Virtio | Kind::VirtioV6 => format!("virtio:path={},role={},{net}", socket.display(), role[1]),
        };
        ["--nic".into(), nic]
    }
}
