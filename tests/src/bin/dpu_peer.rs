//! The host's end of a link to an image in QEMU:
//! `dpu_peer (--local PATH --remote PATH | --vhost PATH --threads N [--iommu] | --kernel ADDR:PORT) (--serve | --ping N | --size N
//! --count N --depth N) [--loss N] [--patience SECONDS] [--tcp datacenter|interop]`. Says `ready` when the other end may come,
//! and in the end what was counted, as JSON on a line.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;
use std::process::ExitCode;

use luna_core::tcp::TcpConfig;
use luna_tests::dpu::{PeerConfig, Report, Role, call_from_the_kernel, ping, run};

/// What is asked for.
struct Asked {
    config: PeerConfig,
    vhost: Option<PathBuf>,
    threads: usize,
    iommu: bool,
    kernel: Option<SocketAddr>,
    pings: u16,
    tcp: TcpConfig,
}

fn parse() -> Result<Asked, String> {
    let config = PeerConfig {
        local: "".into(),
        remote: "".into(),
        role: Role::Serve,
        loss: 0,
        patience: Duration::from_secs(60),
    };
    let mut asked =
        Asked { config, vhost: None, threads: 1, iommu: false, kernel: None, pings: 0, tcp: TcpConfig::INTEROP };
    let (mut size, mut count, mut depth, mut serve) = (4096, 1000, 1, false);
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        if name == "--serve" {
            serve = true;
            continue;
        }
        if name == "--iommu" {
            asked.iommu = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{name} wants a value"))?;
        let number = || value.parse::<u64>().map_err(|e| format!("{name} {value}: {e}"));
        match name.as_str() {
            "--local" => asked.config.local = value.into(),
            "--remote" => asked.config.remote = value.into(),
            "--vhost" => asked.vhost = Some(value.into()),
            "--kernel" => asked.kernel = Some(value.parse().map_err(|e| format!("{name} {value}: {e}"))?),
            "--tcp" if value == "datacenter" => asked.tcp = TcpConfig::DATACENTER,
            "--tcp" if value == "interop" => asked.tcp = TcpConfig::INTEROP,
            "--threads" => asked.threads = number()? as usize,
            "--size" => size = number()? as u32,
            "--count" => count = number()?,
            "--depth" => depth = number()? as u32,
            "--ping" => asked.pings = number()? as u16,
            "--loss" => asked.config.loss = number()? as u16,
            "--patience" => asked.config.patience = Duration::from_secs(number()?),
            _ => return Err(format!("dpu_peer does not understand {name} {value}")),
        }
    }
    if !serve {
        asked.config.role = Role::Bench { size, count, depth };
    }
    Ok(asked)
}

#[cfg(feature = "dpdk")]
fn over_vhost(socket: PathBuf, asked: &Asked) -> Result<Report, String> {
    let PeerConfig { role, loss, patience, .. } = asked.config;
    let Asked { threads, iommu, tcp, .. } = *asked;
    luna_tests::dpu::run_vhost(&luna_tests::dpu::VhostConfig { socket, threads, iommu, role, loss, tcp, patience })
}

#[cfg(not(feature = "dpdk"))]
fn over_vhost(_: PathBuf, _: &Asked) -> Result<Report, String> {
    Err("this dpu_peer was built without DPDK".into())
}

fn perform() -> Result<String, String> {
    let asked = parse()?;
    let config = &asked.config;
    if asked.pings > 0 {
        return ping(&config.local, &config.remote, asked.pings, config.patience);
    }
    let report = match (&asked.vhost, asked.kernel) {
        (Some(socket), _) => over_vhost(socket.clone(), &asked)?,
        (None, Some(remote)) => call_from_the_kernel(remote, config.role, config.patience)?,
        (None, None) => run(config)?,
    };
    serde_json::to_string(&report).map_err(|e| e.to_string())
}

fn main() -> ExitCode {
    match perform() {
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
