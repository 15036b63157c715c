//! The echo's parameters, and what a run of it did: the same for every stack that is measured.

use serde::{Deserialize, Serialize};

/// What the server answers with, as many bytes as it was asked with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Answer {
    /// The request's own payload: the objs that it arrived in.
    #[default]
    Echo,
    /// A buffer of its own, filled anew for each request with a byte that it takes from the request.
    Touch,
}

/// A closed loop of echo RPCs over one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Scenario {
    /// Largest IP packet.
    pub mtu: u16,
    /// Requests in flight.
    pub depth: usize,
    /// Payload bytes of a request, and of its response.
    pub size: u32,
    /// Checksums in software; otherwise as if the port did them.
    pub checksums: bool,
    /// What the server answers with.
    pub answer: Answer,
    /// Payloads carry a CRC-32C of the RPC layer, made and verified.
    pub digest: bool,
}

impl Scenario {
    /// The one that gates: 4 KiB, MTU 1500, depth 1, checksums offloaded.
    pub const GATE: Self = Self::new(4096, 1500, 1, false);

    /// A plain echo without payload digest.
    #[must_use]
    pub const fn new(size: u32, mtu: u16, depth: usize, checksums: bool) -> Self {
        Self { mtu, depth, size, checksums, answer: Answer::Echo, digest: false }
    }

    /// In words: the same in budgets and tables.
    #[must_use]
    pub fn name(&self) -> String {
        let size = if self.size < 1024 { format!("{} B", self.size) } else { format!("{} KiB", self.size / 1024) };
        let checksums = if self.checksums { "software" } else { "offloaded" };
        format!("{size}, MTU {}, checksums {checksums}, depth {}", self.mtu, self.depth)
    }
}

/// What a run did, both ends together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// RPCs that ended.
    pub rpcs: u64,
    /// Frames sent.
    pub frames: u64,
    /// Payload bytes carried, requests and responses.
    pub payload: u64,
    /// Payload bytes copied by a CPU, the link's gather not counted.
    pub copied: u64,
    /// Segments that took the fast path; 0 for a stack that has none.
    pub fast_path: u64,
}

impl Report {
    /// What happened after `earlier`.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            rpcs: self.rpcs - earlier.rpcs,
            frames: self.frames - earlier.frames,
            payload: self.payload - earlier.payload,
            copied: self.copied - earlier.copied,
            fast_path: self.fast_path - earlier.fast_path,
        }
    }

    /// Copies of each payload byte.
    #[must_use]
    pub fn copies_per_byte(&self) -> f64 {
        self.copied as f64 / self.payload.max(1) as f64
    }

    /// Frames of each RPC.
    #[must_use]
    pub fn frames_per_rpc(&self) -> f64 {
        self.frames as f64 / self.rpcs.max(1) as f64
    }
}

/// The stacks that can be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StackKind {
    /// Ours.
    Luna,
    /// Ours without its RPC layer.
    LunaStream,
    /// The smoltcp crate as its documentation has it.
    Smoltcp,
    /// The smoltcp crate driven so that it sends as few frames as Luna.
    SmoltcpSplit,
}

impl StackKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Luna, Self::LunaStream, Self::Smoltcp, Self::SmoltcpSplit];

    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Luna => "luna",
            Self::LunaStream => "luna-stream",
            Self::Smoltcp => "smoltcp",
            Self::SmoltcpSplit => "smoltcp-split",
        }
    }
}

/// A closed loop of echoes that can be run in parts.
pub trait EchoLoop {
    /// Runs `rpcs` echoes and nothing else.
    fn run(&mut self, rpcs: u64);

    /// Runs `rpcs` echoes and compares every byte that comes back.
    fn run_verified(&mut self, rpcs: u64);

    /// What happened since the loop was made.
    fn report(&self) -> Report;

    /// Panics unless all went as in a lossless network with every feature in use.
    fn assert_healthy(&mut self);
}

/// Byte `i` of the payload of the request in slot `slot`.
#[must_use]
pub fn pattern(slot: usize, i: usize) -> u8 {
    ((i + slot * 7919).wrapping_mul(2_654_435_761) >> 13) as u8
}
