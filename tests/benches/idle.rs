//! One million idle connections: what memory each end needs for one, all tables included, and how fast they open.
//!
//! `cargo bench -p luna-tests --bench idle` opens them over the in-memory pair, both ends in this process, then moves a
//! little data over some of them, and fails when a connection costs more than 512 bytes. Behind `--`: a number opens so
//! many instead, `--ipv6` does it over IPv6.
//!
//! Counted are the tables that a stack is given, whatever part of them is in use, divided by the connections open; beside
//! it, what the kernel says that the process takes for both ends.

use std::process::ExitCode;
use std::time::Instant;

use luna_core::stack::{App, Bind, ConnId, Connect, Cx, Retained};
use luna_core::time::Duration;
use luna_core::zbuf::{Frag, Zbuf};
use luna_host::storage::Capacity;
use luna_tests::memory;
use luna_tests::pair::{LinkConfig, PORT, Pair, PlainQueue};

/// Bytes that an idle connection may cost at one end.
const LIMIT: f64 = 512.0;
/// Ports that the server listens on: one pair of addresses and one port makes at most 64 k connections.
const LISTENERS: usize = 20;
const AT_ONCE: usize = 256;

/// Counts.
#[derive(Default)]
struct Count {
    opened: usize,
    closed: usize,
    bytes: usize,
}

impl App<PlainQueue> for Count {
    fn on_connected(&mut self, _: &mut Cx<'_, '_, PlainQueue>, _: ConnId) {
        self.opened += 1;
    }
    fn on_accepted(&mut self, _: &mut Cx<'_, '_, PlainQueue>, _: ConnId, _: u64, _: core::net::SocketAddr) {
        self.opened += 1;
    }
    fn on_data(&mut self, _: &mut Cx<'_, '_, PlainQueue>, _: ConnId, data: Zbuf) -> Retained {
        self.bytes += data.len() as usize;
        Retained::NOTHING
    }
    fn on_closed(&mut self, _: &mut Cx<'_, '_, PlainQueue>, _: ConnId, _: luna_core::stack::Closed) {
        self.closed += 1;
    }
}

/// Resident memory of this process in bytes, as the kernel counts it.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_ascii_whitespace().nth(1).and_then(|n| n.parse::<usize>().ok());
    pages.map_or(0, |n| n * 4096)
}

fn run(n: usize, ipv6: bool) -> bool {
    let capacity = Capacity {
        connections: n,
        sends: 1024,
        segments: 1024,
        out_of_order: 64,
        recoveries: 16,
        controls: 0,
        listeners: LISTENERS,
        neighbors: 4,
    };
    let supplied = capacity.bytes();
    let before = resident();
    let link = LinkConfig { capacity, ipv6, ..LinkConfig::new(1500, true) };
    let mut pair = Pair::new(&link, (Count::default(), Count::default()), |queue: PlainQueue| queue);
    let to = pair.address_of_b();
    for i in 0..LISTENERS {
        let bind = Bind { backlog: u32::MAX, ..Bind::port(PORT + i as u16) };
        pair.b.stack.cx(pair.now).listen(bind, 0).expect("room for a listener");
    }
    let start = Instant::now();
    let mut conns = Vec::with_capacity(n);
    while conns.len() < n {
        let mut cx = pair.a.stack.cx(pair.now);
        for _ in 0..AT_ONCE.min(n - conns.len()) {
            let port = PORT + (conns.len() % LISTENERS) as u16;
            let to = Connect { ports: 1024..=65535, ..Connect::to((to.ip(), port).into()) };
            conns.push(cx.connect(to).expect("room for a connection"));
        }
        pair.settle();
        pair.advance(Duration::from_micros(50));
    }
    let took = start.elapsed();
    let grown = resident().saturating_sub(before);
    assert_eq!((pair.a.app.opened, pair.b.app.opened), (n, n), "all are open at both ends");

    // They live: some of them carry data.
    let mut obj = memory::pool(1, 2048).alloc().expect("a fresh pool");
    obj.append(1000).expect("room").fill(7);
    let data = obj.freeze();
    let step = (n / 1000).max(1);
    let mut sent = 0;
    for conn in conns.iter().step_by(step) {
        let mut iov = heapless::Vec::<Frag, 1>::new();
        iov.push(Frag::from(data.clone())).expect("room for one");
        pair.a.stack.cx(pair.now).send(*conn, &mut iov, 0).expect("open and empty");
        pair.settle();
        sent += 1000;
    }
    pair.advance(Duration::from_millis(1));
    pair.settle();
    assert_eq!(pair.b.app.bytes, sent, "every byte arrived");
    assert_eq!((pair.a.app.closed, pair.b.app.closed), (0, 0), "none was lost");

    let each = supplied as f64 / n as f64;
    let passed = each <= LIMIT;
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    println!("{n} connections over {family}, both ends in this process");
    println!(
        "{each:>10.1} bytes of tables for each, one end (limit {LIMIT}): {}",
        if passed { "passed" } else { "FAILED" }
    );
    println!("{:>10.1} bytes resident for each, one end, pools included", grown as f64 / n as f64 / 2.0);
    println!("{:>10.0} connections opened a second, both ends' work in one thread", n as f64 / took.as_secs_f64());
    passed
}

fn main() -> ExitCode {
    let mut n = 1_000_000;
    let mut ipv6 = false;
    for arg in std::env::args().skip(1) {
        match (arg.as_str(), arg.parse()) {
            (_, Ok(given)) => n = given,
            ("--ipv6", _) => ipv6 = true,
            _ => {}
        }
    }
    if run(n, ipv6) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
