use std::collections::BTreeMap;

use serde_json::json;

use super::contender::{self, KERNEL, KERNEL_OFFLOADS, LIMIT_MEMIF, LIMIT_VIRTIO, LUNA_MEMIF, LUNA_VIRTIO};
use super::data::{Data, Point, Sample, Series, median};
use super::goals::{self, Verdict};
use super::{figures, page, run};

fn series(contender: &str, point: Point, rps: &[f64], p50_us: f64) -> Series {
    let sample = |rps: &f64| Sample {
        rps: *rps,
        p50_us: Some(p50_us),
        p99_us: Some(p50_us * 3.0),
        cpu_us: Some(1e6 / rps),
        retransmits: Some(0),
    };
    let cdf = (1..=100).map(|i| (p50_us * (0.5 + f64::from(i) / 100.0), f64::from(i) / 100.0)).collect();
    Series { contender: contender.to_owned(), point, samples: rps.iter().map(sample).collect(), cdf }
}

/// All contenders at all points: Luna at 200 k, the kernel at 40 k, limits at 250 k.
fn data() -> Data {
    let mut all = Vec::new();
    let mut points: Vec<Point> = run::SIZES.iter().map(|size| Point { size: *size, depth: 1 }).collect();
    points.extend(run::DEPTHS.iter().map(|depth| Point { size: 4096, depth: *depth }).filter(|p| p.depth > 1));
    points.push(Point { size: 65_536, depth: 16 });
    let groups = [&contender::TWO_PROCESSES[..], &contender::ONE_THREAD[..], &contender::cores(2)].concat();
    for c in groups {
        let (rps, p50) = match c.id {
            id if id.starts_with("kernel") => (40e3, 20.0),
            id if id.starts_with("limit") => (250e3, 3.0),
            _ => (200e3, 4.0),
        };
        all.extend(points.iter().map(|p| series(c.id, *p, &[rps * 0.9, rps, rps * 1.2], p50)));
    }
    Data {
        taken: "2026-11-28 12:00 UTC".into(),
        runs: 3,
        seconds: 0.15,
        quick: true,
        busy: 0.02,
        machine: json!({"cpu": "A processor <fast>", "cpus": 2, "kernel": "6.1", "optimised": true}),
        rustc: "rustc 1.95".into(),
        ports: BTreeMap::from([(
            "luna-memif".into(),
            json!({"mtu": 1500, "tx_checksum": false, "max_tx_segments": 18}),
        )]),
        series: all,
        account: Vec::new(),
    }
}

#[test]
fn medians() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    assert_eq!(median(vec![]), None);
}

#[test]
fn the_report_has_every_figure_and_the_goals_and_refers_to_nothing_outside() {
    let html = page::page(&data()).unwrap();
    for figure in ["latency", "size", "size-rps", "depth", "cores", "limit", "limits", "peers"] {
        let start = html.find(&format!("<figure id=\"{figure}\">")).unwrap_or_else(|| panic!("no figure {figure}"));
        let end = start + html[start..].find("</figure>").unwrap();
        let card = &html[start..end];
        assert!(card.contains("<svg") && card.matches("<poly").count() + card.matches("<line").count() > 4, "{figure}");
        assert!(card.contains("The paper: "), "{figure}");
    }
    for number in ["2(a)", "2(b)", "Figure 9", "Figure 10", "11:", "12:"] {
        assert!(html.contains(number), "the paper's figure {number}");
    }
    assert!(html.contains("5.0 times the kernel"), "the headline");
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("A processor &lt;fast&gt;"), "text is text");
    assert!(html.contains("<td class=\"n\">80 %</td>"), "200 k of the limit's 250 k");
    assert!(html.contains("Kernel, loopback, 2 cores") && !html.contains("kernel-cores-2"), "names for people");
    assert!(html.contains("Luna, memif (checksums in software): p50 4.0 µs, p99 12.0 µs"), "the legend says how long");
    assert_eq!(html.matches("class=\"verdict ").count(), goals::ALL.len());
}

#[test]
fn what_was_not_measured_is_left_out_rather_than_made_up() {
    let goals_only = Data {
        series: data()
            .series
            .into_iter()
            .filter(|s| s.contender == KERNEL.id || s.contender == LUNA_MEMIF.id)
            .collect(),
        ..data()
    };
    let html = page::page(&goals_only).unwrap();
    assert!(html.contains("id=\"depth\"") && !html.contains("id=\"peers\"") && !html.contains("id=\"cores\""));
    assert_eq!(html.matches("class=\"verdict ").count(), 5, "those against the kernel without offloads");
    let nothing = Data { series: Vec::new(), ..data() };
    assert!(figures::all(&nothing).unwrap().is_empty());
    assert!(page::page(&nothing).unwrap().contains("Luna beside the kernel"));
}

#[test]
fn a_busy_machine_is_told() {
    assert!(!page::page(&data()).unwrap().contains("The machine was busy") && !page::words(&data()).contains("busy"));
    let busy = Data { busy: 0.4, ..data() };
    assert!(page::page(&busy).unwrap().contains("The machine was busy"), "40 % were others'");
    assert!(page::words(&busy).contains("40 %"));
    assert!(!page::page(&busy).unwrap().contains("times the kernel's throughput"), "no claim in the headline");
}

