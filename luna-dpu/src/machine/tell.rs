//! A node's report on the console.

use crate::control::Event;
use crate::node::{Ending, NodeReport};
use crate::parts::{CLIENT, REPORTS};
use crate::say;
use crate::virtio::net::NetFaults;
use crate::virtio::ring::Fault;

/// Says what core `id`'s control plane found of note: in words, or by [`Event::code`] in a build without reports.
#[cold]
pub fn tell_event(id: u8, event: &Event) {
    if REPORTS {
        say!("core {id}: {event:?}");
    } else {
        say!("core {id}: event {}", event.code());
    }
}

/// Says what ended core `id`'s queue, and what its driver counted of such.
#[cold]
pub fn tell_fault(id: u8, fault: Fault, counts: &NetFaults) {
    if REPORTS {
        say!("core {id}: {fault} ({counts:?})");
    } else {
        say!("core {id}: {fault}");
    }
}

/// Says how core `id`'s node ended and what it counted; `cargo xtask dpu run` reads it.
#[cold]
pub fn tell(id: u8, report: &NodeReport) {
    match report.ending {
        Ending::Bench(b) if CLIENT => {
            let us = b.elapsed.as_nanos() / 1000;
            let rate = u64::from(b.completed) * 1_000_000 / us.max(1);
            say!(
                "core {id}: bench completed {} in {us} us, {rate} RPC/s, fastest {} ns, slowest {} ns",
                b.completed,
                b.fastest.as_nanos(),
                b.slowest.as_nanos()
            );
        }
        Ending::Failed(e) if CLIENT => say!("core {id}: bench failed: {e}"),
        Ending::Served => say!("core {id}: served {} requests", report.served),
        _ => say!("core {id}: stopped"),
    }
    let (q, c) = (&report.queue, &report.counters);
    say!(
        "core {id}: frames in {} out {}, lost on purpose {}, retransmits {}, payload bytes copied {}, refused ({}, {})",
        q.rx_frames,
        q.tx_frames,
        report.lost,
        c.retransmits,
        report.copied,
        report.refused.0,
        report.refused.1
    );
    if !REPORTS {
        return;
    }
    for (name, value) in c.iter().filter(|(_, value)| *value > 0) {
        say!("core {id}:   {name} {value}");
    }
}
