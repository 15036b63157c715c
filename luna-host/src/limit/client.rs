//! The asking end: keeps messages in flight and takes their round-trip times.

use core::time::Duration;
use std::time::Instant;

use luna_core::nic::{MEM_RING, NicQueue};
use luna_core::rpc::HEADER_LEN;
use luna_core::zbuf::{Frag, Pool};

use super::frame::{Frames, Part};
use super::{Checksums, LimitEnd, LimitError, report};
use crate::knbench::stats::Latencies;
use crate::knbench::{Outcome, make_payload};
use crate::machine;
use crate::pattern;
use crate::report::{Counters, StackReport};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitPoint {
    /// Payload bytes each way.
    pub size: u32,
    /// Messages in flight.
    pub in_flight: u32,
    /// How long to run before it counts.
    pub warmup: Duration,
    /// How long to measure.
    pub duration: Duration,
    /// Compare every answer with what was sent.
    pub verify: bool,
}

#[derive(Clone, Copy)]
struct Ticket {
    sent: Instant,
    arrived: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Warmup,
    Measure,
    Drain,
}

/// One queue's client.
pub struct LimitClient<Q> {
    frames: Frames<Q>,
    nic: String,
    payload: &'static Pool,
    common: Vec<Frag>,
    tickets: Vec<Ticket>,
    point: Option<LimitPoint>,
    phase: Phase,
    latencies: Latencies,
    in_flight: u32,
    completed: u64,
    wrong: bool,
}

impl<Q: NicQueue> LimitClient<Q> {
    /// On this queue.
    #[must_use]
    pub fn new(end: LimitEnd<Q>, checksums: Checksums) -> Self {
        let (nic, payload) = (end.nic.clone(), end.payload);
        Self {
            frames: Frames::new(end, checksums),
            nic,
            payload,
            common: Vec::new(),
            tickets: Vec::new(),
            point: None,
            phase: Phase::Drain,
            latencies: Latencies::new(),
            in_flight: 0,
            completed: 0,
            wrong: false,
        }
    }

    /// What was counted.
    #[must_use]
    pub fn report(&self) -> StackReport {
        report(&self.nic, &self.frames.queue)
    }

    /// Runs one point. `turn` is called again and again with this and has to call [`LimitClient::turn`]; it returns
    /// whether to go on.
    ///
    /// # Errors
    /// [`LimitError`].
    pub fn run(&mut self, point: LimitPoint, mut turn: impl FnMut(&mut Self) -> bool) -> Result<Outcome, LimitError> {
        self.begin(point)?;
        let start = Instant::now();
        let (mut from, mut measured, mut cpu) = (start, Duration::ZERO, Duration::ZERO);
        let mut last = (self.completed, start);
        loop {
            let go_on = turn(self);
            let now = Instant::now();
            if self.wrong {
                return Err(LimitError::Wrong);
            }
            match self.phase {
                Phase::Warmup if now - start >= point.warmup => {
                    (self.phase, from) = (Phase::Measure, now);
                    cpu = machine::process_cpu_time();
                    self.latencies = Latencies::new();
                }
                Phase::Measure if now - from >= point.duration || !go_on => {
                    measured = now - from;
                    cpu = machine::process_cpu_time() - cpu;
                    self.phase = Phase::Drain;
                }
                Phase::Warmup if !go_on => return Err(LimitError::Interrupted),
                Phase::Drain if self.in_flight == 0 => break,
                Phase::Warmup | Phase::Measure | Phase::Drain => {}
            }
            if self.completed != last.0 {
                last = (self.completed, now);
            } else if now - last.1 > PATIENCE {
                return Err(LimitError::Lost(PATIENCE));
            }
        }
        Ok(Outcome {
            latencies: core::mem::take(&mut self.latencies),
            elapsed: measured,
            errors: 0,
            unfinished: 0,
            counters: Counters::new(),
            cpu,
        })
    }

    fn begin(&mut self, point: LimitPoint) -> Result<(), LimitError> {
        let frames = self.frames.frames_of(point.size) * point.in_flight as usize;
        // A NIC would lose what finds no posted obj, and so does the pair; other ports hold the sender up.
        if self.nic.starts_with("mem:") && frames > MEM_RING {
            return Err(LimitError::TooMuch { frames, most: MEM_RING });
        }
        self.common.clear();
        let pieces = make_payload(self.payload, point.size, 0).ok_or(LimitError::Memory(point.size))?;
        self.common.extend(pieces.into_iter().map(Frag::from));
        self.tickets = vec![Ticket { sent: Instant::now(), arrived: 0 }; point.in_flight as usize];
        self.point = Some(point);
        self.phase = Phase::Warmup;
        self.latencies = Latencies::new();
        self.in_flight = point.in_flight;
        for ticket in 0..point.in_flight {
            self.send(ticket);
        }
        self.frames.queue.flush();
        Ok(())
    }

    #[inline]
    fn send(&mut self, ticket: u32) {
        if let Some(slot) = self.tickets.get_mut(ticket as usize) {
            *slot = Ticket { sent: Instant::now(), arrived: 0 };
            self.frames.send(ticket, &self.common);
        }
    }

    /// Takes in what has come, and sends again. Whether there was anything to do.
    #[inline]
    pub fn turn(&mut self) -> bool {
        let n = self.frames.receive();
        for i in 0..n {
            if let Some(part) = self.frames.arrived(i) {
                self.take(part);
            }
        }
        self.frames.finish();
        n > 0
    }

    #[inline]
    fn take(&mut self, part: Part) {
        let Part { ticket, total, at, len, payload } = part;
        let Some(slot) = self.tickets.get_mut(ticket as usize) else { return };
        let Some(point) = self.point else { return };
        if at != slot.arrived || total != point.size + HEADER_LEN as u32 {
            self.wrong = true;
            return;
        }
        if point.verify {
            let from = at.saturating_sub(HEADER_LEN as u32) as usize;
            self.wrong |= !pattern::matches(&payload, 0, from);
        }
        slot.arrived += len;
        if slot.arrived < total {
            return;
        }
        self.completed += 1;
        if self.phase == Phase::Measure {
            self.latencies.record(slot.sent.elapsed().as_nanos() as u64);
        }
        if self.phase == Phase::Drain {
            self.in_flight -= 1;
        } else {
            self.send(ticket);
        }
    }
}
