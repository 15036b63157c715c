//! What must not grow: the cost of an RPC with the number of open connections ([`crowd`]), and with uptime ([`uptime`], [`origins`]).

pub mod crowd;
pub mod origins;
pub mod uptime;
