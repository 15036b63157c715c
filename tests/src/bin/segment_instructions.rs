//! Takes in segments of one kind, for callgrind to count the turns that do it, and nothing else: it collects within
//! `measured_turn` only.
//!
//! `segment_instructions data|ack BURST ROUNDS`

use std::process::ExitCode;

use luna_tests::pair::End;
use luna_tests::segments::{OneByOne, Segments, Sink};

/// Until windows have grown and every obj was used once.
const WARM_UP: u64 = 64;

#[inline(never)]
fn measured_turn(end: &mut End<OneByOne, Sink>, now: luna_core::time::Instant) {
    end.stack.turn(now, 256, &mut end.app);
}

fn run(kind: &str, burst: u64, rounds: u64) -> Option<()> {
    let data = match kind {
        "data" => true,
        "ack" => false,
        _ => return None,
    };
    let mut segments = Segments::new(true, !data);
    for round in 0..WARM_UP + rounds {
        let counted = round >= WARM_UP;
        if data {
            segments.data(burst, |pair| match counted {
                true => measured_turn(&mut pair.b, pair.now),
                false => drop(pair.b.stack.turn(pair.now, 256, &mut pair.b.app)),
            });
        } else {
            segments.acks(burst, |pair| match counted {
                true => measured_turn(&mut pair.a, pair.now),
                false => drop(pair.a.stack.turn(pair.now, 256, &mut pair.a.app)),
            });
        }
    }
    Some(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize| args.get(i).and_then(|n| n.parse().ok());
    let run = match (args.get(1), number(2), number(3)) {
        (Some(kind), Some(burst @ 1..=32), Some(rounds)) => run(kind, burst, rounds),
        _ => None,
    };
    match run {
        Some(()) => ExitCode::SUCCESS,
        None => {
            eprintln!("usage: segment_instructions data|ack BURST ROUNDS");
            ExitCode::FAILURE
        }
    }
}
