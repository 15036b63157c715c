//! What must work, whatever it costs: each case in every pairing of ends that it is about.

use std::time::Instant;

use super::scene::{Kind, Manner, Played, Scene};
use super::spec::{Ending, Pause, RelaySpec, Rpc, Work};
use super::{Options, Scope, children};

const MIB: u64 = 1 << 20;

/// A case: its name, whether it is among the quick ones, and what is played.
struct Case {
    name: String,
    quick: bool,
    scene: Scene,
    /// Something must have been lost for the case to mean anything; at 0.1 % that may fail by chance.
    wants_loss: bool,
}

/// Client and server.
const PAIRS: [(&str, Kind, Kind); 3] = [
    ("luna_luna", Kind::Luna, Kind::Luna),
    ("luna_linux", Kind::Luna, Kind::Linux),
    ("linux_luna", Kind::Linux, Kind::Luna),
];
const TAP_PAIRS: [(&str, Kind, Kind); 3] = [
    ("luna_luna", Kind::LunaTap, Kind::LunaTap),
    ("luna_linux", Kind::LunaTap, Kind::Linux),
    ("linux_luna", Kind::Linux, Kind::LunaTap),
];

const fn bulk(to_server: u64, to_client: u64) -> Work {
    Work { to_server, to_client, half_close: false, rpc: None, limit_ms: None }
}

const fn rpc(size: u64, depth: u64, count: u64) -> Work {
    Work {
        to_server: size * count,
        to_client: size * count,
        half_close: false,
        rpc: Some(Rpc { size, depth }),
        limit_ms: None,
    }
}

/// The whole list.
fn list(congestion: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let scene = |client, server, work| Scene {
        v6: false,
        mtu: 1500,
        congestion: congestion.to_owned(),
        loss_per_million: 0,
        relay: None,
        work,
        client: Manner::plain(client),
        server: Manner::plain(server),
    };
    let slow = RelaySpec { delay_us: 2000, late_per_mille: 0, late_us: 0 };
    let reordering = RelaySpec { delay_us: 500, late_per_mille: 20, late_us: 1500 };
    for (pair, client, server) in PAIRS {
        let mut add = |name: &str, quick: bool, scene: Scene| {
            let wants_loss = scene.loss_per_million >= 10_000;
            cases.push(Case { name: format!("{name}_{pair}"), quick, scene, wants_loss });
        };
        let with_linux = client != server;
        for (family, v6) in [("ipv4", false), ("ipv6", true)] {
            let base = |work| Scene { v6, ..scene(client, server, work) };
            let first = !v6;
            add(&format!("bulk_{family}"), with_linux && v6, base(bulk(16 * MIB, 16 * MIB)));
            add(&format!("rpc_{family}"), with_linux && first, base(rpc(4096, 16, 2000)));
            for (label, ppm, quick) in [("0.1", 1000, false), ("1", 10_000, first), ("5", 50_000, false)] {
                let lossy = Scene { loss_per_million: ppm, ..base(bulk(4 * MIB, 4 * MIB)) };
                add(&format!("bulk_{label}_percent_loss_{family}"), quick, lossy);
                let lossy = Scene { loss_per_million: ppm, ..base(rpc(4096, 4, 500)) };
                add(&format!("rpc_{label}_percent_loss_{family}"), false, lossy);
            }
            add(&format!("delay_{family}"), false, Scene { relay: Some(slow), ..base(bulk(8 * MIB, 8 * MIB)) });
            let reordered = Scene { relay: Some(reordering), ..base(bulk(8 * MIB, 8 * MIB)) };
            add(&format!("reordering_{family}"), first, reordered);
            let both = Scene { relay: Some(reordering), loss_per_million: 10_000, ..base(bulk(2 * MIB, 2 * MIB)) };
            add(&format!("reordering_and_loss_{family}"), false, both);
        }
        for window in [4096, 16 << 10] {
            for (who, at_client) in [("client", true), ("server", false)] {
                let mut small = scene(client, server, bulk(MIB, MIB));
                let end = if at_client { &mut small.client } else { &mut small.server };
                end.window = Some(window);
                add(&format!("{window}_bytes_window_of_{who}"), false, small.clone());
                small.loss_per_million = 10_000;
                add(&format!("{window}_bytes_window_of_{who}_and_loss"), false, small);
            }
        }
        for (who, at_client) in [("client", true), ("server", false)] {
            let mut stopped = scene(client, server, bulk(16 * MIB, 16 * MIB));
            let end = if at_client { &mut stopped.client } else { &mut stopped.server };
            end.pause = Some(Pause { at: 2 * MIB, ms: 1500 });
            end.window = Some(256 << 10);
            add(&format!("{who}_stops_reading_and_resumes"), with_linux && at_client, stopped.clone());
            stopped.loss_per_million = 10_000;
            stopped.work = bulk(6 * MIB, 6 * MIB);
            add(&format!("{who}_stops_reading_and_resumes_with_loss"), false, stopped);
            let mut reset = scene(client, server, bulk(64 * MIB, 64 * MIB));
            let (aborting, other) =
                if at_client { (&mut reset.client, &mut reset.server) } else { (&mut reset.server, &mut reset.client) };
            aborting.ending = Ending::Abort(3 * MIB);
            other.ending = Ending::Reset;
            add(&format!("{who}_resets_in_mid_transfer"), with_linux, reset);
        }
        let half = Work { half_close: true, ..bulk(2 * MIB, 4 * MIB) };
        add("half_close", with_linux, scene(client, server, half));
        let lossy = Scene { loss_per_million: 50_000, ..scene(client, server, half) };
        add("half_close_5_percent_loss", false, lossy);
    }
    for (pair, client, server) in TAP_PAIRS {
        for (family, v6) in [("ipv4", false), ("ipv6", true)] {
            let mut add = |name: &str, quick: bool, scene: Scene| {
                let wants_loss = scene.loss_per_million >= 10_000;
                cases.push(Case { name: format!("{name}_{family}_{pair}"), quick, scene, wants_loss });
            };
            let base = |work| Scene { v6, mtu: 9000, ..scene(client, server, work) };
            add("mtu_9000_bulk", client != server && !v6, base(bulk(16 * MIB, 16 * MIB)));
            add("mtu_9000_rpc", false, base(rpc(64 << 10, 4, 200)));
            let lossy = Scene { loss_per_million: 10_000, ..base(bulk(8 * MIB, 8 * MIB)) };
            add("mtu_9000_bulk_1_percent_loss", false, lossy);
        }
    }
    cases
}

