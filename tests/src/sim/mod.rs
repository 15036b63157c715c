//! A deterministic simulator: whole stacks, with the loop that production runs, over a network that misbehaves.
//!
//! One seed is one run, to the byte: virtual time in nanoseconds, one event queue, one source of randomness. Every run moves
//! at least 1 MiB each way and checks, besides that every byte arrives once and in order: every token released once, no
//! obj leaked, no connection hanging, what stands on the wire (`monitor`), and the stacks' own invariants after every turn.
//!
//! | module | what |
//! | --- | --- |
//! | [`plan`], [`worlds`] | from a seed to hosts, links, faults, flows; congestion control, routers, floods |
//! | `build`, [`world`] | from the plan to stacks and links; the event loop |
//! | [`link`], [`faults`], [`switch`] | the network: rates, queues, loss, reordering, corruption, ECN |
//! | [`nic`], [`app`], [`flow`], [`guest`] | a stack's port, its application, what it is to do, foreign memory |
//! | `attack`, `malformed`, `icmp` | forged segments, floods, old duplicates; broken frames; what routers say |
//! | [`monitor`], `check` | what may stand on the wire; what must be true at the end |
//! | [`coverage`] | counters and state transitions that a sweep reached |
//! | [`log`] | packet log, digest, capture |

pub mod app;
pub mod arena;
mod attack;
mod build;
mod check;
pub mod coverage;
pub mod events;
pub mod faults;
pub mod flow;
pub mod frame;
pub mod guest;
mod icmp;
pub mod link;
pub mod log;
mod malformed;
pub mod monitor;
pub mod nic;
pub mod pattern;
pub mod plan;
pub mod ranges;
pub mod rng;
mod routers;
pub mod sweep;
pub mod switch;
pub mod world;
pub mod worlds;

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use arena::{Regions, Tables};
use coverage::Coverage;
use log::Log;
use plan::Plan;
use world::{Adversity, Pools, World};

/// Memory for runs, used again and again.
#[derive(Default)]
pub struct Arena {
    regions: Regions,
    tables: Vec<Tables>,
}

/// What a run came to.
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What was wrong, if anything was.
    pub violation: Option<String>,
    /// Virtual time at its end, in ns.
    pub time: u64,
    /// What was done to it.
    pub adversity: Adversity,
    /// Segments that stacks sent.
    pub segments: u64,
    /// Its packet log.
    pub log: Log,
}

/// Runs a seed. `keep_log`: keep every packet, not only the digest.
pub fn run(seed: u64, arena: &mut Arena, coverage: &mut Coverage, keep_log: bool) -> Outcome {
    let plan = Plan::new(seed);
    let rx_size = |mtu: u16| (u32::from(mtu) + 18 + 64).next_multiple_of(64);
    let pools: Vec<Pools> = plan
        .stacks
        .iter()
        .map(|s| Pools {
            rx: arena.regions.pool(rx_size(s.mtu)),
            headers: arena.regions.pool(512),
            data: arena.regions.pool(s.data_obj),
        })
        .collect();
    while arena.tables.len() < pools.len() {
        arena.tables.push(Tables::default());
    }
    let outcome = {
        let tables = &mut arena.tables[..pools.len()];
        let mut world = World::new(seed, plan, &pools, tables, keep_log);
        let result = catch_unwind(AssertUnwindSafe(|| world.run()));
        let violation = match result {
            Ok(result) => result.err(),
            Err(panic) => Some(format!("panic: {}", panic_text(&*panic))),
        };
        world.account(coverage);
        world.outcome(seed, violation)
    };
    for p in pools {
        for pool in [p.rx, p.headers, p.data] {
            arena.regions.take_back(pool);
        }
    }
    outcome
}

fn panic_text(panic: &(dyn core::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_else(|| "?".into())
}

impl World<'_> {
    fn account(&mut self, coverage: &mut Coverage) {
        for s in &self.stacks {
            coverage.add_stack(s.stack.counters());
        }
        self.adversity.marked = self.links.iter().map(|l| l.stats.marked).sum();
        let a = &self.adversity;
        for (name, n) in [
            ("frames lost", a.lost),
            ("frames dropped for want of room", a.dropped),
            ("frames corrupted", a.corrupted),
            ("frames duplicated", a.duplicated),
            ("frames reordered", a.reordered),
            ("CPUs taken away", a.stolen),
            ("frames forged or replayed", a.forged),
            ("links dead or narrowed", a.troubles),
            ("SYNs of floods", a.flooded),
            ("ICMP errors of routers", a.complaints),
            ("foreign memory taken away", a.revoked),
        ] {
            coverage.add_event(name, n);
        }
    }

    fn outcome(&mut self, seed: u64, violation: Option<String>) -> Outcome {
        let time = self.events.now();
        if let Some(what) = &violation {
            self.log.note(time, || format!("VIOLATION: {what}"));
        }
        Outcome {
            seed,
            violation,
            time,
            adversity: self.adversity,
            segments: self.monitor.segments,
            log: core::mem::take(&mut self.log),
        }
    }
}
