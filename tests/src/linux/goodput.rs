//! What a bulk transfer yields under loss, for every pairing of Luna and the kernel: in one run, alternated, the median
//! and its ratio to the kernel's own.

use std::path::Path;

use super::scene::{Kind, Manner, Played, Scene};
use super::spec::{RelaySpec, Work};
use super::{Options, children};

/// Sender and receiver.
const COLUMNS: [(&str, Kind, Kind); 4] = [
    ("luna-luna", Kind::Luna, Kind::Luna),
    ("luna-linux", Kind::Luna, Kind::Linux),
    ("linux-luna", Kind::Linux, Kind::Luna),
    ("linux-linux", Kind::Linux, Kind::Linux),
];

/// Receiver's counters and sender's that say why a transfer was slow.
const TOLD: &[&str] = &[
    "retransmits",
    "rtos",
    "fast_recoveries",
    "tlp_probes",
    "undos",
    "out_of_order_full",
    "over_budget",
    "clock_jumps",
    "timers_held",
    "queue_tx_dropped",
    "queue_rx_no_obj",
    "port_rx_missed",
    "port_tx_errors",
    "RetransSegs",
    "TCPTimeouts",
    "TCPLossProbes",
    "TCPSackRecovery",
    "TCPSpuriousRTOs",
    "TCPDSACKRecv",
    "TCPDSACKUndo",
];

/// Goodput in Mb/s.
fn rate(played: &Played) -> f64 {
    played.server.received as f64 * 8.0 / played.server.seconds.max(1e-6) / 1e6
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn scene(options: &Options, percent: f64, sender: Kind, receiver: Kind) -> Scene {
    Scene {
        v6: false,
        mtu: 1500,
        congestion: options.congestion.clone(),
        loss_per_million: (percent * 10_000.0) as u32,
        relay: (options.delay_us > 0).then_some(RelaySpec {
            delay_us: options.delay_us,
            late_per_mille: 0,
            late_us: 0,
        }),
        work: Work {
            to_server: u64::MAX,
            to_client: 0,
            half_close: false,
            rpc: None,
            limit_ms: Some((options.seconds * 1e3) as u64),
        },
        client: Manner::plain(sender),
        server: Manner::plain(receiver),
    }
}

/// Measures and prints the table. False when a transfer failed.
pub(crate) fn run(options: &Options) -> bool {
    let mut good = true;
    // BBR is the kernel's alone: reported, not compared.
    let kernel_only = options.congestion == "bbr";
    let columns: Vec<_> = COLUMNS
        .iter()
        .filter(|(_, sender, receiver)| !kernel_only || (*sender, *receiver) == (Kind::Linux, Kind::Linux))
        .filter(|(name, ..)| options.columns.as_ref().is_none_or(|wanted| wanted.iter().any(|w| w == name)))
        .collect();
    println!(
        "goodput, Mb/s: {} of {} s each, {}, {}, medians (least to most)",
        options.runs,
        options.seconds,
        options.congestion,
        if options.delay_us > 0 {
            format!("{} us more each way", options.delay_us)
        } else {
            "no delay added".to_owned()
        }
    );
    let mut rows = Vec::new();
    for &percent in &options.loss {
        let mut rates = vec![Vec::new(); columns.len()];
        for run in 0..options.runs {
            // Who goes first changes from round to round.
            for i in 0..columns.len() {
                let i = (i + run) % columns.len();
                let (name, sender, receiver) = *columns[i];
                if children::interrupted() {
                    return false;
                }
                let capture = options.captures.then(|| options.keep.join(format!("{name}-{percent}-{run}.pcap")));
                match play(&scene(options, percent, sender, receiver), capture.as_deref()) {
                    Ok(played) => {
                        println!("  {percent} % {name}: {:.1} Mb/s{}", rate(&played), why(&played));
                        rates[i].push(rate(&played));
                    }
                    Err(e) => {
                        println!("  {percent} % {name}: FAILED: {e}");
                        good = false;
                    }
                }
            }
        }
        rows.push((percent, rates));
    }
    print(&columns.iter().map(|c| c.0).collect::<Vec<_>>(), &rows);
    good
}

fn play(scene: &Scene, capture: Option<&Path>) -> Result<Played, String> {
    std::panic::catch_unwind(|| scene.play(capture)).unwrap_or_else(|_| Err("panicked".to_owned()))
}

/// The counters that matter.
fn why(played: &Played) -> String {
    let mut text = String::new();
    if played.lost + played.overflowed > 0 {
        text += &format!(", router lost {} + {} overflowed", played.lost, played.overflowed);
    }
    for (who, report) in [("sender", &played.client), ("receiver", &played.server)] {
        let found: Vec<String> =
            TOLD.iter().filter_map(|name| report.counters.get(*name).map(|n| format!("{name} {n}"))).collect();
        if !found.is_empty() {
            text += &format!("; {who}: {}", found.join(", "));
        }
    }
    text
}

fn print(columns: &[&str], rows: &[(f64, Vec<Vec<f64>>)]) {
    print!("\n| loss |");
    columns.iter().for_each(|name| print!(" {name} |"));
    print!("\n| --- |");
    columns.iter().for_each(|_| print!(" --- |"));
    println!();
    let base = columns.iter().position(|name| *name == "linux-linux");
    for (percent, rates) in rows {
        let linux = base.map(|i| median(&rates[i]));
        print!("| {percent} % |");
        for values in rates {
            let (least, most) = values.iter().fold((f64::MAX, 0.0_f64), |(a, b), v| (a.min(*v), b.max(*v)));
            let ratio = linux.map_or(String::new(), |linux| format!(" = {:.2}", median(values) / linux));
            print!(" {:.0} ({least:.0}-{most:.0}){ratio} |", median(values));
        }
        println!();
    }
}
