//! Two sets of sockets joined by lists of packets, one thread, a clock by hand.

mod basic;
mod harness;
mod limits;
mod options;
mod packets;
mod window;
