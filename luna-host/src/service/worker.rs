//! One thread for what takes long on a disk, so that the loop goes on meanwhile.

use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;

use super::store::{Hash, StoreError};

/// Jobs that may wait.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce() -> Result<Hash, StoreError> + Send>;

/// The thread, and what it has finished.
#[derive(Debug)]
pub(super) struct Worker {
    jobs: SyncSender<(u64, Job)>,
    done: Receiver<(u64, Result<Hash, StoreError>)>,
    next: u64,
}

impl Worker {
    pub(super) fn start() -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::sync_channel::<(u64, Job)>(QUEUE);
        let (finished, done) = mpsc::channel();
        thread::Builder::new().name("luna disk".into()).spawn(move || {
            for (id, job) in queue {
                if finished.send((id, job())).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { jobs, done, next: 0 })
    }

    /// Names the job; `None` when too many wait.
    pub(super) fn submit(&mut self, job: impl FnOnce() -> Result<Hash, StoreError> + Send + 'static) -> Option<u64> {
        self.next += 1;
        match self.jobs.try_send((self.next, Box::new(job))) {
            Ok(()) => Some(self.next),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        }
    }

    pub(super) fn poll(&self) -> Option<(u64, Result<Hash, StoreError>)> {
        self.done.try_recv().ok()
    }
}
