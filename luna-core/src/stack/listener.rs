//! The listener table.

use core::net::IpAddr;

use super::ids::{ListenerId, PathId};
use crate::tcp::ProfileId;

/// Where to listen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bind {
    /// Local address; `None` for every address.
    pub addr: Option<IpAddr>,
    /// Local port.
    pub port: u16,
    /// Only on this path; `None` for every path.
    pub path: Option<PathId>,
    /// Most connections whose handshake is not finished. Beyond it SYNs are answered with cookies
    /// ([`crate::tcp::TcpConfig::syn_cookies`]); 0 takes none at all.
    pub backlog: u32,
    /// Settings of the connections that come in here.
    pub profile: ProfileId,
}

impl Bind {
    /// Every address and path.
    #[must_use]
    pub const fn port(port: u16) -> Self {
        Self { addr: None, port, path: None, backlog: 128, profile: ProfileId::DEFAULT }
    }
}

/// A slot of the listener table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listener {
    pub(crate) bind: Option<Bind>,
    pub(crate) user: u64,
    pub(crate) generation: u32,
    /// Handshakes under way.
    pub(crate) pending: u32,
}

/// The listener for a SYN to `addr:port` that came in on `path`; one bound to an address goes before a wildcard.
pub(crate) fn find(listeners: &[Listener], addr: IpAddr, port: u16, path: u8) -> Option<u32> {
    let fits = |exact: bool| {
        listeners.iter().position(|l| {
            l.bind.is_some_and(|b| {
                b.port == port
                    && b.path.is_none_or(|p| p.0 == path)
                    && if exact { b.addr == Some(addr) } else { b.addr.is_none() }
            })
        })
    };
    fits(true).or_else(|| fits(false)).map(|i| i as u32)
}

/// A handshake ended, well or not; its listener may be gone, and the slot another's.
pub(crate) fn handshake_over(listeners: &mut [Listener], slot: u32, generation: u32) {
    if let Some(l) = listeners.get_mut(slot as usize).filter(|l| l.generation == generation) {
        l.pending = l.pending.saturating_sub(1);
    }
}

/// The slot that `id` names, if it still does.
pub(crate) fn get(listeners: &mut [Listener], id: ListenerId) -> Option<&mut Listener> {
    listeners.get_mut(id.slot as usize).filter(|l| l.generation == id.generation && l.bind.is_some())
}
