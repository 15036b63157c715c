use super::*;

fn row(link: Link, depth: u32, rps: f64, retransmits: Option<u64>) -> Row {
    let health = Health { retransmits, rtos: retransmits, copies: None };
    Row { link, depth, rps, p50_us: 1.0, p99_us: 2.0, health }
}

fn report() -> Report {
    let sample = Sample { path: "/lib/thing.so".into(), bytes: 1, sha256: "ab".repeat(32) };
    Report::new(&sample)
}

#[test]
fn ratios_are_to_the_kernel_row_of_the_same_depth() {
    let mut report = report();
    report.rows = vec![
        row(Link::Memif, 1, 80.0, Some(0)),
        row(Link::Memif, 16, 90.0, Some(0)),
        row(Link::Kernel, 1, 40.0, None),
        row(Link::Kernel, 16, 60.0, None),
        row(Link::KernelOffloads, 1, 100.0, None),
    ];
    let ratios: Vec<_> = report.rows.iter().map(|row| report.ratio(row)).collect();
    assert_eq!(ratios, [Some(2.0), Some(1.5), Some(1.0), Some(1.0), Some(2.5)]);
    report.rows.truncate(2);
    assert_eq!(report.ratio(&report.rows[0]), None);
}

#[test]
fn the_closing_line_counts_lunas_rows_only_and_admits_what_it_does_not_know() {
    let mut report = report();
    report.rows =
        vec![row(Link::Memif, 1, 1.0, Some(2)), row(Link::AfXdp, 1, 1.0, Some(3)), row(Link::Kernel, 1, 1.0, Some(9))];
    assert!(report.to_string().ends_with("5 retransmissions, 5 retransmission timeouts"));
    assert!(!report.clean());
    report.repeated = 2;
    assert!(report.to_string().ends_with("5 retransmission timeouts; 2 runs with some were repeated"));
    report.repeated = 0;
    report.rows.push(row(Link::Virtio, 1, 1.0, None));
    assert!(report.to_string().ends_with("- retransmissions, - retransmission timeouts"));
}

#[test]
fn a_lossless_run_is_one_where_luna_sent_nothing_again() {
    let mut report = report();
    report.rows = vec![row(Link::Memif, 1, 1.0, Some(0)), row(Link::Kernel, 1, 1.0, Some(9))];
    assert!(report.clean());
    report.rows.push(row(Link::Virtio, 1, 1.0, Some(1)));
    assert!(!report.clean());
}
