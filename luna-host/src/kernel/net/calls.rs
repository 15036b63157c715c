//! What applications do with kernel connections: the portable calls, and the RPC session's stream.

use core::net::SocketAddr;
use std::io;

use heapless::VecView;
use luna_core::rpc::{ByteStream, StreamError};
use luna_core::time::Instant;
use luna_core::zbuf::{Frag, ZbufMut};
use mio::net::TcpStream;

use super::{KernelNet, Phase};
use crate::link::{CloseKind, ConnKey, ConnectError, Transport};

/// A connection's sending half.
pub struct KernelStream<'a> {
    net: &'a mut KernelNet,
    conn: ConnKey,
}

impl Transport for KernelNet {
    type Stream<'a> = KernelStream<'a>;

    fn now(&self) -> Instant {
        self.now
    }

    fn stream(&mut self, conn: ConnKey) -> KernelStream<'_> {
        KernelStream { net: self, conn }
    }

    fn connect(&mut self, remote: SocketAddr, user: u64) -> Result<ConnKey, ConnectError> {
        let os = |e: io::Error| ConnectError::Os(e.raw_os_error().unwrap_or(0));
        let stream = TcpStream::connect(remote).map_err(|e| match e.kind() {
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => ConnectError::Unreachable(remote),
            _ => os(e),
        })?;
        stream.set_nodelay(true).map_err(os)?;
        let full = ConnectError::Exhausted("the connection table is full");
        self.insert(stream, Phase::Connecting, user).map_err(os)?.ok_or(full)
    }

    fn set_user(&mut self, conn: ConnKey, user: u64) {
        if let Some(conn) = self.get(conn) {
            conn.user = user;
        }
    }

    fn release(&mut self, conn: ConnKey, bytes: u32) {
        if let Some(conn) = self.get(conn) {
            conn.retained = conn.retained.saturating_sub(u64::from(bytes));
        }
    }

    fn shutdown(&mut self, conn: ConnKey) {
        if let Some(slot) = self.slot_of(conn) {
            if let Some(conn) = self.at(slot) {
                conn.shut = true;
            }
            self.mark_dirty(slot);
        }
    }

    fn abort(&mut self, conn: ConnKey) {
        if let Some(slot) = self.slot_of(conn) {
            self.kill(slot, CloseKind::AbortedHere);
        }
    }
}

impl ByteStream for KernelStream<'_> {
    fn send(&mut self, iov: &mut VecView<Frag>, _token: u64) -> Result<(), StreamError> {
        let Some(slot) = self.net.slot_of(self.conn) else { return Err(StreamError::Closed) };
        let bytes = iov.iter().map(|f| f.len() as usize).sum();
        let mut copies = Vec::new();
        if iov.iter().any(Frag::is_foreign) {
            for frag in iov.iter() {
                if frag.is_foreign() {
                    self.net.copy_foreign(frag, &mut copies)?;
                } else {
                    copies.push(frag.clone());
                }
            }
        }
        let Some(conn) = self.net.at(slot) else { return Err(StreamError::Closed) };
        if conn.phase != Phase::Open || conn.shut {
            return Err(StreamError::Closed);
        }
        if !conn.has_room(bytes) {
            conn.starved = true;
            return Err(StreamError::Full);
        }
        if copies.is_empty() {
            iov.drain(..).for_each(|frag| conn.push(frag));
        }
        copies.into_iter().for_each(|frag| conn.push(frag));
        iov.clear();
        self.net.mark_dirty(slot);
        Ok(())
    }

    fn alloc(&mut self) -> Option<ZbufMut> {
        self.net.heads.alloc()
    }

    fn now(&self) -> Instant {
        self.net.now
    }
}
