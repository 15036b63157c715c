//! `cargo xtask dpu run`: every exchange between luna-host, or the kernel, and an image; one table.

use core::time::Duration;
use std::time::Instant;

use anyhow::{Result, bail};
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use super::Board;
use super::exchange::{self, Booted, Exchange, Exchanged, Peer};
use crate::interrupt;
use crate::progress::Progress;
use crate::setup;

/// What is to be exchanged; all combinations of what is not given.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Load {
    /// Requests of each exchange
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    rpcs: u32,
    /// Payload bytes each way [default: 4096 and 65536]
    #[arg(long, value_name = "BYTES")]
    size: Option<u32>,
    /// Requests in flight, of each core
    #[arg(long, value_name = "N", default_value_t = 8)]
    depth: u16,
    /// Frames of a thousand that are lost on purpose each way, half at each end [default: 0 and 10]
    #[arg(long, value_name = "N")]
    loss: Option<u16>,
    /// Cores of the image, each with a queue and a stack of its own [default: 1 and 2]
    #[arg(long, value_name = "N")]
    cores: Option<u16>,
    /// Who calls the image [default: both]
    #[arg(long)]
    peer: Option<Peer>,
    /// Seconds that one exchange may take
    #[arg(long, value_name = "S", default_value_t = 300)]
    patience: u64,
}

impl Load {
    /// The exchanges that a board can take part in.
    fn exchanges(&self, board: Board) -> Result<Vec<Exchange>> {
        let one_of = |given: Option<u16>, all: [u16; 2]| given.map_or(all.to_vec(), |one| vec![one]);
        let sizes = self.size.map_or(vec![4096, 65536], |size| vec![size]);
        let peers = self.peer.map_or(vec![Peer::Luna, Peer::Kernel], |peer| vec![peer]);
        let mut all = Vec::new();
        for peer in peers {
            if peer == Peer::Luna && board != Board::QemuVirt {
                if self.peer.is_some() {
                    bail!(
                        "{} has no virtio NIC for DPDK's vhost port: `--peer kernel` has it called over a tap",
                        board.package()
                    );
                }
                continue;
            }
            for cores in one_of(self.cores, [1, 2]) {
                // A tap has one queue.
                if peer == Peer::Kernel && cores != 1 {
                    continue;
                }
                for &size in &sizes {
                    for loss in one_of(self.loss, [0, 10]) {
                        let Self { rpcs, depth, .. } = *self;
                        let patience = Duration::from_secs(self.patience);
                        all.push(Exchange { board, peer, cores, smmu: false, size, rpcs, depth, loss, patience });
                    }
                }
            }
        }
        if all.is_empty() {
            bail!("nothing to exchange: over a tap there is one queue, for one core");
        }
        Ok(all)
    }
}

/// Makes all exchanges, and prints the table; an error when one of them fails.
pub(super) fn run(board: Board, image: Booted<'_>, load: &Load, yes: bool) -> Result<()> {
    let exchanges = load.exchanges(board)?;
    let _prepared = setup::prepare(yes)?;
    let host = exchange::build_host()?;
    let mut table = table();
    let mut failed = 0;
    let count = exchanges.len();
    for (i, exchange) in exchanges.iter().enumerate() {
        let label = format!("[{}/{count}] {}", i + 1, exchange.title());
        let mut progress = Progress::start(label);
        let started = Instant::now();
        match exchange.run(image, &host, |line| progress.note(line)) {
            Ok(done) => {
                if i == 0 {
                    progress
                        .print(&done.log.iter().map(|line| format!("image | {line}")).collect::<Vec<_>>().join("\n"));
                }
                progress.finish("every answer right");
                add(&mut table, exchange, &done, started.elapsed());
            }
            Err(e) => {
                interrupt::check()?;
                progress.finish(&format!("FAILED: {e:#}"));
                failed += 1;
            }
        }
    }
    println!("{table}");
    println!(
        "Every answer is compared with its request, byte by byte. \"again\": segments sent again. \"lost\": frames lost on purpose, both ways."
    );
    if failed > 0 {
        bail!("{failed} of {count} exchanges failed");
    }
    Ok(())
}

impl Exchange {
    /// In words.
    pub(super) fn title(&self) -> String {
        let who = match self.peer {
            Peer::Luna => "luna-host over vhost-user",
            Peer::Kernel => "kernel TCP over a tap",
        };
        let cores = if self.cores == 1 { "1 core" } else { &format!("{} cores", self.cores) };
        let who = if self.smmu { format!("{who} behind an SMMUv3") } else { who.into() };
        format!("{who}, {cores}, {} bytes, {} % loss", self.size, f64::from(self.loss) / 10.0)
    }
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "caller",
        "cores",
        "bytes",
        "loss",
        "RPCs right",
        "MiB both ways",
        "s",
        "RPC/s",
        "p50 us",
        "again host",
        "image",
        "RTOs host",
        "image",
        "lost host",
        "image",
        "ping",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn add(table: &mut Table, exchange: &Exchange, done: &Exchanged, _took: Duration) {
    let (host, image) = (&done.host, &done.image);
    let or_dash = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mib = host.completed as f64 * 2.0 * f64::from(exchange.size) / f64::from(1 << 20);
    table.add_row([
        if exchange.peer == Peer::Luna { "luna-host" } else { "kernel TCP" }.to_owned(),
        exchange.cores.to_string(),
        exchange.size.to_string(),
        format!("{} %", f64::from(exchange.loss) / 10.0),
        host.completed.to_string(),
        format!("{mib:.0}"),
        format!("{:.1}", host.seconds),
        format!("{:.0}", host.completed as f64 / host.seconds.max(1e-9)),
        format!("{:.0}", host.p50_us),
        or_dash(host.retransmits),
        image.retransmits.to_string(),
        or_dash(host.rtos),
        image.rtos.to_string(),
        if exchange.peer == Peer::Luna { host.lost.to_string() } else { "-".to_owned() },
        image.lost.to_string(),
        done.pings.map_or_else(|| "-".to_owned(), |(sent, answered)| format!("{answered} of {sent}")),
    ]);
}
