//! The machine that a measurement ran on, and where its threads run.

use core::time::Duration;
use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// What a reader of a benchmark must know of the machine.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Machine {
    /// Processor's name.
    pub cpu: String,
    /// CPUs of the machine.
    pub cpus: usize,
    /// Its clock in MHz, as the kernel says now; `null` where it does not.
    pub mhz: Option<f64>,
    /// Kernel release.
    pub kernel: String,
    /// The kernel's default congestion control; `null` where it does not tell.
    pub congestion_control: Option<String>,
    /// DPDK's release; `null` in a build without it.
    pub dpdk: Option<String>,
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
            cpu: cpu_field("model name").or_else(|| cpu_field("Model")).unwrap_or_else(|| "unknown".into()),
            cpus: online_cpus(),
            mhz: cpu_field("cpu MHz").and_then(|mhz| mhz.parse().ok()),
            congestion_control: fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")
                .ok()
                .map(|name| name.trim().to_owned()),
            dpdk: dpdk_version(),
            kernel: uname.release().to_string_lossy().into_owned(),
            arch: uname.machine().to_string_lossy().into_owned(),
            luna: env!("CARGO_PKG_VERSION"),
            optimised: !cfg!(debug_assertions),
        }
    }
}

#[cfg(feature = "dpdk")]
fn dpdk_version() -> Option<String> {
    Some(crate::dpdk::Eal::version())
}

#[cfg(not(feature = "dpdk"))]
fn dpdk_version() -> Option<String> {
    None
}

fn cpu_field(name: &str) -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|l| l.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// However few of them this thread may use.
fn online_cpus() -> usize {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines().filter(|l| l.starts_with("processor")).count().max(allowed_cpus())
}

/// CPU time that all threads of this process have used until now, user and system.
#[must_use]
pub fn process_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
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
    fn work_costs_cpu_time_and_sleep_does_not() {
        let spin = std::time::Instant::now();
        let before = process_cpu_time();
        while spin.elapsed() < Duration::from_millis(50) {
            core::hint::spin_loop();
        }
        // Other tests of this process run too: there is no upper bound.
        assert!(process_cpu_time() - before > Duration::from_millis(5));
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
