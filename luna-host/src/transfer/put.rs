//! Stores a file as a blob.

use core::mem::replace;
use core::time::Duration;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use luna_core::rpc::{ByteStream, CallId, FragVec, Handler, Request, Response, RpcError, SessionCx, Status};
use luna_core::zbuf::{Frag, Pool};
use sha2::{Digest, Sha256};

use super::{CHUNK, CHUNK_DEADLINE, DEPTH, DISK_DEADLINE, accepted, try_again};
use crate::client::{ClientError, Job, Step};
use crate::service::store::Hash;
use crate::service::wire::{self, Fields, Meta, meta};

const OPEN: u64 = 1;
const DATA: u64 = 2;
const COMMIT: u64 = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Opening,
    Data,
    Committing,
    Done,
}

/// A put under way.
pub struct Put {
    file: File,
    path: std::path::PathBuf,
    name: String,
    size: u64,
    pool: &'static Pool,
    phase: Phase,
    handle: u64,
    /// First byte not read from the file.
    next: u64,
    acknowledged: u64,
    in_flight: usize,
    chunk: Option<(Meta, Box<FragVec>)>,
    hash: Sha256,
    remote: Option<Hash>,
    failure: Option<ClientError>,
    started: Option<Instant>,
    transferred: Duration,
}

impl Put {
    /// Will store `path` as `name`; payload is read into objs of `pool`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn new(path: &Path, name: &str, pool: &'static Pool) -> Result<Self, ClientError> {
        let failed = |source| ClientError::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(failed(std::io::Error::other("not a plain file")));
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            name: name.to_owned(),
            size: meta.len(),
            pool,
            phase: Phase::Open,
            handle: 0,
            next: 0,
            acknowledged: 0,
            in_flight: 0,
            chunk: None,
            hash: Sha256::new(),
            remote: None,
            failure: None,
            started: None,
            transferred: Duration::ZERO,
        })
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that the server has.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.acknowledged
    }

    /// Time from the first call to the last chunk's answer.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.transferred
    }

    /// SHA-256 of what was read here, and of what arrived there.
    #[must_use]
    pub fn hashes(&self) -> Option<(Hash, Hash)> {
        Some((self.hash.clone().finalize().into(), self.remote?))
    }

    /// Reads the next chunk; false when memory is short.
    fn prepare(&mut self) -> Result<bool, ClientError> {
        let len = (self.size - self.next).min(u64::from(CHUNK)) as u32;
        let mut payload = Box::new(FragVec::new());
        let mut pieces: heapless::Vec<_, { luna_core::rpc::MAX_CHUNKS }> = heapless::Vec::new();
        let mut room = 0;
        while room < len {
            let Some(mut obj) = self.pool.alloc() else { return Ok(false) };
            room += obj.set_len(len - room);
            if pieces.push(obj).is_err() {
                return Err(ClientError::Nonsense("a put from memory in small pieces"));
            }
        }
        let mut at = self.next;
        for mut obj in pieces {
            let failed = |source| ClientError::File { path: self.path.clone(), source };
            self.file.read_exact_at(&mut obj, at).map_err(failed)?;
            at += u64::from(obj.len());
            self.hash.update(&*obj);
            if payload.push(Frag::from(obj.freeze())).is_err() {
                return Err(ClientError::Nonsense("a put from memory in small pieces"));
            }
        }
        let metadata = meta(&[&self.handle.to_le_bytes(), &self.next.to_le_bytes()]);
        self.next = at;
        self.chunk = Some((metadata, payload));
        Ok(true)
    }

    fn send_data<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>) -> Result<(), ClientError> {
        // One chunk a turn is read and hashed: meanwhile nobody acknowledges what arrives, and the peer's timers run.
        let mut prepared = false;
        while self.in_flight < DEPTH && (self.chunk.is_some() || self.next < self.size) {
            if self.chunk.is_none() && (replace(&mut prepared, true) || !self.prepare()?) {
                return Ok(());
            }
            let Some((metadata, payload)) = &mut self.chunk else { return Ok(()) };
            let len: u64 = payload.iter().map(|f| u64::from(f.len())).sum();
            match cx.call(wire::PUT_DATA, metadata, &mut **payload, Some(CHUNK_DEADLINE), DATA | len << 8) {
                Ok(_) => {
                    self.chunk = None;
                    self.in_flight += 1;
                }
                Err(e) => return try_again("a chunk", e),
            }
        }
        Ok(())
    }

    fn call<S: ByteStream>(
        &mut self,
        cx: &mut SessionCx<'_, '_, S>,
        what: &'static str,
        (method, user): (u16, u64),
        metadata: &[u8],
        then: Phase,
    ) -> Result<(), ClientError> {
        match cx.call(method, metadata, &mut FragVec::new(), Some(DISK_DEADLINE), user) {
            Ok(_) => {
                self.phase = then;
                Ok(())
            }
            Err(e) => try_again(what, e),
        }
    }

    fn answered(&mut self, user: u64, result: &Result<Response<'_>, RpcError>) -> Result<(), ClientError> {
        match user & 0xff {
            OPEN => {
                let answer = accepted("the put", result)?;
                self.handle = Fields(answer).u64().ok_or(ClientError::Nonsense("the put"))?;
                self.phase = Phase::Data;
            }
            DATA => {
                self.in_flight -= 1;
                accepted("a chunk", result)?;
                self.acknowledged += user >> 8;
                if self.acknowledged == self.size {
                    self.transferred = self.started.map_or(Duration::ZERO, |t| t.elapsed());
                }
            }
            _ => {
                let answer = accepted("the end of the put", result)?;
                self.remote = Some(Fields(answer).hash().ok_or(ClientError::Nonsense("the end of the put"))?);
                self.phase = Phase::Done;
            }
        }
        Ok(())
    }
}

impl Job for Put {
    fn advance<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>) -> Result<Step, ClientError> {
        if let Some(e) = self.failure.take() {
            return Err(e);
        }
        match self.phase {
            Phase::Open => {
                self.started = Some(Instant::now());
                // A name that is cut here is still longer than the server takes.
                let metadata = meta(&[&self.size.to_le_bytes(), self.name.as_bytes()]);
                self.call(cx, "the put", (wire::PUT_OPEN, OPEN), &metadata, Phase::Opening)?;
            }
            Phase::Data if self.acknowledged == self.size => {
                let metadata = self.handle.to_le_bytes();
                let call = (wire::PUT_COMMIT, COMMIT);
                self.call(cx, "the end of the put", call, &metadata, Phase::Committing)?;
            }
            Phase::Data => self.send_data(cx)?,
            Phase::Opening | Phase::Committing => {}
            Phase::Done => return Ok(Step::Done),
        }
        Ok(Step::Working)
    }
}

impl Handler for Put {
    fn on_request<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, _request: Request<'_>) {
        // The session answers in our stead should this fail.
        let _ = cx.reply_status(Status::NO_METHOD);
    }

    fn on_response<S: ByteStream>(
        &mut self,
        _cx: &mut SessionCx<'_, '_, S>,
        _call: CallId,
        user: u64,
        result: Result<Response<'_>, RpcError>,
    ) {
        if let Err(e) = self.answered(user, &result) {
            self.failure.get_or_insert(e);
        }
    }
}
