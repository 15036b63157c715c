//! Full echo RPCs over the in-memory pair, both ends in this thread: wall time, which on a shared machine only says something
//! side by side. `instructions` is what gates.

use core::time::Duration;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use luna_tests::echo::EchoPair;
use luna_tests::scenario::{EchoLoop, Scenario};
use luna_tests::smoltcp_echo::{Driving, SmoltcpEcho};

/// Times `echo` in batches, and looks at every byte before and after.
fn time(echo: &mut impl EchoLoop, rpcs: u64) -> Duration {
    echo.run_verified(64);
    let start = Instant::now();
    echo.run(rpcs);
    let elapsed = start.elapsed();
    echo.run_verified(64);
    elapsed
}

fn bench(c: &mut Criterion, stack: &str, make: impl Fn(Scenario) -> Box<dyn FnMut(u64) -> Duration>) {
    let mut group = c.benchmark_group(format!("echo 4 KiB/{stack}"));
    group.throughput(Throughput::Elements(1));
    for mtu in [1500, 9000] {
        for depth in [1, 16] {
            for checksums in [false, true] {
                let mut run = make(Scenario::new(4096, mtu, depth, checksums));
                let sums = if checksums { "software" } else { "offloaded" };
                group.bench_function(format!("MTU {mtu}/depth {depth}/checksums {sums}"), |b| b.iter_custom(&mut run));
            }
        }
    }
}

fn luna(c: &mut Criterion) {
    bench(c, "luna", |scenario| {
        let mut echo = EchoPair::new(scenario);
        Box::new(move |rpcs| {
            let elapsed = time(&mut echo, rpcs);
            echo.assert_healthy();
            elapsed
        })
    });
}

fn smoltcp(c: &mut Criterion) {
    bench(c, "smoltcp", |scenario| {
        let mut echo = SmoltcpEcho::new(scenario, Driving::Poll);
        Box::new(move |rpcs| {
            let elapsed = time(&mut echo, rpcs);
            echo.assert_healthy();
            elapsed
        })
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = luna, smoltcp
}
criterion_main!(benches);
