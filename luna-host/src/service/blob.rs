//! The blob service: handles, and what each method does with the store. Answers are values; who sends them is not
//! known here.

use luna_core::rpc::{FragVec, Status};
use luna_core::zbuf::Pool;

use super::store::{Blob, BlobName, Hash, Put, Store, StoreError};
use super::wire::{self, Fields, STALE, meta};
use super::worker::Worker;
use crate::link::ConnKey;
use crate::report::Counters;

/// Puts and gets open at once.
const HANDLES: usize = 256;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: Status,
    pub(super) metadata: Vec<u8>,
    pub(super) payload: Box<FragVec>,
}

/// What became of a request.
pub(super) enum Outcome {
    /// This is the answer.
    Done(Answer),
    /// The answer comes from [`BlobService::poll`] under this name.
    Later(u64),
    /// Memory is short: ask again.
    Again,
}

enum Open {
    Put(Put),
    Get(Blob),
}

struct Handle {
    generation: u32,
    owner: ConnKey,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    puts: u64,
    gets: u64,
    put_bytes: u64,
    get_bytes: u64,
    failed: u64,
    refused: u64,
}

/// Blobs under one directory, for all connections of one thread.
pub struct BlobService {
    store: Store,
    worker: Worker,
    payload: &'static Pool,
    handles: Vec<Handle>,
    count: Count,
}

impl Answer {
    pub(super) fn ok(metadata: &[u8]) -> Self {
        Self { status: Status::OK, metadata: metadata.to_vec(), payload: Box::default() }
    }

    pub(super) fn refuse(status: Status, why: &str) -> Self {
        Self { status, metadata: wire::sentence(why).to_vec(), payload: Box::default() }
    }
}

impl From<StoreError> for Answer {
    fn from(e: StoreError) -> Self {
        Self::refuse(wire::status_of(&e), &e.to_string())
    }
}

