//! The kernel's neighbour table, mirrored: the kernel owns ARP and ND, Luna only learns what they found.
//!
//! One thread per interface reads netlink: first a dump, then events for as long as somebody listens. A missing
//! neighbour is asked for by a datagram of ours to it, which makes the kernel resolve it; the answer is an event again.
//! Routes are not mirrored: a port knows its network and one gateway.

use core::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::io;
use std::net::UdpSocket;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use luna_core::wire::MacAddr;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr as NetlinkAddr};

/// RTNLGRP_NEIGH: changes of neighbours.
const NEIGHBOR_GROUP: u32 = 3;
/// Where the datagram that makes the kernel resolve goes: discard (RFC 863).
const DISCARD_PORT: u16 = 9;
/// Room for one netlink read; the kernel fills dumps up to 32 KiB.
const READ: usize = 64 << 10;

/// What the kernel knows of a neighbour now; `None`: it looked and found nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Update {
    /// Who.
    pub ip: IpAddr,
    /// Where.
    pub mac: Option<MacAddr>,
}

/// Why the table cannot be mirrored.
#[derive(Debug, thiserror::Error)]
pub enum NeighborError {
    /// No such interface.
    #[error("there is no network interface '{0}' here: `ip link` lists those that there are")]
    NoInterface(String),
    /// The interface does not have the address.
    #[error("interface {iface} does not have the address {ip}: `ip addr add {ip}/LEN dev {iface}` gives it ({source})")]
    NoAddress {
        /// Interface.
        iface: String,
        /// Address.
        ip: IpAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Netlink does not answer.
    #[error("the kernel's neighbour table cannot be read: {0}")]
    Netlink(#[from] io::Error),
}

/// A mirror of one interface's neighbours.
#[derive(Debug)]
pub struct Neighbors {
    interface: u32,
    probe: UdpSocket,
    updates: Receiver<Update>,
}

impl Neighbors {
    /// Mirrors the table of `iface`, which has the address `own`.
    ///
    /// # Errors
    /// [`NeighborError`].
    pub fn open(iface: &str, own: IpAddr) -> Result<Self, NeighborError> {
        let interface = interface_index(iface)?;
        let no_address = |source| NeighborError::NoAddress { iface: iface.into(), ip: own, source };
        let probe = UdpSocket::bind(socket_addr(own, 0, interface)).map_err(no_address)?;
        probe.set_nonblocking(true)?;
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&NetlinkAddr::new(0, 0))?;
        socket.add_membership(NEIGHBOR_GROUP)?;
        request_dump(&socket)?;
        let (sender, updates) = mpsc::channel();
        thread::Builder::new()
            .name(format!("neighbors {iface}"))
            .spawn(move || {
                if let Err(e) = mirror(&socket, interface, &sender) {
                    log::error!("neighbours are not mirrored any more: {e}");
                }
            })
            .map_err(NeighborError::Netlink)?;
        Ok(Self { interface, probe, updates })
    }

    /// Makes the kernel look for `ip`; what it finds comes as an [`Update`].
    pub fn ask(&self, ip: IpAddr) {
        // Refused or unreachable is an answer too, and it comes as an event.
        if let Err(e) = self.probe.send_to(&[], socket_addr(ip, DISCARD_PORT, self.interface)) {
            log::debug!("asking for {ip}: {e}");
        }
    }

    /// The next thing that the kernel found, without waiting.
    #[inline]
    #[must_use]
    pub fn poll(&self) -> Option<Update> {
        self.updates.try_recv().ok()
    }

    /// Waits until the kernel knows `ip`, asking for it, for at most `patience`.
    #[must_use]
    pub fn resolve(&self, ip: IpAddr, patience: core::time::Duration) -> Option<MacAddr> {
        let deadline = std::time::Instant::now() + patience;
        let mut asked = false;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            // The dump first: most neighbours are known already.
            let wait = if asked { left } else { left.min(core::time::Duration::from_millis(20)) };
            match self.updates.recv_timeout(wait) {
                Ok(Update { ip: who, mac: Some(mac) }) if who == ip => return Some(mac),
                Ok(_) => {}
                Err(_) if asked => return None,
                Err(_) => {
                    self.ask(ip);
                    asked = true;
                }
            }
        }
    }
}

/// The kernel's number of an interface.
///
/// # Errors
/// [`NeighborError::NoInterface`].
pub fn interface_index(iface: &str) -> Result<u32, NeighborError> {
    let any = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("[::1]:0"))?;
    rustix::net::netdevice::name_to_index(&any, iface).map_err(|_| NeighborError::NoInterface(iface.into()))
}

fn socket_addr(ip: IpAddr, port: u16, interface: u32) -> SocketAddr {
    match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => SocketAddrV6::new(v6, port, 0, interface).into(),
        _ => SocketAddr::new(ip, port),
    }
}

fn request_dump(socket: &Socket) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let payload = NetlinkPayload::from(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()));
    let mut request = NetlinkMessage::new(header, payload);
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0).map(drop)
}

/// Passes on what the kernel says until nobody listens.
fn mirror(socket: &Socket, interface: u32, updates: &Sender<Update>) -> io::Result<()> {
    let mut buffer = vec![0; READ];
    loop {
        let n = match socket.recv(&mut buffer.as_mut_slice(), 0) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                // Events were lost: start over from a dump.
                request_dump(socket)?;
                continue;
            }
            Err(e) => return Err(e),
        };
        let mut rest = buffer.get(..n.min(READ)).unwrap_or_default();
        while !rest.is_empty() {
            let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) else { break };
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(entry)) = &message.payload
                && entry.header.ifindex == interface
                && let Some(update) = update_of(entry)
                && updates.send(update).is_err()
            {
                return Ok(());
            }
            let step = (message.header.length as usize).next_multiple_of(4).max(16);
            rest = rest.get(step..).unwrap_or_default();
        }
    }
}

/// What an entry says, when it says something final.
fn update_of(entry: &NeighbourMessage) -> Option<Update> {
    let ip = entry.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })?;
    if entry.header.state == NeighbourState::Failed {
        return Some(Update { ip, mac: None });
    }
    // Incomplete entries carry no address, interfaces without addresses an empty or zero one.
    let mac = entry.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok().map(MacAddr),
        _ => None,
    })?;
    mac.is_unicast().then_some(Update { ip, mac: Some(mac) })
}

#[cfg(test)]
mod tests;
