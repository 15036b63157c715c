//! Packet scripts: time-stamped segments in, expected segments out, socket calls between, on a virtual clock. The language is
//! packetdrill's (Cardwell et al., "packetdrill: Scriptable Network Stack Testing", USENIX ATC'13); `tests/scripts/README.md`
//! says which part of it, and what was added.
//!
//! A script drives [`luna_core::socket::Sockets`] alone: no loop, no device, no thread. What arrives and what was sent is built
//! and read by [`wire`], written apart from luna-core's parser, so that a mistake there does not judge itself.

pub mod ast;
mod calls;
mod cursor;
pub mod expr;
mod flow;
mod icmp;
mod names;
pub mod options;
mod parse;
mod parse_call;
mod parse_packet;
mod print;
mod run;
pub mod settings;
pub mod source;
pub mod wire;
mod world;

pub use parse::{parse, parse_settings};
pub use run::run;
pub use source::{Source, SyntaxError};

#[cfg(test)]
mod tests;
