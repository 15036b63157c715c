//! A stack's tables on the heap, sized by the expected load, leaked: they live as long as the process, as does the stack.

use luna_core::stack::{FlowEntry, Listener, Neighbor, Storage};
use luna_core::tcp::{Connection, Control, OutOfOrder, Recovery, Segment, SendEntry};

/// How much a stack shall hold. All connections share what is beside `connections`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Connections, those in TIME-WAIT included.
    pub connections: usize,
    /// Fragments queued for sending.
    pub sends: usize,
    /// Segments in flight.
    pub segments: usize,
    /// Pieces received out of order.
    pub out_of_order: usize,
    /// Connections in loss recovery at one time.
    pub recoveries: usize,
    /// Congestion controllers other than NewReno, one for each connection that has one.
    pub controls: usize,
    /// Listeners.
    pub listeners: usize,
    /// Neighbours.
    pub neighbors: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            connections: 1024,
            sends: 16384,
            segments: 16384,
            out_of_order: 4096,
            recoveries: 256,
            controls: 1024,
            listeners: 16,
            neighbors: 64,
        }
    }
}

impl Capacity {
    /// Bytes of all tables.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.connections * size_of::<Connection>()
            + self.flow_entries() * size_of::<FlowEntry>()
            + self.sends * size_of::<SendEntry>()
            + self.segments * size_of::<Segment>()
            + self.out_of_order * size_of::<OutOfOrder>()
            + self.recoveries * size_of::<Recovery>()
            + self.controls * size_of::<Control>()
            + self.listeners * size_of::<Listener>()
            + self.neighbors * size_of::<Neighbor>()
    }

    const fn flow_entries(&self) -> usize {
        (self.connections * 4).div_ceil(3).next_power_of_two()
    }

    /// The tables, allocated and leaked.
    #[must_use]
    pub fn leak(self) -> Storage<'static> {
        Storage {
            connections: slice::<Connection>(self.connections),
            flows: slice::<FlowEntry>(self.flow_entries()),
            sends: slice::<SendEntry>(self.sends),
            segments: slice::<Segment>(self.segments),
            out_of_order: slice::<OutOfOrder>(self.out_of_order),
            recoveries: slice::<Recovery>(self.recoveries),
            controls: slice::<Control>(self.controls),
            listeners: slice::<Listener>(self.listeners),
            neighbors: slice::<Neighbor>(self.neighbors),
        }
    }
}

fn slice<T: Default>(n: usize) -> &'static mut [T] {
    Vec::leak((0..n).map(|_| T::default()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use luna_core::stack::{Stack, StackConfig};
    use luna_core::{nic::MemQueue, tcp::TcpConfig, time::Instant};

    #[test]
    fn every_number_of_connections_makes_a_stack() {
        for connections in [1, 2, 3, 6, 7, 100, 1024, 12289] {
            let storage = Capacity { connections, ..Capacity::default() }.leak();
            let config = StackConfig { id: 0, seed: [1; 32], tcp: TcpConfig::DATACENTER };
            let made = Stack::<MemQueue<'_, '_>>::new(config, storage, Instant::ZERO);
            assert!(made.is_ok(), "{connections}: {:?}", made.err());
        }
    }
}