impl BlobService {
    /// Serves `store`; payload goes out in objs of `payload`.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn new(store: Store, payload: &'static Pool) -> std::io::Result<Self> {
        Ok(Self { store, worker: Worker::start()?, payload, handles: Vec::new(), count: Count::default() })
    }

    fn open(&mut self, owner: ConnKey, open: Open) -> Result<u64, Answer> {
        let slot = match self.handles.iter().position(|h| h.open.is_none()) {
            Some(slot) => slot,
            None if self.handles.len() < HANDLES => {
                self.handles.push(Handle { generation: 0, owner, open: None });
                self.handles.len() - 1
            }
            None => {
                self.count.refused += 1;
                return Err(Answer::refuse(Status::BUSY, "too many blobs are open on the server"));
            }
        };
        let Some(handle) = self.handles.get_mut(slot) else { return Err(stale()) };
        handle.generation = handle.generation.wrapping_add(1);
        handle.owner = owner;
        handle.open = Some(open);
        Ok(u64::from(handle.generation) << 32 | slot as u64)
    }

    fn handle(&mut self, owner: ConnKey, name: u64) -> Result<&mut Option<Open>, Answer> {
        let slot = (name & u64::from(u32::MAX)) as usize;
        match self.handles.get_mut(slot) {
            Some(h) if u64::from(h.generation) == name >> 32 && h.owner == owner && h.open.is_some() => Ok(&mut h.open),
            _ => Err(stale()),
        }
    }

    /// The request of that method, whose payload is whole (only PUT_DATA has any).
    pub(super) fn request(&mut self, owner: ConnKey, method: u16, metadata: &[u8]) -> Outcome {
        let result = match method {
            wire::PUT_OPEN => self.put_open(owner, metadata).map(Outcome::Done),
            wire::PUT_COMMIT => self.put_commit(owner, metadata),
            wire::GET_OPEN => self.get_open(owner, metadata).map(Outcome::Done),
            wire::GET_READ => self.get_read(owner, metadata),
            wire::GET_HASH => self.get_hash(owner, metadata),
            wire::CLOSE => self.close(owner, metadata).map(Outcome::Done),
            _ => Err(Answer::refuse(Status::NO_METHOD, "no such method")),
        };
        result.unwrap_or_else(|answer| {
            self.count.failed += 1;
            Outcome::Done(answer)
        })
    }

    fn put_open(&mut self, owner: ConnKey, metadata: &[u8]) -> Result<Answer, Answer> {
        let mut fields = Fields(metadata);
        let size = fields.u64().ok_or_else(malformed)?;
        let name = BlobName::parse(fields.rest())?;
        let put = self.store.put(&name, size)?;
        let handle = self.open(owner, Open::Put(put))?;
        self.count.puts += 1;
        Ok(Answer::ok(&handle.to_le_bytes()))
    }

    /// Where a chunk goes: the handle and the offset of its first byte.
    pub(super) fn put_begin(&mut self, owner: ConnKey, metadata: &[u8]) -> Result<(u64, u64), Answer> {
        let mut fields = Fields(metadata);
        let (handle, offset) = fields.u64().zip(fields.u64()).ok_or_else(malformed)?;
        match self.handle(owner, handle)? {
            Some(Open::Put(put)) if put.arrived() == offset => Ok((handle, offset)),
            Some(Open::Put(put)) => Err(StoreError::Offset { offset, expected: put.arrived() }.into()),
            _ => Err(stale()),
        }
    }

    /// A piece of a chunk. After an error of the disk the put is gone.
    pub(super) fn put_data(&mut self, owner: ConnKey, handle: u64, offset: u64, bytes: &[u8]) -> Result<(), Answer> {
        let open = self.handle(owner, handle)?;
        let Some(Open::Put(put)) = open else { return Err(stale()) };
        if let Err(e) = put.write(offset, bytes) {
            *open = None;
            self.count.failed += 1;
            return Err(e.into());
        }
        self.count.put_bytes += bytes.len() as u64;
        Ok(())
    }

    fn put_commit(&mut self, owner: ConnKey, metadata: &[u8]) -> Result<Outcome, Answer> {
        let handle = Fields(metadata).u64().ok_or_else(malformed)?;
        let open = self.handle(owner, handle)?;
        let Some(Open::Put(put)) = open.take_if(|o| matches!(o, Open::Put(_))) else { return Err(stale()) };
        self.submit(|| put.commit())
    }

    fn get_open(&mut self, owner: ConnKey, metadata: &[u8]) -> Result<Answer, Answer> {
        let name = BlobName::parse(metadata)?;
        let blob = self.store.get(&name)?;
        let size = blob.size();
        let handle = self.open(owner, Open::Get(blob))?;
        self.count.gets += 1;
        Ok(Answer::ok(&meta(&[&handle.to_le_bytes(), &size.to_le_bytes()])))
    }

    fn get_read(&mut self, owner: ConnKey, metadata: &[u8]) -> Result<Outcome, Answer> {
        let mut fields = Fields(metadata);
        let (handle, offset) = fields.u64().zip(fields.u64()).ok_or_else(malformed)?;
        let len = fields.u32().ok_or_else(malformed)?;
        let pool = self.payload;
        let Some(Open::Get(blob)) = self.handle(owner, handle)? else { return Err(stale()) };
        if len > MAX_READ.min(pool.data_capacity().saturating_mul(MAX_FRAGS)) {
            return Err(Answer::refuse(Status::TOO_LARGE, "a read of more than 1 MiB"));
        }
        if offset.checked_add(u64::from(len)).is_none_or(|end| end > blob.size()) {
            return Err(Answer::refuse(Status::BAD_REQUEST, "a read beyond the end of the blob"));
        }
        let mut answer = Answer::ok(&[]);
        let mut done = 0;
        while done < len {
            // Straight into the memory that will be sent.
            let Some(mut obj) = pool.alloc() else { return Ok(Outcome::Again) };
            let n = obj.set_len(len - done);
            blob.read(offset + u64::from(done), &mut obj)?;
            done += n;
            if answer.payload.push(obj.freeze().into()).is_err() {
                return Err(Answer::refuse(Status::TOO_LARGE, "a read of too many pieces"));
            }
        }
        self.count.get_bytes += u64::from(len);
        Ok(Outcome::Done(answer))
    }

    fn get_hash(&mut self, owner: ConnKey, metadata: &[u8]) -> Result<Outcome, Answer> {
        let handle = Fields(metadata).u64().ok_or_else(malformed)?;
        let Some(Open::Get(blob)) = self.handle(owner, handle)? else { return Err(stale()) };
        let blob = blob.duplicate()?;
        self.submit(move || blob.hash())
    }

    fn close(&mut self, owner: ConnKey, metadata: &[u8]) -> Result<Answer, Answer> {
        let handle = Fields(metadata).u64().ok_or_else(malformed)?;
        *self.handle(owner, handle)? = None;
        Ok(Answer::ok(&[]))
    }

    fn submit(&mut self, job: impl FnOnce() -> Result<Hash, StoreError> + Send + 'static) -> Result<Outcome, Answer> {
        match self.worker.submit(job) {
            Some(name) => Ok(Outcome::Later(name)),
            None => {
                self.count.refused += 1;
                Err(Answer::refuse(Status::BUSY, "too much work waits for the server's disk"))
            }
        }
    }

    /// An answer that was promised.
    pub(super) fn poll(&mut self) -> Option<(u64, Answer)> {
        let (name, result) = self.worker.poll()?;
        let answer = match result {
            Ok(hash) => Answer::ok(&hash),
            Err(e) => {
                self.count.failed += 1;
                e.into()
            }
        };
        Some((name, answer))
    }

    /// The connection is gone, and with it what it had open.
    pub(super) fn forget(&mut self, owner: ConnKey) {
        self.handles.iter_mut().filter(|h| h.owner == owner).for_each(|h| h.open = None);
    }

    pub(super) fn counters(&self) -> Counters {
        let Count { puts, gets, put_bytes, get_bytes, failed, refused } = self.count;
        [
            ("puts", puts),
            ("put_bytes", put_bytes),
            ("gets", gets),
            ("get_bytes", get_bytes),
            ("blob_errors", failed),
            ("blob_refused", refused),
        ]
        .into_iter()
        .collect()
    }
}

const MAX_READ: u32 = wire::MAX_CHUNK;
/// Fragments of one answer; one place is the frame head's.
const MAX_FRAGS: u32 = luna_core::rpc::MAX_CHUNKS as u32;

fn stale() -> Answer {
    Answer::refuse(STALE, "the handle is not one of an open blob of this connection")
}

fn malformed() -> Answer {
    Answer::refuse(Status::BAD_REQUEST, "the request's metadata is too short")
}
