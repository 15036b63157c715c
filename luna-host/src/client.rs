//! A client with one connection and one job, over any transport.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use luna_core::rpc::{ByteStream, CallError, Handler, RpcError, SessionConfig, SessionCx, Status};
use luna_core::zbuf::Zbuf;

use crate::link::{CloseKind, Closed, ConnKey, ConnectError, DriverError, Endpoint, Transport};
use crate::peer::{Peer, Tables};

/// How long a connection may take to be established.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of a connection may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// How long a port stays open behind its last connection.
pub(crate) const LINGER: Duration = Duration::from_millis(20);
/// Calls in flight.
const CALLS: usize = 64;

/// Why a client did not do its job.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot connect to {remote}: {why}")]
    Connect {
        /// To whom.
        remote: SocketAddr,
        /// Why not.
        why: CloseKind,
    },
    /// No answer at all.
    #[error("no answer from {0} within 5 s: is `luna serve` running there, and is there a way to it?")]
    Silence(SocketAddr),
    /// Not even tried.
    #[error(transparent)]
    Unable(#[from] ConnectError),
    /// The connection ended before its time.
    #[error("connection to {remote} lost: {why}")]
    Lost {
        /// To whom.
        remote: SocketAddr,
        /// Why.
        why: CloseKind,
    },
    /// A call ended without answer.
    #[error("{what}: {why}")]
    Call {
        /// Which.
        what: &'static str,
        /// Why.
        why: RpcError,
    },
    /// A call could not be made, and never will.
    #[error("{what} cannot be sent: {why}")]
    NotSent {
        /// Which.
        what: &'static str,
        /// Why not.
        why: CallError,
    },
    /// The server's answer is no.
    #[error("the server refused {what}: {message} ({status})")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Its status.
        status: Status,
        /// Its words.
        message: String,
    },
    /// The server's answer makes no sense.
    #[error("the server's answer to {0} makes no sense: is it of another version?")]
    Nonsense(&'static str),
    /// A local file.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What arrived is not what was sent.
    #[error("SHA-256 differs: {local} here, {remote} on the server")]
    Mismatch {
        /// Of the file here.
        local: String,
        /// Of the blob there.
        remote: String,
    },
    /// Stopped by a signal.
    #[error("interrupted")]
    Interrupted,
    /// The transport.
    #[error(transparent)]
    Driver(#[from] DriverError),
}

/// How far a job is.
pub enum Step {
    /// It goes on.
    Working,
    /// All is done.
    Done,
}

/// What a client does once it is connected.
pub trait Job: Handler {
    /// Makes calls, as many as there is room for; asked every turn.
    ///
    /// # Errors
    /// The job cannot be done.
    fn advance<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>) -> Result<Step, ClientError>;

    /// What remains when the connection is over and nobody waits for this thread: work that would stop the loop for
    /// longer than a retransmission timeout.
    ///
    /// # Errors
    /// The job was not done.
    fn conclude(&mut self) -> Result<(), ClientError> {
        Ok(())
    }
}

enum State {
    Idle,
    Connecting(Instant),
    Working,
    /// The job is done, or failed; the connection ends.
    Closing(Instant),
    /// The connection is over; its last acknowledgment must still reach the peer, whose FIN would be sent in vain else.
    Lingering(Instant),
    Over,
}

/// One connection with a job.
pub struct Client<J> {
    job: J,
    remote: SocketAddr,
    peer: Option<Box<Peer>>,
    state: State,
    failure: Option<ClientError>,
}

impl<J: Job> Client<J> {
    /// Does `job` with the server at `remote`.
    #[must_use]
    pub fn new(remote: SocketAddr, job: J) -> Self {
        Self { job, remote, peer: None, state: State::Idle, failure: None }
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The job, to look at.
    #[must_use]
    pub fn job(&self) -> &J {
        &self.job
    }

    /// What came of it.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn finish(mut self) -> Result<J, ClientError> {
        match self.failure {
            Some(e) => Err(e),
            None if matches!(self.state, State::Over | State::Lingering(_) | State::Closing(_)) => {
                self.job.conclude()?;
                Ok(self.job)
            }
            None => Err(ClientError::Interrupted),
        }
    }

