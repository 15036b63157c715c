//! Cycles by stage of the loop (feature `cycles`): a counter that the caller supplies is read at the borders between stages,
//! in one turn of so many, and what lies between two readings is charged to the stage that was under way.
//!
//! Without the feature there is nothing of it: [`stage`](macro@stage) and its like become nothing at all. With it, and
//! without a counter or between stamped turns, a border costs a comparison.
//!
//! What a reading and its book-keeping take is measured when the counter is given, and subtracted from each stretch.

/// A stage of a frame's way, in its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Frames from the device.
    DriverRx,
    /// Headers are read.
    Parse,
    /// The connection is found.
    Demultiplex,
    /// Segment, acknowledgment, congestion control.
    TcpIn,
    /// Frames of the RPC layer, in and out.
    Rpc,
    /// The application's callbacks.
    Application,
    /// What is sent is queued and cut into segments.
    TcpOut,
    /// Headers are written.
    Header,
    /// Checksums in software, both ways.
    Checksum,
    /// Frames to the device, and their memory back from it.
    DriverTx,
    /// Timers, and what belongs to no other.
    Loop,
}

/// How many there are.
pub const STAGES: usize = 11;

impl Stage {
    /// All of them.
    pub const ALL: [Self; STAGES] = [
        Self::DriverRx,
        Self::Parse,
        Self::Demultiplex,
        Self::TcpIn,
        Self::Rpc,
        Self::Application,
        Self::TcpOut,
        Self::Header,
        Self::Checksum,
        Self::DriverTx,
        Self::Loop,
    ];

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DriverRx => "driver rx",
            Self::Parse => "parse",
            Self::Demultiplex => "demultiplex",
            Self::TcpIn => "TCP in",
            Self::Rpc => "RPC",
            Self::Application => "application",
            Self::TcpOut => "TCP out",
            Self::Header => "header",
            Self::Checksum => "checksum",
            Self::DriverTx => "driver tx",
            Self::Loop => "loop",
        }
    }
}

/// What the host gives.
#[derive(Clone, Copy, Debug)]
pub struct CycleCounter {
    /// Reads the CPU's counter of cycles, or of anything else that goes up steadily.
    pub read: fn() -> u64,
    /// One turn of so many is stamped; 0 and 1: each.
    pub every: u32,
}

/// What the stamped turns took, in the counter's units.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CycleReport {
    /// Of turns that had something to do, by stage in the order of [`Stage::ALL`]; what stamping takes is subtracted. A
    /// stage that is shorter than the counter's noise may fall below zero.
    pub stages: [i64; STAGES],
    /// Of those turns as a whole.
    pub whole: i64,
    /// Turns with something to do that were stamped.
    pub stamped: u64,
    /// All turns with something to do.
    pub busy: u64,
    /// Of stamped turns that had nothing to do, as a whole, and how many those were.
    pub idle: (i64, u64),
    /// What a stamp takes, and how many were taken in those turns that had something to do.
    pub stamp: u64,
    /// See above.
    pub stamps: u64,
}

impl CycleReport {
    /// Units that a stage took, of all turns: of the stamped ones, times what part of the busy turns those are.
    #[must_use]
    pub fn of(&self, stage: Stage) -> f64 {
        self.stages[stage as usize] as f64 * self.factor()
    }

    /// Units that all stages together took.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.whole as f64 * self.factor()
    }

    fn factor(&self) -> f64 {
        if self.stamped == 0 { 0.0 } else { self.busy as f64 / self.stamped as f64 }
    }

    /// What happened after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut stages = self.stages;
        stages.iter_mut().zip(earlier.stages).for_each(|(now, before)| *now -= before);
        Self {
            stages,
            whole: self.whole - earlier.whole,
            stamped: self.stamped - earlier.stamped,
            busy: self.busy - earlier.busy,
            idle: (self.idle.0 - earlier.idle.0, self.idle.1 - earlier.idle.1),
            stamp: self.stamp,
            stamps: self.stamps - earlier.stamps,
        }
    }
}

