//! The paper's Figure 16 in the simulator: `fig16 [--out DIR] [--rounds N]` prints its tables and draws its picture.

use std::path::PathBuf;
use std::process::ExitCode;

use luna_core::tcp::congestion::CongestionKind;
use luna_tests::fig16::{SENDERS, chart, incast, mixed, table::table};

fn run(out: &std::path::Path, rounds: usize) -> Result<(), Box<dyn core::error::Error>> {
    std::fs::create_dir_all(out)?;
    let (mut bursts, mut mixes) = (Vec::new(), Vec::new());
    for n in SENDERS {
        for kind in CongestionKind::ALL {
            eprintln!("incast: {kind}, {n} senders");
            bursts.push(incast(kind, n, rounds)?);
        }
    }
    for kind in CongestionKind::ALL {
        eprintln!("mixed: {kind}");
        mixes.push(mixed(kind, 50_000_000)?);
    }
    let text = [
        table("Incast: every sender has 64 KiB for one receiver, at once", &bursts),
        table("Mixed: 16 KiB flows beside two that never end", &mixes),
    ]
    .join("\n");
    println!("{text}");
    std::fs::write(out.join("fig16.txt"), &text)?;
    let picture = out.join("fig16.svg");
    chart::svg(&picture, &bursts, &mixes)?;
    println!("drawn: {}", picture.display());
    Ok(())
}

fn main() -> ExitCode {
    let (mut out, mut rounds) = (PathBuf::from("target/fig16"), 10);
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        match (name.as_str(), args.next()) {
            ("--out", Some(dir)) => out = dir.into(),
            ("--rounds", Some(n)) if n.parse::<usize>().is_ok_and(|n| n > 0) => rounds = n.parse().unwrap_or(rounds),
            _ => {
                eprintln!("usage: fig16 [--out DIR] [--rounds N]");
                return ExitCode::from(2);
            }
        }
    }
    match run(&out, rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("fig16: {e}");
            ExitCode::FAILURE
        }
    }
}