    fn fail<T: Transport>(&mut self, link: &mut T, e: ClientError) {
        self.failure.get_or_insert(e);
        match &self.peer {
            Some(peer) => link.abort(peer.conn),
            None => self.state = State::Over,
        }
        if !matches!(self.state, State::Over | State::Lingering(_)) {
            self.state = State::Closing(Instant::now());
        }
    }
}

impl<J: Job> Endpoint for Client<J> {
    fn on_accepted<T: Transport>(&mut self, _link: &mut T, _conn: ConnKey, _remote: SocketAddr) -> Option<u64> {
        None
    }

    fn on_connected<T: Transport>(&mut self, _link: &mut T, _conn: ConnKey, _user: u64) {
        if matches!(self.state, State::Connecting(_)) {
            self.state = State::Working;
        }
    }

    fn on_data<T: Transport>(&mut self, link: &mut T, _conn: ConnKey, _user: u64, data: Zbuf) -> u32 {
        let Some(peer) = &mut self.peer else { return 0 };
        match peer.on_data(link, data, &mut self.job) {
            Ok(kept) => kept,
            Err(e) => {
                log::error!("{}: {e}", self.remote);
                let remote = self.remote;
                self.fail(link, ClientError::Lost { remote, why: CloseKind::Protocol });
                0
            }
        }
    }

    fn on_fin<T: Transport>(&mut self, link: &mut T, conn: ConnKey, _user: u64) {
        if matches!(self.state, State::Working) {
            let remote = self.remote;
            self.fail(link, ClientError::Lost { remote, why: CloseKind::Finished });
        } else {
            link.shutdown(conn);
        }
    }

    fn on_writable<T: Transport>(&mut self, link: &mut T, _conn: ConnKey, _user: u64) {
        if let Some(peer) = &mut self.peer {
            peer.on_writable(link, &mut self.job);
        }
    }

    fn on_closed<T: Transport>(&mut self, link: &mut T, conn: ConnKey, closed: Closed) {
        if self.peer.as_ref().is_none_or(|peer| peer.conn != conn) {
            return;
        }
        let remote = self.remote;
        match self.state {
            State::Connecting(_) => {
                self.failure.get_or_insert(ClientError::Connect { remote, why: closed.kind });
            }
            State::Working => {
                self.failure.get_or_insert(ClientError::Lost { remote, why: closed.kind });
            }
            _ => {}
        }
        self.state = State::Lingering(Instant::now());
        if let Some(mut peer) = self.peer.take() {
            peer.on_closed(link, closed.maybe_delivered, &mut self.job);
        }
    }

    fn poll<T: Transport>(&mut self, link: &mut T) {
        match self.state {
            State::Idle => {
                self.state = State::Connecting(Instant::now());
                let peer = link.connect(self.remote, 0).map_err(ClientError::from).and_then(|conn| {
                    Peer::new(conn, SessionConfig::DEFAULT, Tables::new(CALLS, 0))
                        .map_err(|_| ClientError::Unable(ConnectError::Exhausted("session limits")))
                });
                match peer {
                    Ok(peer) => self.peer = Some(Box::new(peer)),
                    Err(e) => self.fail(link, e),
                }
            }
            State::Connecting(since) if since.elapsed() > CONNECT_PATIENCE => {
                let remote = self.remote;
                self.fail(link, ClientError::Silence(remote));
            }
            State::Working => {
                let Some(peer) = &mut self.peer else { return };
                peer.poll(link, &mut self.job);
                let step = {
                    let mut stream = link.stream(peer.conn);
                    self.job.advance(&mut peer.session.cx(&mut stream))
                };
                match step {
                    Ok(Step::Working) => {}
                    Ok(Step::Done) => {
                        link.shutdown(peer.conn);
                        self.state = State::Closing(Instant::now());
                    }
                    Err(e) => self.fail(link, e),
                }
            }
            State::Closing(since) if since.elapsed() > CLOSE_PATIENCE => {
                if let Some(peer) = &self.peer {
                    link.abort(peer.conn);
                }
                self.state = State::Over;
            }
            State::Lingering(since) if since.elapsed() > LINGER => self.state = State::Over,
            State::Connecting(_) | State::Closing(_) | State::Lingering(_) | State::Over => {}
        }
    }
}
