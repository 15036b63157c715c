//! The simulator itself: one seed is one run, a failure can be told, and a few seeds hold in a plain `cargo test`.

use luna_tests::sim::coverage::Coverage;
use luna_tests::sim::{Arena, run};

#[test]
fn one_seed_is_one_run_to_the_byte() {
    let mut arena = Arena::default();
    for seed in [3, 8, 21] {
        let mut digest = |keep_log| {
            let outcome = run(seed, &mut arena, &mut Coverage::default(), keep_log);
            (outcome.log.digest(), outcome.time, outcome.segments, outcome.violation)
        };
        // With memory that was used before and with fresh memory, with the log kept and without.
        let first = digest(false);
        assert_eq!(first, digest(true));
        let other = run(seed, &mut Arena::default(), &mut Coverage::default(), false);
        assert_eq!(first.0, other.log.digest());
        assert!(first.2 > 100, "hardly anything was sent");
    }
}

#[test]
fn other_seeds_are_other_runs() {
    let mut arena = Arena::default();
    let mut digests: Vec<u64> =
        (100..110).map(|s| run(s, &mut arena, &mut Coverage::default(), false).log.digest()).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 10);
}

#[test]
fn a_log_has_lines_and_a_capture() {
    let outcome = run(5, &mut Arena::default(), &mut Coverage::default(), true);
    assert!(outcome.log.lines().any(|l| l.contains("SYN")));
    let dir = std::env::temp_dir().join(format!("luna-sim-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory for temporary files");
    let path = dir.join("run.pcap");
    outcome.log.write_capture(&path).expect("a capture");
    let file = std::fs::File::open(&path).expect("it is there");
    let mut reader = pcap_file::pcap::PcapReader::new(file).expect("a header");
    let first = reader.next_packet().expect("a packet").expect("that can be read");
    assert!(first.data.len() >= 54);
    std::fs::remove_dir_all(&dir).expect("ours");
}

#[test]
fn a_few_seeds_hold() {
    let mut arena = Arena::default();
    for seed in 1..12 {
        let outcome = run(seed, &mut arena, &mut Coverage::default(), false);
        assert_eq!(outcome.violation, None, "seed {seed}: cargo xtask sim --seed {seed}");
    }
}
