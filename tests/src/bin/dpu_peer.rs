//! The host's end of a link to an image in QEMU:
//! `dpu_peer --local PATH --remote PATH (--serve | --ping N | --size N --count N --depth N) [--loss N] [--patience SECONDS]`.

use core::time::Duration;
use std::process::ExitCode;

use luna_tests::dpu::{PeerConfig, Role, ping, run};

fn main() -> ExitCode {
    let mut config = PeerConfig {
        local: "".into(),
        remote: "".into(),
        role: Role::Serve,
        loss: 0,
        patience: Duration::from_secs(60),
    };
    let (mut size, mut count, mut depth, mut serve) = (4096, 1000, 1, false);
    let mut pings = 0;
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        if name == "--serve" {
            serve = true;
            continue;
        }
        let value = args.next();
        let number: Option<u64> = value.as_deref().and_then(|v| v.parse().ok());
        match (name.as_str(), number, value) {
            ("--local", _, Some(path)) => config.local = path.into(),
            ("--remote", _, Some(path)) => config.remote = path.into(),
            ("--size", Some(n), _) => size = n as u32,
            ("--count", Some(n), _) => count = n,
            ("--depth", Some(n), _) => depth = n as u32,
            ("--ping", Some(n), _) => pings = n as u16,
            ("--loss", Some(n), _) => config.loss = n as u16,
            ("--patience", Some(n), _) => config.patience = Duration::from_secs(n),
            _ => {
                eprintln!("dpu_peer does not understand {name}");
                return ExitCode::from(2);
            }
        }
    }
    if !serve {
        config.role = Role::Bench { size, count, depth };
    }
    let outcome = match pings {
        0 => run(&config),
        _ => ping(&config.local, &config.remote, pings, config.patience),
    };
    match outcome {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}
