//! Named blobs under one directory.
//!
//! A put writes a hidden temporary file, hashes what arrives in order, and appears under its name in one rename: a
//! reader sees the old blob or the whole new one, and a put that ends early leaves nothing. Temporary files are locked
//! while they are written, so that those of a crashed server are told from those of a running one, and removed.
//!
//! Absent: directories within the root, links (never followed), deletion, listing.

use core::sync::atomic::{AtomicU64, Ordering};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use sha2::{Digest, Sha256};

/// Start of every temporary file's name; no blob's name starts with a dot.
const TEMPORARY: &str = ".luna-put-";
/// Longest name of a blob, in bytes.
pub const MAX_NAME: usize = 200;
/// Bytes of a SHA-256.
pub const HASH_LEN: usize = 32;
/// Piece in which a file is hashed.
const HASH_STEP: usize = 256 << 10;

/// A SHA-256.
pub type Hash = [u8; HASH_LEN];

/// A name that is safe as a file name in the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlobName(String);

/// Why a blob was not stored or not found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not a name.
    #[error("bad blob name: {0}")]
    Name(&'static str),
    /// Nobody put it.
    #[error("there is no blob '{0}'")]
    NotFound(String),
    /// Something else than a plain file has that name.
    #[error("'{0}' is not a plain file")]
    NotAFile(String),
    /// The disk or quota is full.
    #[error("no space for '{name}': {source}")]
    NoSpace {
        /// Of the blob.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The server may not.
    #[error("no permission for '{name}': {source}")]
    Denied {
        /// Of the blob or directory.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A chunk that does not follow the last one.
    #[error("chunk at offset {offset}, expected {expected}: chunks of a put are sent in order")]
    Offset {
        /// Where it would be.
        offset: u64,
        /// Where the next one is.
        expected: u64,
    },
    /// More bytes than announced.
    #[error("{end} bytes for a blob that was announced with {size}")]
    TooLong {
        /// Bytes with this chunk.
        end: u64,
        /// Bytes announced.
        size: u64,
    },
    /// Fewer bytes than announced.
    #[error("the blob has {arrived} of its {size} bytes")]
    Incomplete {
        /// Bytes that arrived.
        arrived: u64,
        /// Bytes announced.
        size: u64,
    },
    /// The disk failed otherwise.
    #[error("'{name}': {source}")]
    Io {
        /// Of the blob.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl StoreError {
    fn of(name: &str, source: io::Error) -> Self {
        let name = name.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound(name),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::NoSpace { name, source }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied { name, source },
            // What O_NOFOLLOW says of a link.
            _ if source.raw_os_error() == Some(libc::ELOOP) => Self::NotAFile(name),
            _ => Self::Io { name, source },
        }
    }
}

impl BlobName {
    /// Accepts what is one plain file name.
    ///
    /// # Errors
    /// [`StoreError::Name`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        let name = core::str::from_utf8(bytes).map_err(|_| StoreError::Name("not UTF-8"))?;
        let problem = if name.is_empty() {
            "empty"
        } else if name.len() > MAX_NAME {
            "longer than 200 bytes"
        } else if name.starts_with('.') {
            "starts with a dot"
        } else if name.contains(['/', '\\']) {
            "contains a path separator"
        } else if name.chars().any(char::is_control) {
            "contains a control character"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(StoreError::Name(problem))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The directory.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens `root`, makes it when it is absent, and removes what crashed servers left there.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let shown = root.display().to_string();
        let failed = |e| StoreError::of(&shown, e);
        DirBuilder::new().recursive(true).mode(0o755).create(root).map_err(failed)?;
        for entry in fs::read_dir(root).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(TEMPORARY)) {
                remove_if_abandoned(&path);
            }
        }
        let store = Self { root: root.to_owned() };
        // A root that takes no files is better known now than at the first put.
        drop(Put::create(&store.root, shown, 0)?);
        Ok(store)
    }

    /// Starts to store `size` bytes.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] at once where the file system can reserve, [`StoreError::Denied`].
    pub fn put(&self, name: &BlobName, size: u64) -> Result<Put, StoreError> {
        Put::create(&self.root, name.0.clone(), size)
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] and others.
    pub fn get(&self, name: &BlobName) -> Result<Blob, StoreError> {
        let failed = |e| StoreError::of(&name.0, e);
        // O_NONBLOCK: opening a FIFO that somebody put there must not wait for its other end.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.root.join(&name.0)).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(StoreError::NotAFile(name.0.clone()));
        }
        Ok(Blob { file, size: meta.len(), name: name.0.clone() })
    }
}

