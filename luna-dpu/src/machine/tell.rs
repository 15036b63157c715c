//! A node's report on the console.

use crate::node::{Ending, NodeReport};
use crate::say;

/// Says how core `id`'s node ended and what it counted; `cargo xtask dpu run` reads it.
#[cold]
pub fn tell(id: u8, report: &NodeReport) {
    match report.ending {
        Ending::Bench(b) => {
            let us = b.elapsed.as_nanos() / 1000;
            let rate = u64::from(b.completed) * 1_000_000 / us.max(1);
            say!(
                "core {id}: bench completed {} in {us} us, {rate} RPC/s, fastest {} ns, slowest {} ns",
                b.completed,
                b.fastest.as_nanos(),
                b.slowest.as_nanos()
            );
        }
        Ending::Failed(e) => say!("core {id}: bench failed: {e}"),
        Ending::Served => say!("core {id}: served {} requests", report.served),
        Ending::Stopped => say!("core {id}: stopped"),
    }
    let (q, c) = (&report.queue, &report.counters);
    say!(
        "core {id}: frames in {} out {}, lost on purpose {}, retransmits {}, payload bytes copied {}, refused {:?}",
        q.rx_frames,
        q.tx_frames,
        report.lost,
        c.retransmits,
        report.copied,
        report.refused
    );
    for (name, value) in c.iter().filter(|(_, value)| *value > 0) {
        say!("core {id}:   {name} {value}");
    }
}
