//! Two stacks on an in-memory pair, one thread, a clock by hand; frames can be dropped, held back or changed on the way.

mod basic;
mod bottleneck;
mod close;
mod congestion;
mod cookies;
#[cfg(feature = "cycles")]
mod cycles;
mod dropped;
mod duplicates;
mod foreign;
mod forge;
mod fuzz;
mod handshake;
mod harness;
mod icmp;
mod keepalive;
mod left_out;
mod limits;
mod loss;
mod messages;
mod profiles;
mod recovery;
mod reset;
mod spurious;
mod stolen_cpu;
mod tamper;
mod tso;
mod window;
mod wrap;
mod zero_copy;