/// Removes a temporary file that nobody holds the lock of.
fn remove_if_abandoned(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        match fs::remove_file(path) {
            Ok(()) => log::info!("removed {}, left by a put that did not finish", path.display()),
            Err(e) => log::warn!("{} is left by a put that did not finish: {e}", path.display()),
        }
    }
}

/// A blob that is arriving. Dropped before its commit, it leaves nothing.
#[derive(Debug)]
pub struct Put {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    name: String,
    size: u64,
    arrived: u64,
    hash: Sha256,
}

impl Put {
    fn create(root: &Path, name: String, size: u64) -> Result<Self, StoreError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let temporary = root.join(format!("{TEMPORARY}{}-{number}", std::process::id()));
        let target = root.join(&name);
        let failed = |e| StoreError::of(&name, e);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary).map_err(failed)?;
        let put = Self { file, temporary, target, name: name.clone(), size, arrived: 0, hash: Sha256::new() };
        flock(&put.file, FlockOperation::NonBlockingLockExclusive).map_err(|e| failed(e.into()))?;
        if size > 0 {
            match fallocate(&put.file, FallocateFlags::empty(), 0, size) {
                // Where the file system cannot reserve, a write will tell.
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
                Err(e) => return Err(failed(e.into())),
            }
        }
        Ok(put)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`StoreError::Offset`] and [`StoreError::TooLong`] change nothing; after a disk error the put is to be dropped.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        if offset != self.arrived {
            return Err(StoreError::Offset { offset, expected: self.arrived });
        }
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.size {
            return Err(StoreError::TooLong { end, size: self.size });
        }
        self.file.write_all_at(bytes, offset).map_err(|e| StoreError::of(&self.name, e))?;
        self.hash.update(bytes);
        self.arrived = end;
        Ok(())
    }

    /// Bytes that arrived.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Makes the blob durable and visible; returns the SHA-256 of what arrived.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`], or what the disk said; nothing is left then.
    pub fn commit(self) -> Result<Hash, StoreError> {
        let failed = |e| StoreError::of(&self.name, e);
        if self.arrived != self.size {
            return Err(StoreError::Incomplete { arrived: self.arrived, size: self.size });
        }
        self.file.sync_data().map_err(failed)?;
        fs::rename(&self.temporary, &self.target).map_err(failed)?;
        if let Some(root) = self.target.parent() {
            File::open(root).and_then(|d| d.sync_all()).map_err(failed)?;
        }
        Ok(self.hash.clone().finalize().into())
    }
}

impl Drop for Put {
    fn drop(&mut self) {
        // After a commit the name is gone already.
        if let Err(e) = fs::remove_file(&self.temporary)
            && e.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{}: {e}", self.temporary.display());
        }
    }
}

/// A blob open for reading: the same bytes until dropped, whatever is put under its name meanwhile.
#[derive(Debug)]
pub struct Blob {
    file: File,
    size: u64,
    name: String,
}

impl Blob {
    /// Bytes in it.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills `out` from `offset`.
    ///
    /// # Errors
    /// What the disk said, the end of the file included.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.file.read_exact_at(out, offset).map_err(|e| StoreError::of(&self.name, e))
    }

    /// A second handle for another thread.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn duplicate(&self) -> Result<Self, StoreError> {
        let file = self.file.try_clone().map_err(|e| StoreError::of(&self.name, e))?;
        Ok(Self { file, size: self.size, name: self.name.clone() })
    }

    /// SHA-256 of the whole blob.
    ///
    /// # Errors
    /// What the disk said.
    pub fn hash(&self) -> Result<Hash, StoreError> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; HASH_STEP];
        let mut offset = 0;
        while offset < self.size {
            let n = (self.size - offset).min(HASH_STEP as u64) as usize;
            let (piece, _) = buffer.split_at_mut(n);
            self.read(offset, piece)?;
            hash.update(&*piece);
            offset += n as u64;
        }
        Ok(hash.finalize().into())
    }
}

/// A hash as people write it.
#[must_use]
pub fn hex(hash: &Hash) -> String {
    hash.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;
