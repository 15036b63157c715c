//! Two nodes on one core, joined by the in-memory pair: no device, no waiting, so that a counter around it counts what
//! requests cost, both ends together.

use luna_core::nic::{MemLink, MemPort, MemQueue};
use luna_core::rpc::{CallSlot, DetachedSlot};
use luna_core::stack::{FlowEntry, Storage};
use luna_core::tcp::{Connection, Control};
use luna_core::time::Clock;
use luna_core::wire::MacAddr;
use luna_core::zbuf::{Pool, ZoneLayout};

use super::app::{Lane, PARKED, Sessions};
use super::run::{Ending, Node, NodeParts};
use super::settings::{MAX_DEPTH, Settings};
use crate::arena::Arena;
use crate::control::NetArgs;

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PairReport {
    /// Requests.
    pub requests: u32,
    /// Ticks of the clock's counter that they took.
    pub ticks: u64,
    /// Payload bytes that both stacks copied.
    pub copied: u64,
}

/// Bytes that one connection takes: in the stack's tables, and in its session.
#[must_use]
pub const fn bytes_per_connection() -> (usize, usize) {
    let stack = size_of::<Connection>() + 2 * size_of::<FlowEntry>() + size_of::<Control>();
    let session = size_of::<Lane>() + MAX_DEPTH as usize * size_of::<CallSlot>() + PARKED * size_of::<DetachedSlot>();
    (stack, session)
}

/// Lets one node call another `settings.count` times, as `settings` say. `ticks` reads the counter.
///
/// # Errors
/// What is missing, or went wrong.
pub fn run_pair<C: Clock + Clone>(
    arena: &mut Arena,
    storage: [Storage<'static>; 2],
    settings: Settings,
    clock: C,
    ticks: impl Fn() -> u64,
) -> Result<PairReport, &'static str> {
    let link = arena.put(MemLink::new()).ok_or("no memory for the link")?;
    let (a, b) = link.split();
    let [client, server] = storage;
    let connect = "10.0.0.2:7480".parse().ok();
    let mut nodes = (
        node(arena, a, 1, client, Settings { connect, ..settings }, clock.clone())?,
        node(arena, b, 2, server, Settings { connect: None, until: 1, ..settings }, clock)?,
    );
    // The handshake and the first requests are not counted.
    let warm = (settings.count / 10).max(1);
    let mut begin = None;
    let mut end = None;
    loop {
        let (ending, served) = nodes.0.step(&mut |_| {});
        match ending {
            Some(Ending::Bench(_)) => break,
            Some(_) => return Err("the pair's client failed"),
            None => {}
        }
        nodes.1.step(&mut |_| {});
        if begin.is_none() && served >= warm {
            begin = Some((served, ticks()));
        }
        if end.is_none() && served >= settings.count {
            end = Some((served, ticks()));
        }
    }
    let ((first, from), (last, to)) = begin.zip(end).ok_or("too few requests to measure")?;
    let copied = nodes.0.report(Ending::Stopped).copied + nodes.1.report(Ending::Stopped).copied;
    Ok(PairReport { requests: last - first, ticks: to - from, copied })
}

type PairNode<C> = Node<MemQueue<'static, 'static>, C>;

fn node<C: Clock>(
    arena: &mut Arena,
    end: luna_core::nic::MemEnd<'static>,
    n: u8,
    storage: Storage<'static>,
    settings: Settings,
    clock: C,
) -> Result<PairNode<C>, &'static str> {
    let mut pool = |zones, size| {
        let region = arena.zones(zones).ok_or("no memory for frames")?;
        let pool = Pool::new(region, ZoneLayout::plain(size)).map_err(|_| "objs of a size that cannot be")?;
        arena.put(pool).map(|pool| &*pool).ok_or("no memory")
    };
    let (rx, header, payload) = (pool(2, 2048)?, pool(1, 704)?, pool(1, 16 << 10)?);
    // As a NIC with checksum offload: this link does not damage anything.
    let port = MemPort { mac: MacAddr([2, 0, 0, 0, 0, n]), mtu: 1500, checksum_offload: true };
    let queue = MemQueue::new(end, port, rx, header).map_err(|_| "no queue")?;
    let net = if n == 1 { "net.addr=10.0.0.1/24 net.detect=off" } else { "net.addr=10.0.0.2/24 net.detect=off" };
    let net = NetArgs::parse(net).map_err(|_| "no address")?;
    let sessions = Sessions::new(arena, 2, usize::from(MAX_DEPTH)).ok_or("no memory for sessions")?;
    let parts = NodeParts { id: n, queue, storage, sessions, payload, settings, net, seed: [n; 32] };
    Node::new(parts, clock).map_err(|_| "no node")
}
