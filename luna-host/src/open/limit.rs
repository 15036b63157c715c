//! A port's queues without a stack.

use core::net::SocketAddr;

use luna_core::nic::NicQueue;

use super::{OpenError, Options};
use crate::limit::{Checksums, LimitEnd, LimitServer};
use crate::mem_pair;
use crate::nic::Nic;
use crate::run::Idle;

/// What to do with a queue that has no stack; a closure over its type.
pub trait UseQueue: Sized {
    /// What comes of it.
    type Output;
    /// Does it. With `counterpart`, the other end's server is on this thread too, and wants its turns.
    fn run<Q: NicQueue>(self, end: LimitEnd<Q>, counterpart: Option<LimitServer<Q>>, idle: Idle) -> Self::Output;
    /// There is no queue for it; whoever waits for it must not.
    fn abandon(self) {}
}

impl Options {
    /// Opens a port without a stack on every thread, and uses each queue. `listen` says that this side is the server.
    /// Without a port of two sides both ends are in this process, each pair on a thread, and the uses get the client's end.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn limit<U: UseQueue<Output: Send> + Send>(
        &self,
        checksums: Checksums,
        listen: Option<SocketAddr>,
        uses: Vec<U>,
    ) -> Result<Vec<U::Output>, OpenError> {
        let idle = self.idle(uses.len());
        match (&self.nic, listen) {
            (Nic::Mem { mtu, checksums: summed }, None) => {
                let pairs = (0..self.threads).map(|_| mem_pair::pair(*mtu, !*summed));
                self.on_threads(pairs.zip(uses).collect(), |i, ((server, client), to)| {
                    let open = || {
                        self.pin(i)?;
                        Ok((LimitServer::new(server.open_limit()?, checksums), client.open_limit()?))
                    };
                    match open() {
                        Ok((server, client)) => Ok(to.run(client, Some(server), idle)),
                        Err(e) => {
                            to.abandon();
                            Err(e)
                        }
                    }
                })
            }
            (Nic::Mem { .. }, Some(_)) => Err(OpenError::MemIsClosed("knbench brings its own server")),
            (_, _) => self.limit_on_port(listen, uses, idle),
        }
    }

    #[cfg(feature = "dpdk")]
    fn limit_on_port<U: UseQueue<Output: Send> + Send>(
        &self,
        listen: Option<SocketAddr>,
        uses: Vec<U>,
        idle: Idle,
    ) -> Result<Vec<U::Output>, OpenError> {
        self.pin(0)?;
        let (port, seeds) = crate::dpdk_port::open(&self.nic, self.threads, listen, self.tcp(), self.capacity())?;
        let outputs = self.on_threads(seeds.into_iter().zip(uses).collect(), |i, (seed, to)| {
            match self.pin(i).and_then(|()| Ok(seed.open_limit()?)) {
                Ok(end) => Ok(to.run(end, None, idle)),
                Err(e) => {
                    to.abandon();
                    Err(e)
                }
            }
        });
        drop(port);
        outputs
    }

    #[cfg(not(feature = "dpdk"))]
    fn limit_on_port<U: UseQueue<Output: Send> + Send>(
        &self,
        _listen: Option<SocketAddr>,
        _uses: Vec<U>,
        _idle: Idle,
    ) -> Result<Vec<U::Output>, OpenError> {
        Err(crate::nic::NicError::NoDpdk.into())
    }
}
