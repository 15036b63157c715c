//! The machine that a measurement ran on, and where its threads run.

use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// What a reader of a benchmark must know of the machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Machine {
    /// Processor's name.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// Kernel release.
    pub kernel: String,
    /// Architecture.
    pub arch: String,
    /// Luna's version.
    pub luna: &'static str,
    /// Whether this is an optimised build.
    pub optimised: bool,
}

impl Machine {
    /// Of this process.
    #[must_use]
    pub fn describe() -> Self {
        let uname = rustix::system::uname();
        Self {
            cpu: cpu_name().unwrap_or_else(|| "unknown".into()),
            cpus: allowed_cpus(),
            kernel: uname.release().to_string_lossy().into_owned(),
            arch: uname.machine().to_string_lossy().into_owned(),
            luna: env!("CARGO_PKG_VERSION"),
            optimised: !cfg!(debug_assertions),
        }
    }
}

fn cpu_name() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|l| l.starts_with("model name") || l.starts_with("Model"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// CPUs that this thread may use; 1 when the kernel does not tell.
#[must_use]
pub fn allowed_cpus() -> usize {
    sched_getaffinity(None).map_or(1, |set| set.count() as usize)
}

/// A CPU that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot run on CPU {cpu}: {source}; `nproc --all` tells how many there are, `taskset -p $$` which are allowed")]
pub struct PinError {
    cpu: usize,
    source: rustix::io::Errno,
}

/// Keeps the calling thread on one CPU.
///
/// # Errors
/// [`PinError`] when there is no such CPU or it is not allowed.
pub fn pin(cpu: usize) -> Result<(), PinError> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(PinError { cpu, source: rustix::io::Errno::INVAL });
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(|source| PinError { cpu, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_name_and_cpus() {
        let m = Machine::describe();
        assert!(m.cpus >= 1 && !m.kernel.is_empty() && !m.cpu.is_empty());
    }

    #[test]
    fn a_thread_stays_where_it_is_pinned_and_an_absent_cpu_is_an_error() {
        std::thread::spawn(|| {
            let first = (0..CpuSet::MAX_CPU).find(|c| sched_getaffinity(None).unwrap().is_set(*c)).unwrap();
            pin(first).unwrap();
            assert_eq!(allowed_cpus(), 1);
            assert!(pin(CpuSet::MAX_CPU - 1).unwrap_err().to_string().contains("cannot run on CPU"));
            assert!(pin(usize::MAX).is_err());
        })
        .join()
        .unwrap();
    }
}
