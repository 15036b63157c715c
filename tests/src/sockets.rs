//! Sockets over bare IP packets with all their memory leaked: for tools and tests that make a few of them.

use core::net::IpAddr;

use luna_core::socket::{Sockets, SocketsConfig, SocketsStorage};
use luna_core::stack::{FlowEntry, Listener, Neighbor, Storage};
use luna_core::tcp::{Connection, Control, OutOfOrder, Recovery, Segment, SendEntry, TcpConfig};
use luna_core::time::Instant;
use luna_core::zbuf::Pool;

use crate::memory;

/// Sockets for a few dozen connections, and the pool that they live on.
///
/// # Panics
/// On a configuration that makes no sense.
#[must_use]
pub fn leak(config: SocketsConfig<'_>, now: Instant) -> (Sockets<'static>, &'static Pool) {
    let pool = memory::pool(4, (u32::from(config.mtu) + 14).next_multiple_of(64));
    let stack = Storage {
        connections: slice::<Connection>(64),
        flows: slice::<FlowEntry>(128),
        sends: slice::<SendEntry>(4096),
        segments: slice::<Segment>(4096),
        out_of_order: slice::<OutOfOrder>(1024),
        recoveries: slice::<Recovery>(16),
        controls: slice::<Control>(64),
        listeners: slice::<Listener>(16),
        neighbors: slice::<Neighbor>(8),
    };
    let storage = SocketsStorage { stack, sockets: slice(64), chunks: slice(4096), packets: slice(1024) };
    (Sockets::new(config, storage, pool, now).expect("a sensible configuration"), pool)
}

/// [`leak`] of one address and settings, the seed fixed: two runs do exactly the same.
#[must_use]
pub fn simple(addr: IpAddr, tcp: TcpConfig, now: Instant) -> Sockets<'static> {
    leak(SocketsConfig::new(&[addr], [7; 32], tcp), now).0
}

fn slice<T: Default>(n: usize) -> &'static mut [T] {
    Vec::leak((0..n).map(|_| T::default()).collect())
}
