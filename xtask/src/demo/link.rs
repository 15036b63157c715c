//! What joins the demo's two processes, and how the `luna` command is told: the only place that knows `--nic`.

use std::path::Path;

use crate::netns::{End, PREFIX_LEN, VethPair};

#[cfg(test)]
mod tests;

/// A way from client to server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Link {
    /// Luna over DPDK's AF_XDP port on each end of the veth pair
    AfXdp,
    /// Luna over DPDK's shared-memory port, zero-copy
    Memif,
    /// Luna over DPDK's virtio_user and vhost ports
    Virtio,
    /// Kernel TCP over the veth pair, offloads off: the same packets as Luna's
    Kernel,
    /// Kernel TCP over the veth pair, offloads on: 64 KiB super-packets, no checksums
    KernelOffloads,
}

/// Which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// Server and client addresses on the shared-memory links, where no kernel has one.
const SHARED: [&str; 2] = ["198.18.1.1", "198.18.1.2"];
/// Hardware addresses there.
const SHARED_MAC: [&str; 2] = ["02:4c:55:4e:42:01", "02:4c:55:4e:42:02"];
/// Outside the kernel's ephemeral range.
const PORT: u16 = 7480;

impl Link {
    /// In the order of the demo; the baseline comes last.
    pub(crate) const ALL: [Self; 5] = [Self::AfXdp, Self::Memif, Self::Virtio, Self::Kernel, Self::KernelOffloads];

    /// For people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::AfXdp => "Luna, AF_XDP on veth",
            Self::Memif => "Luna, memif zero-copy",
            Self::Virtio => "Luna, virtio_user + vhost",
            Self::Kernel => "kernel TCP, veth",
            Self::KernelOffloads => "kernel TCP, veth, offloads",
        }
    }

    /// Whether Luna's stack is at work.
    pub(crate) fn is_luna(self) -> bool {
        !matches!(self, Self::Kernel | Self::KernelOffloads)
    }

    /// The namespace that `side` runs in; none for shared memory.
    pub(crate) fn end(self, veth: &VethPair, side: Side) -> Option<&End> {
        match (self, side) {
            (Self::Memif | Self::Virtio, _) => None,
            (_, Side::Server) => Some(&veth.server),
            (_, Side::Client) => Some(&veth.client),
        }
    }

    /// Where the server listens and the client connects.
    pub(crate) fn endpoint(self, veth: &VethPair) -> String {
        let address = self.end(veth, Side::Server).map_or(SHARED[0], |end| end.address);
        format!("{address}:{PORT}")
    }

    /// The arguments that choose port and stack. `socket` names the shared-memory link's socket.
    pub(crate) fn arguments(self, veth: &VethPair, side: Side, socket: &Path) -> Vec<String> {
        let (own, peer) = match side {
            Side::Server => (0, 1),
            Side::Client => (1, 0),
        };
        let shared = format!(
            "addr={}/{PREFIX_LEN},mac={},peer={}@{}",
            SHARED[own], SHARED_MAC[own], SHARED[peer], SHARED_MAC[peer]
        );
        let nic = match self {
            Self::Kernel | Self::KernelOffloads => return vec!["--stack".into(), "kernel".into()],
            Self::AfXdp => {
                let ends = [&veth.server, &veth.client];
                format!(
                    "af_xdp:iface={},addr={}/{PREFIX_LEN},peer={}@{}",
                    ends[own].interface, ends[own].address, ends[peer].address, ends[peer].mac
                )
            }
            Self::Memif => {
                let role = if side == Side::Server { "server" } else { "client" };
                format!("memif:socket={},role={role},{shared}", socket.display())
            }
            Self::Virtio => {
                let role = if side == Side::Server { "vhost" } else { "user" };
                format!("virtio:path={},role={role},{shared}", socket.display())
            }
        };
        vec!["--nic".into(), nic]
    }
}
