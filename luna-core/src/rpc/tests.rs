//! Packet stories of the RPC session, over an in-memory byte stream.

mod calls;
mod harness;
mod loss;
mod malformed;
mod model;
mod segments;
mod server;
mod small;
mod streaming;
