//! Fetches a blob into a file. The file appears under its name when all of it is there and its hash is the server's.

use core::time::Duration;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use luna_core::rpc::{ByteStream, CallId, FragVec, Handler, Request, Response, RpcError, SessionCx, Status};
use luna_core::zbuf::Zbuf;
use sha2::{Digest, Sha256};

use super::{CHUNK, CHUNK_DEADLINE, DEPTH, DISK_DEADLINE, accepted, try_again};
use crate::client::{ClientError, Job, Step};
use crate::service::store::{Hash, hex};
use crate::service::wire::{self, Fields, meta};

const OPEN: u64 = 1;
const READ: u64 = 2;
const HASH: u64 = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Opening,
    Data,
    Hash,
    Hashing,
    /// All is here; the hash is not compared yet.
    Received,
    Done,
}

/// A range that was asked for.
#[derive(Clone, Copy, Default)]
struct Range {
    offset: u64,
    len: u32,
    arrived: u32,
    busy: bool,
}

/// A get under way.
pub struct Get {
    name: String,
    target: PathBuf,
    temporary: PathBuf,
    file: File,
    phase: Phase,
    handle: u64,
    size: u64,
    next: u64,
    ranges: [Range; DEPTH],
    arrived: u64,
    remote: Option<Hash>,
    local: Option<Hash>,
    failure: Option<ClientError>,
    started: Option<Instant>,
    transferred: Duration,
}

impl Get {
    /// Will fetch `name` into `target`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(name: &str, target: &Path) -> Result<Self, ClientError> {
        let failed = |source| ClientError::File { path: target.to_owned(), source };
        let Some(file_name) = target.file_name().filter(|_| !target.is_dir()) else {
            return Err(failed(io::Error::other("not a file name")));
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(file_name);
        hidden.push(format!(".luna-get-{}", std::process::id()));
        let temporary = target.with_file_name(hidden);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&temporary).map_err(failed)?;
        Ok(Self {
            name: name.to_owned(),
            target: target.to_owned(),
            temporary,
            file,
            phase: Phase::Open,
            handle: 0,
            size: 0,
            next: 0,
            ranges: [Range::default(); DEPTH],
            arrived: 0,
            remote: None,
            local: None,
            failure: None,
            started: None,
            transferred: Duration::ZERO,
        })
    }

    /// Bytes of the blob; 0 until the server has told.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that arrived.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.arrived
    }

    /// Time from the first call to the last byte.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.transferred
    }

    /// SHA-256 of the file that was written here, and of the blob there.
    #[must_use]
    pub fn hashes(&self) -> Option<(Hash, Hash)> {
        self.local.zip(self.remote)
    }

    fn failed(&self, source: io::Error) -> ClientError {
        ClientError::File { path: self.target.clone(), source }
    }

    fn ask<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>) -> Result<(), ClientError> {
        while self.next < self.size {
            let Some(free) = self.ranges.iter().position(|r| !r.busy) else { return Ok(()) };
            let len = (self.size - self.next).min(u64::from(CHUNK)) as u32;
            let metadata = meta(&[&self.handle.to_le_bytes(), &self.next.to_le_bytes(), &len.to_le_bytes()]);
            let user = READ | (free as u64) << 8;
            match cx.call(wire::GET_READ, &metadata, &mut FragVec::new(), Some(CHUNK_DEADLINE), user) {
                Ok(_) => {
                    if let Some(range) = self.ranges.get_mut(free) {
                        *range = Range { offset: self.next, len, arrived: 0, busy: true };
                    }
                    self.next += u64::from(len);
                }
                Err(e) => return try_again("a range", e),
            }
        }
        Ok(())
    }

    fn take(&mut self, user: u64, piece: &[u8]) -> Result<(), ClientError> {
        let Some(range) = self.ranges.get_mut((user >> 8) as usize) else {
            return Err(ClientError::Nonsense("a range"));
        };
        if range.len - range.arrived < piece.len() as u32 {
            return Err(ClientError::Nonsense("a range"));
        }
        let at = range.offset + u64::from(range.arrived);
        range.arrived += piece.len() as u32;
        self.arrived += piece.len() as u64;
        self.file.write_all_at(piece, at).map_err(|e| self.failed(e))
    }

    fn answered(&mut self, user: u64, result: &mut Result<Response<'_>, RpcError>) -> Result<(), ClientError> {
        match user & 0xff {
            OPEN => {
                let mut answer = Fields(accepted("the get", result)?);
                let (handle, size) = answer.u64().zip(answer.u64()).ok_or(ClientError::Nonsense("the get"))?;
                (self.handle, self.size) = (handle, size);
                self.phase = Phase::Data;
                self.ended();
            }
            READ => {
                accepted("a range", result)?;
                if let Ok(response) = result {
                    for piece in response.payload.pieces() {
                        self.take(user, piece)?;
                    }
                }
                let Some(range) = self.ranges.get_mut((user >> 8) as usize) else {
                    return Err(ClientError::Nonsense("a range"));
                };
                if range.arrived != range.len {
                    return Err(ClientError::Nonsense("a range"));
                }
                range.busy = false;
                self.ended();
            }
            _ => {
                let answer = accepted("the hash", result)?;
                self.remote = Some(Fields(answer).hash().ok_or(ClientError::Nonsense("the hash"))?);
                self.phase = Phase::Received;
            }
        }
        Ok(())
    }

    fn ended(&mut self) {
        if self.phase == Phase::Data && self.arrived == self.size && self.ranges.iter().all(|r| !r.busy) {
            self.transferred = self.started.map_or(Duration::ZERO, |t| t.elapsed());
            self.phase = Phase::Hash;
        }
    }
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Get {
    fn drop(&mut self) {
        if self.phase != Phase::Done
            && let Err(e) = fs::remove_file(&self.temporary)
        {
            log::warn!("{}: {e}", self.temporary.display());
        }
    }
}

