//! Two taps and what is between them: every frame is late by the delay, some by more, so that later ones overtake them.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Instant;

use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::spec::RelaySpec;
use super::tap;

/// Frames on the way in one direction; what comes on top is lost, as in any queue.
const MOST: usize = 20_000;

/// A frame on its way: when it is due, its number, its bytes.
type Frame = Reverse<(Instant, u64, Vec<u8>)>;

struct Lane {
    waiting: BinaryHeap<Frame>,
    number: u64,
    lost: u64,
    late: u64,
}

impl Lane {
    fn new() -> Self {
        Self { waiting: BinaryHeap::new(), number: 0, lost: 0, late: 0 }
    }

    /// Reads what there is.
    fn fill(&mut self, from: &mut File, spec: &RelaySpec, rng: &mut Pcg32, buf: &mut [u8]) {
        loop {
            let n = match from.read(buf) {
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // The interface is not up yet.
                Err(_) => return,
            };
            if self.waiting.len() >= MOST {
                self.lost += 1;
                continue;
            }
            let mut due = Instant::now() + Duration::from_micros(spec.delay_us);
            if rng.next_u32() % 1000 < spec.late_per_mille {
                due += Duration::from_micros(spec.late_us);
                self.late += 1;
            }
            self.number += 1;
            self.waiting.push(Reverse((due, self.number, buf[..n].to_vec())));
        }
    }

    /// Hands over what is due.
    fn drain(&mut self, to: &mut File) {
        while let Some(Reverse((due, ..))) = self.waiting.peek() {
            if *due > Instant::now() {
                return;
            }
            if let Some(Reverse((_, _, frame))) = self.waiting.pop()
                && to.write(&frame).is_err()
            {
                self.lost += 1;
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((due, ..))| *due)
    }
}

pub(crate) fn run(spec: &RelaySpec) {
    let done = super::children::end_of_input();
    let open = |name| tap::open(name).unwrap_or_else(|e| panic!("/dev/net/tun: {e}"));
    let (mut a, mut b) = (open("t0"), open("t1"));
    let (mut there, mut back) = (Lane::new(), Lane::new());
    let mut rng = Pcg32::new(1, 2);
    let mut buf = vec![0; 1 << 16];
    println!("ready");
    while !done.load(core::sync::atomic::Ordering::Relaxed) {
        there.fill(&mut a, spec, &mut rng, &mut buf);
        back.fill(&mut b, spec, &mut rng, &mut buf);
        there.drain(&mut b);
        back.drain(&mut a);
        let most = Duration::from_millis(20);
        let wait = [there.next(), back.next()].into_iter().flatten().min();
        let wait = wait.map_or(most, |due| due.saturating_duration_since(Instant::now()).min(most));
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        let _ = poll(&mut [PollFd::new(&a, PollFlags::IN), PollFd::new(&b, PollFlags::IN)], Some(&limit));
    }
    println!(
        "relayed {} and {} frames, {} late, {} lost",
        there.number,
        back.number,
        there.late + back.late,
        there.lost + back.lost
    );
}
