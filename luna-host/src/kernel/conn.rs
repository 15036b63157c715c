//! One kernel connection: its socket and what waits to be written.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;

use luna_core::zbuf::Frag;
use mio::net::TcpStream;

use super::info;
use crate::link::{CloseKind, Closed};

/// I/O vectors of one `writev`.
const IOVS: usize = 64;
/// Bytes that may wait in one connection.
pub(super) const SEND_LIMIT: usize = 4 << 20;

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Connecting,
    Open,
    /// To be buried at the end of the turn.
    Dead(Closed),
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) stream: TcpStream,
    pub(super) phase: Phase,
    pub(super) user: u64,
    /// epoll said so, and no read or write has met the end since.
    pub(super) readable: bool,
    /// epoll told of the peer's FIN: it came with the last edge, and none follows.
    pub(super) read_closed: bool,
    pub(super) writable: bool,
    /// On the list of those to look at in the next turn.
    pub(super) listed: bool,
    /// On the list of those with something to write.
    pub(super) dirty: bool,
    /// A send found no room.
    pub(super) starved: bool,
    pub(super) fin_received: bool,
    /// The application has shut down; the FIN follows what is queued.
    pub(super) shut: bool,
    pub(super) fin_sent: bool,
    /// Bytes of memory that the application keeps of what it was given.
    pub(super) retained: u64,
    pub(super) sent_any: bool,
    queue: VecDeque<Frag>,
    queued: usize,
    /// Bytes of the first fragment that are written already.
    head_done: usize,
}

/// What a write did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) calls: u64,
}

impl Conn {
    pub(super) fn new(stream: TcpStream, phase: Phase, user: u64) -> Self {
        Self {
            stream,
            phase,
            user,
            readable: false,
            read_closed: false,
            writable: phase == Phase::Open,
            listed: false,
            dirty: false,
            starved: false,
            fin_received: false,
            shut: false,
            fin_sent: false,
            retained: 0,
            sent_any: false,
            queue: VecDeque::new(),
            queued: 0,
            head_done: 0,
        }
    }

    /// Room for that many more bytes?
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        // A message larger than the limit goes alone.
        self.queued == 0 || self.queued + bytes <= SEND_LIMIT
    }

    pub(super) fn push(&mut self, frag: Frag) {
        self.queued += frag.len() as usize;
        self.queue.push_back(frag);
    }

    pub(super) fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a starved application should try again.
    pub(super) fn has_drained_enough(&self) -> bool {
        self.queued <= SEND_LIMIT / 2
    }

    /// Writes until the queue or the socket's buffer is at its end, then the FIN if it is due.
    pub(super) fn write(&mut self) -> io::Result<Written> {
        let mut written = Written::default();
        while self.writable && !self.queue.is_empty() {
            let result = write_some(&mut self.stream, &self.queue, self.head_done);
            written.calls += 1;
            match result {
                Ok(n) => {
                    written.bytes += n as u64;
                    self.sent_any = true;
                    self.consume(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if self.shut && !self.fin_sent && self.queue.is_empty() {
            self.fin_sent = true;
            self.stream.shutdown(std::net::Shutdown::Write)?;
        }
        Ok(written)
    }

    fn consume(&mut self, n: usize) {
        self.queued -= n;
        self.head_done += n;
        while let Some(frag) = self.queue.front()
            && self.head_done >= frag.len() as usize
        {
            self.head_done -= frag.len() as usize;
            self.queue.pop_front();
        }
    }

    pub(super) fn retransmits(&self) -> Option<u64> {
        info::retransmits(self.stream.as_fd())
    }

    /// How the end of this connection is told.
    pub(super) fn closed(&self, kind: CloseKind) -> Closed {
        Closed { kind, maybe_delivered: self.sent_any }
    }
}

/// One `writev` of the first fragments.
fn write_some(stream: &mut TcpStream, queue: &VecDeque<Frag>, head_done: usize) -> io::Result<usize> {
    let mut iovs = [IoSlice::new(&[]); IOVS];
    let mut n = 0;
    let mut skip = head_done;
    for (iov, frag) in iovs.iter_mut().zip(queue) {
        // Foreign memory was copied when it was queued.
        let bytes = frag.bytes().unwrap_or_default();
        *iov = IoSlice::new(bytes.get(skip..).unwrap_or_default());
        skip = 0;
        n += 1;
    }
    stream.write_vectored(iovs.get(..n).unwrap_or_default())
}

/// What an error of a socket means.
pub(super) fn kind_of(e: &io::Error) -> CloseKind {
    match e.kind() {
        io::ErrorKind::ConnectionRefused => CloseKind::Refused,
        // Not connected any more: a reset that came before the call.
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected => CloseKind::Reset,
        io::ErrorKind::TimedOut => CloseKind::TimedOut,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            CloseKind::Unreachable
        }
        _ => CloseKind::Os(e.raw_os_error().unwrap_or(0)),
    }
}
