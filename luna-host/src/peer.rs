//! One connection's RPC session with its memory, and what of the receive window it keeps.

#[cfg(feature = "cycles")]
use luna_core::rpc::ByteStream as _;
use luna_core::rpc::{CallSlot, DetachedSlot, Handler, Session, SessionConfig, SessionError};
use luna_core::zbuf::Zbuf;

use crate::link::{ConnKey, Transport};

/// A connection with its session.
pub struct Peer {
    /// Its name in the transport.
    pub conn: ConnKey,
    /// Its session.
    pub session: Session<'static>,
    /// Bytes that the transport was told are held.
    charged: u32,
}

/// The tables of one session. They live as long as the process, and go from one connection to the next.
pub struct Tables {
    calls: &'static mut [CallSlot],
    detached: &'static mut [DetachedSlot],
}

impl Tables {
    /// Tables for that many calls and detached replies in flight.
    #[must_use]
    pub fn new(calls: usize, detached: usize) -> Self {
        fn slots<T: Default>(n: usize) -> &'static mut [T] {
            Box::leak((0..n).map(|_| T::default()).collect())
        }
        Self { calls: slots(calls), detached: slots(detached) }
    }
}

impl Peer {
    /// A session for a new connection.
    ///
    /// # Errors
    /// A limit above its maximum.
    pub fn new(conn: ConnKey, config: SessionConfig, tables: Tables) -> Result<Self, luna_core::rpc::ConfigError> {
        let session = Session::new(config, tables.calls, tables.detached)?;
        Ok(Self { conn, session, charged: 0 })
    }

    /// The tables back, for the next connection.
    #[must_use]
    pub fn into_tables(self) -> Tables {
        let (calls, detached) = self.session.into_slots();
        Tables { calls, detached }
    }

    /// Bytes arrived. Returns how much more memory is held now.
    ///
    /// # Errors
    /// The peer broke the protocol: the connection is to be aborted.
    #[inline(always)]
    pub fn on_data<T: Transport, H: Handler>(
        &mut self,
        link: &mut T,
        data: Zbuf,
        handler: &mut H,
    ) -> Result<u32, SessionError> {
        #[cfg(feature = "cycles")]
        let before = link.stream(self.conn).enter(luna_core::cycles::Stage::Rpc);
        let kept = self.session.try_keep(data);
        #[cfg(feature = "cycles")]
        link.stream(self.conn).enter(before);
        match kept {
            Ok(more) => {
                self.charged += more;
                Ok(more)
            }
            Err(data) => self.take_data(link, data, handler),
        }
    }

    /// What is not only to be kept.
    #[inline(never)]
    fn take_data<T: Transport, H: Handler>(
        &mut self,
        link: &mut T,
        data: Zbuf,
        handler: &mut H,
    ) -> Result<u32, SessionError> {
        self.session.handle_data(data, &mut link.stream(self.conn), handler)?;
        let held = self.session.held();
        let more = held.saturating_sub(self.charged);
        if held < self.charged {
            link.release(self.conn, self.charged - held);
        }
        self.charged = held;
        Ok(more)
    }

    /// The connection is gone.
    pub fn on_closed<T: Transport, H: Handler>(&mut self, link: &mut T, maybe_executed: bool, handler: &mut H) {
        self.session.handle_closed(maybe_executed, &mut link.stream(self.conn), handler);
    }

    /// There is room to send again.
    pub fn on_writable<T: Transport, H: Handler>(&mut self, link: &mut T, handler: &mut H) {
        self.session.handle_writable(&mut link.stream(self.conn), handler);
    }

    /// Once every turn.
    #[inline]
    pub fn poll<T: Transport, H: Handler>(&mut self, link: &mut T, handler: &mut H) {
        let now = link.now();
        if self.session.poll_deadline().is_some_and(|at| at <= now) {
            self.session.handle_timeout(now, &mut link.stream(self.conn), handler);
        }
    }
}
