//! Cycles by stage of Luna's loop (feature `cycles`): the CPU's counter for [`luna_core::cycles`], and what it counted as
//! people and programs read it.

use core::fmt;

use luna_core::cycles::{CycleCounter, CycleReport, Stage};
use serde::{Serialize, Serializer};

/// The counter of this CPU: the time stamp counter on x86-64, the generic timer on aarch64. Both go up at one rate whatever
/// the core's frequency, so a "cycle" is a tick of theirs.
#[must_use]
pub fn counter(every: u32) -> CycleCounter {
    CycleCounter { read, every }
}

#[cfg(target_arch = "x86_64")]
fn read() -> u64 {
    // SAFETY: every x86-64 CPU has the instruction, and it reads no memory. It may be forbidden to user space
    // (prctl PR_SET_TSC), which nobody does who asks for it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(target_arch = "aarch64")]
fn read() -> u64 {
    let ticks: u64;
    // SAFETY: reads a register that Linux lets user space read; it touches no memory.
    unsafe { core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags)) };
    ticks
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn read() -> u64 {
    // Nanoseconds.
    use luna_core::time::Clock as _;
    static START: std::sync::LazyLock<crate::clock::MonotonicClock> = std::sync::LazyLock::new(Default::default);
    START.now().as_nanos()
}

/// Cycles of one or more stacks, and the RPCs that they were spent on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CycleTable {
    cycles: CycleReport,
    /// RPCs answered meanwhile; 0 when nobody said.
    rpcs: u64,
}

impl From<CycleReport> for CycleTable {
    fn from(cycles: CycleReport) -> Self {
        Self { cycles, rpcs: 0 }
    }
}

impl CycleTable {
    /// Adds those of another stack, on another thread.
    pub fn add(&mut self, other: &Self) {
        let (a, b) = (&mut self.cycles, &other.cycles);
        a.stages.iter_mut().zip(b.stages).for_each(|(sum, n)| *sum += n);
        a.whole += b.whole;
        a.stamped += b.stamped;
        a.busy += b.busy;
        a.idle = (a.idle.0 + b.idle.0, a.idle.1 + b.idle.1);
        a.stamp = a.stamp.max(b.stamp);
        a.stamps += b.stamps;
        self.rpcs += other.rpcs;
    }

    /// What came since `before`, of the same stacks.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self { cycles: self.cycles.since(&before.cycles), rpcs: self.rpcs - before.rpcs }
    }

    /// Says how many RPCs they were spent on.
    pub fn spent_on(&mut self, rpcs: u64) {
        self.rpcs = rpcs;
    }

    fn per_rpc(&self, total: f64) -> f64 {
        if self.rpcs == 0 { 0.0 } else { total / self.rpcs as f64 }
    }

    fn stages(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        Stage::ALL.iter().map(|s| (s.name(), self.per_rpc(self.cycles.of(*s))))
    }
}

impl Serialize for CycleTable {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json<'a> {
            per_rpc: f64,
            stages_per_rpc: std::collections::BTreeMap<&'a str, f64>,
            rpcs: u64,
            turns: u64,
            turns_stamped: u64,
            stamps: u64,
            stamp_cost: u64,
            idle_turn: Option<f64>,
        }
        let c = &self.cycles;
        Json {
            per_rpc: self.per_rpc(c.total()),
            stages_per_rpc: self.stages().collect(),
            rpcs: self.rpcs,
            turns: c.busy,
            turns_stamped: c.stamped,
            stamps: c.stamps,
            stamp_cost: c.stamp,
            idle_turn: (c.idle.1 > 0).then(|| c.idle.0 as f64 / c.idle.1 as f64),
        }
        .serialize(s)
    }
}

impl fmt::Display for CycleTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.cycles;
        writeln!(f, "  cycles per RPC   {:.0}", self.per_rpc(c.total()))?;
        for (name, cycles) in self.stages() {
            writeln!(f, "    {name:<15}{cycles:>9.0}")?;
        }
        write!(
            f,
            "    of {} turns with something to do {} were stamped; {} taken off for each of {} stamps",
            c.busy, c.stamped, c.stamp, c.stamps
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_cpus_counter_goes_up() {
        let first = read();
        let later = (0..1_000_000).map(|_| read()).find(|n| *n > first);
        assert!(later.is_some());
    }

    #[test]
    fn tables_add_up_and_are_told_per_rpc() {
        let mut stages = [0; luna_core::cycles::STAGES];
        (stages[Stage::Rpc as usize], stages[Stage::Loop as usize]) = (300, 100);
        let cycles = CycleReport { stages, whole: 400, stamped: 2, busy: 8, stamp: 9, stamps: 4, idle: (30, 3) };
        let mut table = CycleTable::from(cycles);
        table.add(&CycleTable::from(cycles));
        table.spent_on(16);
        let json = serde_json::to_value(table).unwrap();
        // Twice 400, of a quarter of the turns: 3200 in all, for 16.
        assert_eq!((&json["per_rpc"], &json["stages_per_rpc"]["RPC"]), (&200.0.into(), &150.0.into()));
        assert_eq!((&json["stages_per_rpc"]["loop"], &json["idle_turn"]), (&50.0.into(), &10.0.into()));
        let sum: f64 = json["stages_per_rpc"].as_object().unwrap().values().filter_map(serde_json::Value::as_f64).sum();
        assert_eq!(sum, 200.0, "the whole is the sum of the stages");
        assert!(table.to_string().contains("cycles per RPC   200"));
        let since = table.since(&CycleTable::from(cycles));
        assert_eq!((since.cycles.whole, since.cycles.busy), (400, 8));
    }
}
