//! The memory of a stack's tables, given by the caller: a static array on a DPU, a leaked allocation on a host.

use core::net::IpAddr;

use super::ConnId;
use super::flow::FlowEntry;
use super::listener::Listener;
use crate::tcp::{Connection, Control, OutOfOrder, Recovery, Segment, SendEntry, State};
use crate::wire::MacAddr;

/// A neighbour table entry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Neighbor {
    pub(crate) entry: Option<(u8, IpAddr, MacAddr)>,
}

/// Every table of a stack. The lengths are the capacities; when one is full, the answer is a refusal and a counter.
pub struct Storage<'m> {
    /// Connections, those in TIME-WAIT included; at most 2^24.
    pub connections: &'m mut [Connection],
    /// The flow table: a power of two, at least 4/3 of the connections.
    pub flows: &'m mut [FlowEntry],
    /// Fragments queued for sending, all connections together.
    pub sends: &'m mut [SendEntry],
    /// Segments in flight, all connections together.
    pub segments: &'m mut [Segment],
    /// Pieces received out of order, all connections together.
    pub out_of_order: &'m mut [OutOfOrder],
    /// Connections in loss recovery at one time; others then have to do with the timer.
    pub recoveries: &'m mut [Recovery],
    /// State of congestion controllers other than NewReno, one for each connection that has one. May be empty.
    pub controls: &'m mut [Control],
    /// Listeners.
    pub listeners: &'m mut [Listener],
    /// Neighbours, all paths together.
    pub neighbors: &'m mut [Neighbor],
}

impl Storage<'_> {
    /// Forgets what an earlier stack left in the same memory, its names included.
    pub(super) fn clear(&mut self, stack: u8) {
        for (slot, c) in self.connections.iter_mut().enumerate() {
            let generation = c.id.generation().wrapping_add(u32::from(c.state != State::Closed));
            *c = Connection { id: ConnId::new(stack, slot as u32, generation), ..Connection::default() };
        }
        for l in self.listeners.iter_mut() {
            let generation = l.generation.wrapping_add(u32::from(l.bind.is_some()));
            *l = Listener { generation, ..Listener::default() };
        }
        self.sends.fill_with(SendEntry::default);
        self.segments.fill_with(Segment::default);
        self.out_of_order.fill_with(OutOfOrder::default);
        self.recoveries.fill_with(Recovery::default);
        self.controls.fill_with(Control::default);
        self.neighbors.fill_with(Neighbor::default);
    }
}