/// The account of one stack.
pub(crate) struct Cycles {
    counter: Option<CycleCounter>,
    /// Turns until the next stamped one.
    wait: u32,
    /// This turn is stamped.
    active: bool,
    stage: Stage,
    began: u64,
    /// When the present stage began.
    last: u64,
    stamps: u64,
    turn: [i64; STAGES],
    report: CycleReport,
}

/// Stretches of which the median is what a stamp takes: odd.
const CALIBRATION: usize = 255;

impl Cycles {
    pub(crate) fn new() -> Self {
        Self {
            counter: None,
            wait: 0,
            active: false,
            stage: Stage::Loop,
            began: 0,
            last: 0,
            stamps: 0,
            turn: [0; STAGES],
            report: CycleReport::default(),
        }
    }

    /// Stamps from now on, or no more. The account begins anew.
    pub(crate) fn set(&mut self, counter: Option<CycleCounter>) {
        *self = Self { counter, ..Self::new() };
        let Some(CycleCounter { read, .. }) = counter else { return };
        let mut stretches = [0; CALIBRATION];
        self.last = read();
        for stretch in &mut stretches {
            let before = self.last;
            self.stamp(Stage::Loop);
            *stretch = self.last.wrapping_sub(before);
        }
        stretches.sort_unstable();
        let stamp = stretches.get(CALIBRATION / 2).copied().unwrap_or_default();
        *self = Self { counter, report: CycleReport { stamp, ..CycleReport::default() }, ..Self::new() };
    }

    pub(crate) fn report(&self) -> CycleReport {
        self.report
    }

    /// A turn begins.
    #[inline(always)]
    pub(crate) fn begin(&mut self) {
        if let Some(counter) = self.counter {
            self.begin_counted(counter);
        }
    }

    #[inline(never)]
    fn begin_counted(&mut self, CycleCounter { read, every }: CycleCounter) {
        // A turn outside, through a callback or an early return, is none.
        self.active = false;
        if self.wait > 0 {
            self.wait -= 1;
            return;
        }
        self.wait = every.saturating_sub(1);
        self.active = true;
        self.stage = Stage::Loop;
        self.stamps = 0;
        self.turn = [0; STAGES];
        self.began = read();
        self.last = self.began;
    }

    /// The turn is over.
    #[inline(always)]
    pub(crate) fn end(&mut self, busy: bool) {
        if self.counter.is_some() {
            self.end_counted(busy);
        }
    }

    #[inline(never)]
    fn end_counted(&mut self, busy: bool) {
        self.report.busy += u64::from(busy);
        if !self.active {
            return;
        }
        self.stamp(Stage::Loop);
        self.active = false;
        let whole = self.last.wrapping_sub(self.began).wrapping_sub(self.report.stamp.wrapping_mul(self.stamps)) as i64;
        let r = &mut self.report;
        if busy {
            r.stages.iter_mut().zip(self.turn).for_each(|(sum, n)| *sum += n);
            r.whole += whole;
            r.stamped += 1;
            r.stamps += self.stamps;
        } else {
            // Polls that find nothing are no part of what an RPC takes, and come in any number.
            r.idle = (r.idle.0 + whole, r.idle.1 + 1);
        }
    }

    /// The border to `stage`. Returns the stage on this side of it.
    #[inline(always)]
    pub(crate) fn enter(&mut self, stage: Stage) -> Stage {
        if self.active { self.stamp(stage) } else { stage }
    }

    #[inline(never)]
    fn stamp(&mut self, stage: Stage) -> Stage {
        let Some(CycleCounter { read, .. }) = self.counter else { return stage };
        let now = read();
        let stretch = now.wrapping_sub(self.last).wrapping_sub(self.report.stamp) as i64;
        if let Some(sum) = self.turn.get_mut(self.stage as usize) {
            *sum += stretch;
        }
        self.last = now;
        self.stamps += 1;
        core::mem::replace(&mut self.stage, stage)
    }
}

#[cfg(test)]
pub(crate) mod tests;