impl Job for Get {
    /// Hashes the file as it was written, and gives it its name.
    fn conclude(&mut self) -> Result<(), ClientError> {
        let mut hash = Sha256::new();
        let mut file = File::open(&self.temporary).map_err(|e| self.failed(e))?;
        io::copy(&mut file, &mut io::BufWriter::with_capacity(CHUNK as usize, HashWriter(&mut hash)))
            .map_err(|e| self.failed(e))?;
        let local: Hash = hash.finalize().into();
        self.local = Some(local);
        if let Some(remote) = self.remote
            && remote != local
        {
            return Err(ClientError::Mismatch { local: hex(&local), remote: hex(&remote) });
        }
        fs::rename(&self.temporary, &self.target).map_err(|e| self.failed(e))?;
        self.phase = Phase::Done;
        Ok(())
    }

    fn advance<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>) -> Result<Step, ClientError> {
        if let Some(e) = self.failure.take() {
            return Err(e);
        }
        let deadline = Some(DISK_DEADLINE);
        match self.phase {
            Phase::Open => {
                self.started.get_or_insert_with(Instant::now);
                let name = meta(&[self.name.as_bytes()]);
                match cx.call(wire::GET_OPEN, &name, &mut FragVec::new(), deadline, OPEN) {
                    Ok(_) => self.phase = Phase::Opening,
                    Err(e) => try_again("the get", e)?,
                }
            }
            Phase::Data => self.ask(cx)?,
            Phase::Hash => {
                match cx.call(wire::GET_HASH, &self.handle.to_le_bytes(), &mut FragVec::new(), deadline, HASH) {
                    Ok(_) => self.phase = Phase::Hashing,
                    Err(e) => try_again("the hash", e)?,
                }
            }
            Phase::Opening | Phase::Hashing => {}
            Phase::Received | Phase::Done => return Ok(Step::Done),
        }
        Ok(Step::Working)
    }
}

impl Handler for Get {
    fn on_request<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, _request: Request<'_>) {
        // The session answers in our stead should this fail.
        let _ = cx.reply_status(Status::NO_METHOD);
    }

    fn on_response<S: ByteStream>(
        &mut self,
        _cx: &mut SessionCx<'_, '_, S>,
        _call: CallId,
        user: u64,
        mut result: Result<Response<'_>, RpcError>,
    ) {
        if let Err(e) = self.answered(user, &mut result) {
            self.failure.get_or_insert(e);
        }
    }

    fn on_response_body<S: ByteStream>(
        &mut self,
        _cx: &mut SessionCx<'_, '_, S>,
        _call: CallId,
        user: u64,
        chunk: Zbuf,
    ) {
        if user & 0xff == READ
            && let Err(e) = self.take(user, &chunk)
        {
            self.failure.get_or_insert(e);
        }
    }
}
