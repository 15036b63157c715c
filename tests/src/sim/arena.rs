//! Memory that runs use one after another: a page fault for every 4 KiB of fresh memory would cost more than the run.

use luna_core::stack::{FlowEntry, Listener, Neighbor, Storage};
use luna_core::tcp::{Connection, Control, OutOfOrder, Recovery, Segment, SendEntry};
use luna_core::zbuf::{Pool, Region, ZoneLayout};

use crate::memory;

/// Sizes of a stack's tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableSizes {
    /// Connections.
    pub connections: usize,
    /// Send entries.
    pub sends: usize,
    /// Segment records.
    pub segments: usize,
    /// Reassembly pieces.
    pub out_of_order: usize,
    /// Connections in loss recovery.
    pub recoveries: usize,
    /// Congestion controllers.
    pub controls: usize,
    /// Listeners.
    pub listeners: usize,
    /// Neighbours.
    pub neighbors: usize,
}

impl TableSizes {
    /// The most that [`Tables`] have.
    pub const MOST: Self = Self {
        connections: 64,
        sends: 4096,
        segments: 8192,
        out_of_order: 1024,
        recoveries: 16,
        controls: 64,
        listeners: 32,
        neighbors: 16,
    };
}

/// Tables of one stack.
pub struct Tables {
    connections: Vec<Connection>,
    flows: Vec<FlowEntry>,
    sends: Vec<SendEntry>,
    segments: Vec<Segment>,
    out_of_order: Vec<OutOfOrder>,
    recoveries: Vec<Recovery>,
    controls: Vec<Control>,
    listeners: Vec<Listener>,
    neighbors: Vec<Neighbor>,
}

fn make<T: Default>(n: usize) -> Vec<T> {
    (0..n).map(|_| T::default()).collect()
}

impl Default for Tables {
    fn default() -> Self {
        let n = TableSizes::MOST;
        Self {
            connections: make(n.connections),
            flows: make(n.connections * 2),
            sends: make(n.sends),
            segments: make(n.segments),
            out_of_order: make(n.out_of_order),
            recoveries: make(n.recoveries),
            controls: make(n.controls),
            listeners: make(n.listeners),
            neighbors: make(n.neighbors),
        }
    }
}

impl Tables {
    /// As much of them as `n` says.
    pub fn lend(&mut self, n: TableSizes) -> Storage<'_> {
        Storage {
            connections: &mut self.connections[..n.connections],
            flows: &mut self.flows[..(n.connections * 4).div_ceil(3).next_power_of_two()],
            sends: &mut self.sends[..n.sends],
            segments: &mut self.segments[..n.segments],
            out_of_order: &mut self.out_of_order[..n.out_of_order],
            recoveries: &mut self.recoveries[..n.recoveries],
            controls: &mut self.controls[..n.controls],
            listeners: &mut self.listeners[..n.listeners],
            neighbors: &mut self.neighbors[..n.neighbors],
        }
    }
}

/// Regions of two zones, for pools.
#[derive(Default)]
pub struct Regions {
    free: Vec<Region>,
}

impl Regions {
    /// A pool of objs of `size` bytes.
    ///
    /// # Panics
    /// When no pool can have objs of this size.
    #[must_use]
    pub fn pool(&mut self, size: u32) -> Pool {
        let region = self.free.pop().unwrap_or_else(|| memory::region(1));
        Pool::new(region, ZoneLayout::plain(size)).expect("a multiple of 64 that fits a zone")
    }

    /// Takes a pool's memory back when nobody holds any of it.
    pub fn take_back(&mut self, pool: Pool) {
        if let Some(region) = memory::reclaim(pool) {
            self.free.push(region);
        }
    }
}