#[test]
fn goals_are_judged_by_medians_and_latency_the_other_way_round() {
    let at = |luna: &[f64], luna_p50: f64| {
        let p = Point { size: 4096, depth: 1 };
        let series = vec![series(LUNA_MEMIF.id, p, luna, luna_p50), series(KERNEL.id, p, &[10e3, 10e3, 90e3], 20.0)];
        let data = Data { series, ..data() };
        [goals::ALL[0], goals::ALL[1]].map(|g| g.outcome(&data).unwrap())
    };
    let [rps, p50] = at(&[1.0, 50e3, 1e9], 5.0);
    assert_eq!((rps.times, rps.verdict), (5.0, Verdict::Reached));
    assert_eq!((p50.times, p50.verdict), (0.25, Verdict::Reached));
    let [rps, p50] = at(&[25e3], 10.0);
    assert_eq!((rps.verdict, p50.verdict), (Verdict::Half, Verdict::Half));
    let [rps, p50] = at(&[24.9e3], 10.1);
    assert_eq!((rps.verdict, p50.verdict), (Verdict::Missed, Verdict::Missed));
}

#[test]
fn every_goal_is_of_contenders_that_run_at_a_point_that_is_measured() {
    for goal in goals::ALL {
        let known = |id: &str| contender::TWO_PROCESSES.iter().any(|c| c.id == id);
        assert!(known(goal.of) && known(goal.against), "{goal:?}");
        assert!(run::GOALS.contains(&goal.point), "{goal:?}");
    }
    let used: Vec<&str> = goals::ALL.iter().flat_map(|g| [g.of, g.against]).collect();
    for c in [LUNA_MEMIF, LUNA_VIRTIO, KERNEL, KERNEL_OFFLOADS, LIMIT_MEMIF] {
        assert!(used.contains(&c.id), "{}", c.id);
    }
    assert!(!used.contains(&LIMIT_VIRTIO.id), "no goal is set against it");
}

#[test]
fn each_alternation_asks_all_and_begins_with_another() {
    let runs: Vec<Vec<usize>> = (0..3).map(|run| run::order(run, 3).collect()).collect();
    assert_eq!(runs, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
}

#[test]
fn data_survives_being_kept() {
    let text = serde_json::to_string(&data()).unwrap();
    let again: Data = serde_json::from_str(&text).unwrap();
    // Not compared number by number: serde_json may differ in the last bit, which no report shows.
    assert!(page::page(&again).unwrap() == page::page(&data()).unwrap());
}

#[test]
fn figures_come_out_of_what_the_command_prints() {
    let told = json!({
        "rps": 1000.0, "errors": 0, "latency_ns": {"p50": 4000, "p99": 9000}, "cpu": {"us_per_rpc": 2.5},
        "tcp": {"retransmits": 3}, "cdf": [[2000, 0.1], [9000, 1.0]]
    });
    let sample = Sample::of(&told).unwrap();
    assert_eq!((sample.rps, sample.p50_us, sample.p99_us), (1000.0, Some(4.0), Some(9.0)));
    assert_eq!((sample.cpu_us, sample.retransmits), (Some(2.5), Some(3)));
    assert_eq!(super::data::cdf(&told), [(2.0, 0.1), (9.0, 1.0)]);
    assert!(Sample::of(&json!({"latency_ns": {}})).is_none());
}

#[test]
fn counts_are_shown_by_stage_beside_their_budgets_and_offloads_in_the_machine() {
    let row = json!({
        "name": "4 KiB, MTU 1500", "luna": {"instructions": 5600.4, "frames": 6.0, "copies": -0.0001, "misses": 0.25},
        "stages": [["driver rx", 144.0], ["TCP in", 803.0]], "stream": 4800.0, "touch": 6100.0, "digest": null,
        "smoltcp": {"instructions": 19024.0}, "smoltcp_split": {"instructions": 17191.0}, "budget": {"total": 5700.0, "stages": {"driver rx": 150.0, "TCP in": 810.0}},
        "goal": 3200, "leanest": ["iip", 7371]
    });
    let offloads = json!({"kernel": {"tx-checksumming": false}, "kernel-offloads": {"tx-checksumming": true}});
    let mut counted = Data { account: vec![row.clone()], ..data() };
    counted.machine.as_object_mut().unwrap().insert("offloads".into(), offloads);
    let html = page::page(&counted).unwrap();
    for shown in [
        "<b>5600</b>",
        "5700",
        "3200",
        "4800",
        "6100",
        "19024",
        "17191",
        "iip 7371",
        "6.00",
        "0.25",
        "803 <span class=\"dim\">/ 810",
    ] {
        assert!(html.contains(shown), "{shown}");
    }
    assert!(html.contains("off: tx-checksumming") && html.contains("on: tx-checksumming"));
    assert!(html.contains(">0.000<") && !html.contains("-0.000"), "a nothing is no debt");
    assert!(!html.contains("class=\"n exceeded\""));
    let mut dear = row;
    dear["luna"]["instructions"] = json!(6000.0);
    assert!(page::page(&Data { account: vec![dear], ..data() }).unwrap().contains("class=\"n exceeded\""));
    assert!(!page::page(&data()).unwrap().contains("Instructions per RPC"), "not counted, not shown");
}
