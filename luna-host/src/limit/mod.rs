//! The limit: the frames of an RPC echo over a port's queue with no TCP and no RPC session above it.
//!
//! The same number of frames of the same shape as Luna's go both ways: a header obj with Ethernet, IPv4, TCP and, in a
//! message's first frame, an RPC head, and payload lent from where it is. The server sends back the very objs that came.
//! What is missing is the protocol: no connection, no acknowledgment, no timer, no congestion control, no retransmission
//! queue. A stack on the same port can come near to this and not beyond it, so a stack's figure is also told as a
//! fraction of this one.
//!
//! Nothing is repeated: on a link that loses frames this stands still, and says so.

mod client;
mod frame;
mod server;

#[cfg(test)]
mod tests;

use core::net::Ipv4Addr;
use core::time::Duration;

use luna_core::nic::NicQueue;
use luna_core::wire::MacAddr;
use luna_core::zbuf::Pool;

use crate::report::{CopyReport, PortReport, StackReport, TcpReport};

pub use client::{LimitClient, LimitPoint};
pub use server::LimitServer;

/// Who sums up what the frames carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksums {
    /// The port where it can, else this side in software, both ways: as Luna.
    AsLuna,
    /// Nobody.
    Nobody,
}

/// One end's queue with what frames on it need.
pub struct LimitEnd<Q> {
    /// The queue.
    pub queue: Q,
    /// Objs for payload.
    pub payload: &'static Pool,
    /// The port, for reports.
    pub nic: String,
    /// This end's addresses.
    pub own: (MacAddr, Ipv4Addr),
    /// The other's.
    pub peer: (MacAddr, Ipv4Addr),
}

/// Why the limit was not measured.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// Frames went missing.
    #[error("no answer within {0:?}: frames were lost, or nobody runs `luna serve --stack limit` at the other end")]
    Lost(Duration),
    /// A wrong byte.
    #[error("an answer is not what was sent")]
    Wrong,
    /// No memory for the payload of one message.
    #[error("no memory for a message of {0} bytes")]
    Memory(u32),
    /// More frames at a time than the other end posts objs for.
    #[error(
        "{frames} frames in flight are more than the in-memory pair takes without loss ({most}): fewer connections, a \
         smaller iodepth or smaller messages"
    )]
    TooMuch {
        /// In flight.
        frames: usize,
        /// What fits.
        most: usize,
    },
    /// The run was ended from outside.
    #[error("interrupted before anything was measured")]
    Interrupted,
}

fn report<Q: NicQueue>(nic: &str, queue: &Q) -> StackReport {
    let stats = queue.stats();
    StackReport {
        stack: "limit",
        nic: Some(nic.to_owned()),
        port: Some(PortReport::from(queue.caps())),
        tcp: TcpReport::default(),
        queue: crate::luna_stack::queue_counters(&stats),
        copies: CopyReport::new(stats.tx_copied.bytes, stats.tx_bytes, stats.rx_copied.bytes, stats.rx_bytes),
        ..StackReport::default()
    }
}