/// Runs what the options choose. True when all passed.
pub(crate) fn run(options: &Options) -> bool {
    let chosen = |case: &Case| {
        if options.filter.is_empty() {
            options.scope == Scope::All || case.quick
        } else {
            options.filter.iter().any(|f| case.name.contains(f.as_str()))
        }
    };
    let cases: Vec<Case> = list(&options.congestion).into_iter().filter(chosen).collect();
    if options.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return true;
    }
    if let Err(e) = std::fs::create_dir_all(&options.keep) {
        println!("{}: {e}", options.keep.display());
        return false;
    }
    let (mut passed, mut failed) = (0, Vec::new());
    for case in &cases {
        if children::interrupted() {
            failed.push("interrupted".to_owned());
            break;
        }
        let start = Instant::now();
        let capture = options.keep.join(format!("{}.pcap", case.name));
        match perform(case, &capture) {
            Ok(played) => {
                println!("test linux::{} ... ok ({:.1?}, {} lost)", case.name, start.elapsed(), played.lost);
                let _ = std::fs::remove_file(&capture);
                passed += 1;
            }
            Err(why) => {
                println!("test linux::{} ... FAILED: {why}\n    capture: {}", case.name, capture.display());
                failed.push(case.name.clone());
            }
        }
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    if !failed.is_empty() {
        println!("failed: {}", failed.join(" "));
    }
    println!(
        "\ntest result: {verdict}. {passed} passed; {} failed; 0 ignored; 0 measured; 0 filtered out",
        failed.len()
    );
    failed.is_empty()
}

fn perform(case: &Case, capture: &std::path::Path) -> Result<Played, String> {
    // The topology's commands panic when the machine refuses one.
    let played = std::panic::catch_unwind(|| case.scene.play(Some(capture))).unwrap_or_else(|panic| {
        Err(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "panicked".to_owned()))
    })?;
    if case.wants_loss && played.lost == 0 {
        return Err("the router lost nothing".to_owned());
    }
    Ok(played)
}
