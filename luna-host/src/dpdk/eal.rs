//! EAL: DPDK's process-wide state, started once and taken down when its last user is gone.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::collections::VecDeque;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use dpdk_sys as sys;

use super::args::{self, Device};
use super::config::{EalConfig, Vdev};
use super::error::{EalError, PortError};
use super::memory::Memory;
use super::port::{Port, PortConfig, QueueSeed};
use super::tx::Deferred;
use super::{MemoryError, log_stream, mempool};

/// DPDK starts once in the life of a process, whatever becomes of it.
static STARTED: AtomicBool = AtomicBool::new(false);

/// DPDK, started. Dropping it (and all ports and pools) takes DPDK down and removes what it left in the file system.
#[derive(Debug)]
pub struct Eal {
    shared: Arc<EalShared>,
}

/// What ports and pools keep alive.
#[derive(Debug, Default)]
pub(super) struct EalShared {
    /// Sockets that our devices listen on.
    sockets: Mutex<Vec<PathBuf>>,
    devices: AtomicUsize,
    /// References that a port's end left to the threads of its queues.
    left: Mutex<Vec<Deferred>>,
}

impl Eal {
    /// Starts DPDK.
    ///
    /// # Errors
    /// [`EalError`]: what is missing is looked for first, so that DPDK is not even asked.
    pub fn start(config: &EalConfig) -> Result<Self, EalError> {
        let args = args::eal(config)?;
        let args: Result<Vec<CString>, _> = args.into_iter().map(CString::new).collect();
        let args = args.map_err(|_| EalError::BadArgument(config.file_prefix.clone()))?;
        if STARTED.swap(true, Ordering::AcqRel) {
            return Err(EalError::AlreadyStarted);
        }
        log_stream::install();
        log_stream::mark();
        // getopt permutes the pointers and EAL keeps some: they stay for the life of the process.
        let argv: Vec<*mut libc::c_char> = args.into_iter().map(CString::into_raw).collect();
        let argc = argv.len() as i32;
        let argv = Box::leak(argv.into_boxed_slice());
        // SAFETY: argc strings, terminated and never freed; the first and only call in this process.
        let ret = unsafe { sys::rte_eal_init(argc, argv.as_mut_ptr()) };
        // In memory mode EAL makes the directory and puts nothing into it: gone now, it cannot be left behind.
        if let Some(dir) = runtime_dir(&config.file_prefix) {
            let _ = std::fs::remove_dir_all(dir);
        }
        if ret < 0 {
            return Err(EalError::Init { reason: log_stream::reason(&strerror(last_errno())) });
        }
        mempool::register_ops();
        Ok(Self { shared: Arc::new(EalShared::default()) })
    }

    /// Takes `zones` contiguous zones of 2 MiB out of DPDK's memory.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn memory(&self, zones: usize) -> Result<Memory, MemoryError> {
        Memory::reserve(&self.shared, zones, 0)
    }

    /// Adds a software port. It appears as a DPDK device now; [`Eal::open`] configures it.
    ///
    /// # Errors
    /// [`EalError`].
    pub fn attach(&self, vdev: &Vdev) -> Result<String, EalError> {
        let index = self.shared.devices.fetch_add(1, Ordering::Relaxed);
        let Device { name, args, listens, program } = args::device(vdev, index)?;
        let c_name = CString::new(name.clone()).map_err(|_| EalError::BadArgument(name.clone()))?;
        let c_args = CString::new(args.clone()).map_err(|_| EalError::BadArgument(args))?;
        log_stream::mark();
        // SAFETY: EAL runs, and both strings are terminated.
        let ret = unsafe { sys::rte_vdev_init(c_name.as_ptr(), c_args.as_ptr()) };
        // The PMD opens the program's path when its queue is set up: /proc/self/fd/N must live as long as the process.
        if let Some(program) = program {
            core::mem::forget(program);
        }
        if ret != 0 {
            if let Some(path) = listens {
                let _ = std::fs::remove_file(path);
            }
            return Err(EalError::Vdev { name, reason: log_stream::reason(&strerror(-ret)) });
        }
        if let (Some(path), Ok(mut sockets)) = (listens, self.shared.sockets.lock()) {
            sockets.push(path);
        }
        Ok(name)
    }

    /// Configures and starts port `name` (of [`Eal::attach`], or a PCI address).
    ///
    /// # Errors
    /// [`PortError`], nothing left configured.
    pub fn open(&self, name: &str, config: &PortConfig) -> Result<(Port, VecDeque<QueueSeed>), PortError> {
        Port::open(&self.shared, name, config)
    }

    /// Drops what ports closed by another thread left for this one: references to payload that this thread's queues had
    /// sent, and that the device let go only as it was closed. False while something is left for others.
    pub fn reclaim(&self) -> bool {
        let Ok(mut left) = self.shared.left.lock() else { return false };
        left.retain(|deferred| !deferred.settle());
        left.is_empty()
    }

    /// DPDK's release.
    #[must_use]
    pub fn version() -> String {
        // SAFETY: returns a static string.
        unsafe { CStr::from_ptr(sys::rte_version()) }.to_string_lossy().into_owned()
    }
}

impl Drop for Eal {
    fn drop(&mut self) {
        // Not left to the shared part: a pool that leaks keeps that for ever, and a dead process's socket is in the way.
        if let Ok(mut sockets) = self.shared.sockets.lock() {
            for path in sockets.drain(..) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

impl EalShared {
    /// Keeps what only its owner may drop, see [`Eal::reclaim`].
    pub(super) fn leave(&self, deferred: Deferred) {
        if let Ok(mut left) = self.left.lock() {
            left.push(deferred);
        }
    }
}

impl Drop for EalShared {
    fn drop(&mut self) {
        // SAFETY: the last port and the last pool are gone, so nothing points into DPDK's memory any more.
        unsafe { sys::rte_eal_cleanup() };
    }
}

/// The directory that EAL makes even in memory mode; only ever one with our own prefix.
fn runtime_dir(prefix: &str) -> Option<PathBuf> {
    // SAFETY: returns a static buffer, filled once EAL parsed its arguments.
    let dir = unsafe { sys::rte_eal_get_runtime_dir() };
    if dir.is_null() {
        return None;
    }
    // SAFETY: a terminated string.
    let dir = PathBuf::from(unsafe { CStr::from_ptr(dir) }.to_string_lossy().into_owned());
    (dir.file_name()?.to_str()? == prefix).then_some(dir)
}

pub(super) fn last_errno() -> i32 {
    // SAFETY: reads a thread-local.
    unsafe { sys::luna_errno() }
}

pub(super) fn strerror(errno: i32) -> String {
    // SAFETY: returns a pointer to a thread-local or static string.
    unsafe { CStr::from_ptr(sys::rte_strerror(errno)) }.to_string_lossy().into_owned()
}
