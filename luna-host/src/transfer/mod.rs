//! Files to and from a server's blobs, several chunks in flight, payload straight between file and sent memory.

mod get;
mod put;

use luna_core::rpc::{CallError, Response, RpcError, StreamError};

pub use get::Get;
pub use put::Put;

use crate::client::ClientError;

/// Bytes of one chunk.
const CHUNK: u32 = 256 << 10;
/// Chunks in flight.
const DEPTH: usize = 4;
/// How long the server may take for a chunk.
const CHUNK_DEADLINE: luna_core::time::Duration = luna_core::time::Duration::from_secs(30);
/// How long it may take to make a blob durable, or to hash one.
const DISK_DEADLINE: luna_core::time::Duration = luna_core::time::Duration::from_secs(300);

/// The answer's metadata, if it is a yes.
fn accepted<'a>(what: &'static str, result: &'a Result<Response<'_>, RpcError>) -> Result<&'a [u8], ClientError> {
    match result {
        Ok(response) if response.status.is_ok() => Ok(response.metadata),
        Ok(response) => Err(ClientError::Refused {
            what,
            status: response.status,
            message: String::from_utf8_lossy(response.metadata).into_owned(),
        }),
        Err(why) => Err(ClientError::Call { what, why: *why }),
    }
}

/// Whether a call that was not made may be tried again.
fn try_again(what: &'static str, e: CallError) -> Result<(), ClientError> {
    match e {
        CallError::Stream(StreamError::Full) | CallError::NoObj | CallError::TooManyInFlight => Ok(()),
        CallError::Stream(StreamError::Closed) => {
            Err(ClientError::Call { what, why: RpcError::ConnectionLost { maybe_executed: false } })
        }
        why => Err(ClientError::NotSent { what, why }),
    }
}
