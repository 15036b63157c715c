//! `cargo xtask dpu test`: an image against luna-host's RPC service and benchmark over QEMU's datagram sockets, which
//! need no privileges; what it says when something is not there; and, as root, the exchanges of `dpu run`, shorter.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::Board;
use super::exchange::{self, Booted, Exchange, Peer as Caller};
use super::qemu::Machine;
use super::size;
use crate::cargo::{cargo, target_dir};
use crate::process::Process;
use crate::setup;

/// What one case may take, on a machine that others use too.
const PATIENCE: Duration = Duration::from_secs(150);

/// The other end of the link.
#[derive(Clone, Debug)]
enum Peer {
    /// None.
    Nobody,
    /// Echo.
    Serve { loss: u16 },
    /// Requests.
    Bench { size: u32, count: u32, depth: u16, loss: u16 },
    /// ARP and echo requests.
    Ping(u16),
    /// ARP requests, whether or not there is an answer.
    Knock,
}

/// One boot.
struct Case {
    name: String,
    machine: &'static str,
    nic: Nic,
    append: String,
    peer: Peer,
    /// What the image's exit code must be, and what must be in its lines. No code: it is stopped when it has said all that
    /// and the peer is done.
    code: Option<i32>,
    says: Vec<&'static str>,
    /// It logs in defmt frames.
    defmt: bool,
}

/// The network device.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nic {
    None,
    Mmio,
    /// Before virtio 1.
    Legacy,
    Pci,
    /// The same, behind an SMMUv3.
    PciSmmu,
    E1000e,
    /// The same behind QEMU's own network, which has a DHCP server.
    E1000eDhcp,
}

impl Nic {
    fn args(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Mmio => &[
                "-global",
                "virtio-mmio.force-legacy=false",
                "-device",
                "virtio-net-device,netdev=n0,mac=02:00:00:00:00:02,packed=on",
            ],
            Self::Legacy => &["-device", "virtio-net-device,netdev=n0,mac=02:00:00:00:00:02"],
            Self::E1000e | Self::E1000eDhcp => {
                &["-device", "e1000e,netdev=n0,mac=02:00:00:00:00:02", "-device", "virtio-rng-pci"]
            }
            Self::Pci => {
                &["-device", "virtio-net-pci,netdev=n0,mac=02:00:00:00:00:02,packed=on,disable-legacy=on,romfile="]
            }
            Self::PciSmmu => &[
                "-machine",
                "virt,gic-version=3,iommu=smmuv3",
                "-device",
                "virtio-net-pci,netdev=n0,mac=02:00:00:00:00:02,packed=on,disable-legacy=on,romfile=,iommu_platform=on",
                "-device",
                "virtio-rng-pci,disable-legacy=on,romfile=,iommu_platform=on",
            ],
        }
    }
}

const PLAIN: &str = "";
const NET: &str = "net.addr=10.0.0.2/24 net.detect=off peer=10.0.0.1@02:00:00:00:00:01";

fn case(name: &str, nic: Nic, append: &str, peer: Peer, code: Option<i32>, says: &'static str) -> Case {
    Case { name: name.into(), machine: PLAIN, nic, append: append.into(), peer, code, says: vec![says], defmt: false }
}

/// All of them. `count`s are for an emulated core.
fn cases() -> Vec<Case> {
    let mut all = vec![
        case("no network device", Nic::None, NET, Peer::Nobody, Some(2), "no virtio network device"),
        case("a device before virtio 1", Nic::Legacy, NET, Peer::Nobody, Some(2), "no virtio network device"),
        case("arguments that are not understood", Nic::Mmio, "size=much", Peer::Nobody, Some(2), "expected size=BYTES"),
        case("no address", Nic::Mmio, "", Peer::Nobody, Some(1), "no address"),
        case(
            "more cores than there are",
            Nic::Mmio,
            "cores=2",
            Peer::Nobody,
            Some(2),
            "2 cores are wanted, and there are 1",
        ),
        case("a panic", Nic::None, "die=panic", Peer::Nobody, Some(101), "asked to panic"),
        case("a data abort", Nic::None, "die=fault", Peer::Nobody, Some(101), "data abort"),
        case("ARP and echo", Nic::Mmio, "net.addr=10.0.0.2/24 net.detect=off", Peer::Ping(40), None, "core 0"),
    ];
    all.push(Case {
        machine: "-smp 2",
        ..case(
            "a device without the features that are needed",
            Nic::Mmio,
            "cores=2",
            Peer::Nobody,
            Some(2),
            "cannot go on: the device lacks features that are needed",
        )
    });
    all.push(Case {
        machine: "-m 16M",
        ..case(
            "too little memory",
            Nic::Mmio,
            NET,
            Peer::Nobody,
            Some(2),
            "cannot go on: no memory for the network device",
        )
    });
    all.push(Case {
        machine: "-cpu max -machine virt,gic-version=3,virtualization=on",
        ..case("EL2, RNDR", Nic::None, NET, Peer::Nobody, Some(2), "EL2")
    });
    all.extend(smmu_cases());
    all.extend(defmt_cases());
    for (nic, transport) in [(Nic::Mmio, "MMIO"), (Nic::Pci, "PCI")] {
        for rings in ["split", "packed"] {
            for (size, count, loss) in [(4096, 400, 0), (65536, 40, 0), (4096, 300, 10)] {
                let words = format!("{NET} rings={rings} loss={loss} patience=120");
                let lossy = if loss > 0 { ", 1 % loss" } else { "" };
                all.push(case(
                    &format!("{transport}, {rings} rings: {size} byte requests of the image's{lossy}"),
                    nic,
                    &format!("{words} connect=10.0.0.1:7480 size={size} count={count} depth=4"),
                    Peer::Serve { loss },
                    Some(0),
                    "bench completed",
                ));
            }
            all.push(case(
                &format!("{transport}, {rings} rings: requests to the image"),
                nic,
                &format!("{NET} rings={rings} until=1"),
                Peer::Bench { size: 4096, count: 400, depth: 4, loss: 0 },
                Some(0),
                "served 4",
            ));
        }
    }
    // A device that asks for a reset once QEMU was given what it takes for a broken driver.
    for (nic, transport, rings) in [(Nic::Mmio, "MMIO", "split"), (Nic::Pci, "PCI", "packed")] {
        let words = format!("{NET} rings={rings} patience=120 die=device");
        let mut broken = case(
            &format!("{transport}, {rings} rings: a device that breaks down is started again, and no request is lost"),
            nic,
            &format!("{words} connect=10.0.0.1:7480 size=4096 count=400 depth=4"),
            Peer::Serve { loss: 0 },
            Some(0),
            "core 0: bench completed 400",
        );
        broken.says.push("core 0: the network device was reset and goes again");
        all.push(broken);
    }
    all.push(case(
        "64 KiB requests to the image, 1 % loss",
        Nic::Mmio,
        &format!("{NET} until=1 loss=10"),
        Peer::Bench { size: 65536, count: 40, depth: 4, loss: 10 },
        Some(0),
        "served 4",
    ));
    all
}

/// Those of the small image: its device offers what it lacks, its peer loses frames.
fn small_cases() -> Vec<Case> {
    let bench = |size, count, loss| Peer::Bench { size, count, depth: 4, loss };
    vec![
        case("small: ARP and echo", Nic::Mmio, "net.addr=10.0.0.2/24 net.detect=off", Peer::Ping(40), None, "core 0"),
        case("small: 4 KiB requests", Nic::Mmio, &format!("{NET} until=1"), bench(4096, 400, 0), Some(0), "served 4"),
        case(
            "small: 64 KiB requests, 1 % loss",
            Nic::Mmio,
            &format!("{NET} until=1"),
            bench(65536, 40, 10),
            Some(0),
            "served 4",
        ),
        case("small: a panic says where", Nic::None, "die=panic", Peer::Nobody, Some(101), "breakpoint"),
        case("small: a data abort", Nic::None, "die=fault", Peer::Nobody, Some(101), "data abort"),
        case("small: no DHCP", Nic::Mmio, "net.addr=dhcp", Peer::Nobody, Some(1), "no node"),
        case("small: no IPv6", Nic::Mmio, "net.addr=fd00::2/64", Peer::Nobody, Some(2), "net.addr=ADDRESS"),
        case("small: no loss", Nic::Mmio, "loss=10", Peer::Nobody, Some(2), "loses nothing"),
    ]
}

/// With an SMMUv3 between memory and the NIC, and a NIC that is sent to where it must not, with and without one.
fn smmu_cases() -> Vec<Case> {
    let mut all = Vec::new();
    let translated = ["SMMUv3: the network device (stream 0x8)", "SMMUv3: the entropy device", "entropy: virtio-rng"];
    for rings in ["split", "packed"] {
        let words = format!("{NET} rings={rings} patience=120");
        let with = |mut case: Case| {
            case.name = format!("PCI behind an SMMUv3, {rings} rings: {}", case.name);
            case.says.extend(translated);
            case
        };
        all.push(with(case(
            "64 KiB requests of the image's, 1 % loss",
            Nic::PciSmmu,
            &format!("{words} loss=10 connect=10.0.0.1:7480 size=65536 count=40 depth=4"),
            Peer::Serve { loss: 10 },
            Some(0),
            "bench completed",
        )));
        all.push(with(case(
            "4 KiB requests to the image",
            Nic::PciSmmu,
            &format!("{words} until=1"),
            Peer::Bench { size: 4096, count: 400, depth: 4, loss: 0 },
            Some(0),
            "served 4",
        )));
    }
    let stray = format!("{NET} die=stray");
    let mut refused = case(
        "a NIC that strays: refused by the SMMU, and nothing is written",
        Nic::PciSmmu,
        &stray,
        Peer::Knock,
        Some(2),
        "SMMUv3: stream 0x8 refused at 0x",
    );
    refused.says.extend(["bytes where the device was sent are as they were", "cannot go on: a device reached"]);
    all.push(refused);
    // What that one shows is the SMMU's doing.
    all.push(case(
        "a NIC that strays without an SMMU: it writes",
        Nic::Pci,
        &stray,
        Peer::Knock,
        Some(2),
        "bytes where it must not",
    ));
    all
}

/// Lines of the image's and of the stack's, as frames; of an image that panics, too.
fn defmt_cases() -> [Case; 2] {
    let words = format!("{NET} patience=120 connect=10.0.0.1:7480 size=4096 count=40 depth=4");
    let served = case(
        "a log of defmt frames",
        Nic::Pci,
        &words,
        Peer::Serve { loss: 0 },
        Some(0),
        "core 0: bench completed 40 in",
    );
    let panics = case(
        "a panic as a defmt frame",
        Nic::None,
        "die=panic",
        Peer::Nobody,
        Some(101),
        "ERROR core 0x0: panicked at",
    );
    let log = |case: Case, more: &[&'static str]| Case { defmt: true, says: [&case.says, more].concat(), ..case };
    [
        log(
            served,
            &[
                " INFO  luna on qemu-virt: EL1",
                "(luna-dpu/src/machine/tell.rs:",
                " DEBUG connection ",
                "(luna-core/src/stack/deliver.rs:",
            ],
        ),
        log(panics, &["asked to panic", "(luna-dpu/src/machine/console.rs:"]),
    ]
}

/// Whether these are lines of decoded frames: time, level, text, place; none is earlier than the one before.
fn decoded(lines: &[String]) -> Result<()> {
    let mut last = 0.0;
    for line in lines {
        let read = || {
            let (time, rest) = line.trim_start().split_once(' ')?;
            let (level, rest) = rest.split_once(' ')?;
            let (_, place) = rest.strip_suffix(')')?.rsplit_once('(')?;
            let (file, number) = place.rsplit_once(':')?;
            let whole = ["DEBUG", "INFO", "ERROR"].contains(&level) && file.ends_with(".rs");
            (whole && number.parse::<u32>().is_ok()).then(|| time.parse::<f64>().ok())?
        };
        let time = read().with_context(|| format!("no decoded frame: {line}"))?;
        anyhow::ensure!(time >= last, "earlier than the line before: {line}");
        last = time;
    }
    Ok(())
}

/// All of `sbsa-ref`.
fn sbsa_cases() -> Vec<Case> {
    let serve = |loss| Peer::Serve { loss };
    let calls = |size: u32, count: u32, loss: u16| {
        format!("{NET} loss={loss} patience=120 connect=10.0.0.1:7480 size={size} count={count} depth=4")
    };
    vec![
        case("no network device", Nic::None, NET, Peer::Nobody, Some(2), "no e1000e network device"),
        case("a panic", Nic::None, "die=panic", Peer::Nobody, Some(101), "asked to panic"),
        case("a data abort", Nic::None, "die=fault", Peer::Nobody, Some(101), "data abort"),
        case("an address by DHCP", Nic::E1000eDhcp, "net.addr=dhcp net.detect=off", Peer::Nobody, None, "Dhcp"),
        case(
            "ARP and echo",
            Nic::E1000e,
            "net.addr=10.0.0.2/24 net.detect=off",
            Peer::Ping(40),
            None,
            "SMMUv3: the network device (stream 0x10)",
        ),
        Case {
            says: vec!["SMMUv3: stream 0x10 refused at 0x", "bytes where the device was sent are as they were"],
            ..case("a NIC that strays is refused", Nic::E1000e, &format!("{NET} die=stray"), Peer::Knock, Some(2), "")
        },
        Case {
            says: vec!["core 0: the network device was reset and goes again", "core 0: bench completed 200"],
            ..case(
                "a device that stops is started again, and no request is lost",
                Nic::E1000e,
                &format!("{} die=device", calls(4096, 200, 0)),
                serve(0),
                Some(0),
                "",
            )
        },
        case("4 KiB requests of the image's", Nic::E1000e, &calls(4096, 200, 0), serve(0), Some(0), "bench completed"),
        case("64 KiB requests of the image's", Nic::E1000e, &calls(65536, 30, 0), serve(0), Some(0), "bench completed"),
        case("the same, 1 % loss", Nic::E1000e, &calls(4096, 200, 10), serve(10), Some(0), "bench completed"),
        case(
            "requests to the image",
            Nic::E1000e,
            &format!("{NET} until=1"),
            Peer::Bench { size: 4096, count: 200, depth: 4, loss: 0 },
            Some(0),
            "served 2",
        ),
    ]
}

/// What `dpu run` shows with 100,000 requests, with as many as tell.
fn exchanges(board: Board) -> Vec<Exchange> {
    let exchange = |peer, cores, size, rpcs, loss| Exchange {
        board,
        peer,
        cores,
        smmu: false,
        size,
        rpcs,
        depth: 8,
        loss,
        patience: Duration::from_secs(100),
    };
    let mut all = Vec::new();
    for (size, rpcs) in [(4096, 2000), (65536, 200)] {
        for loss in [0, 10] {
            all.push(exchange(Caller::Kernel, 1, size, rpcs, loss));
            // DPDK's vhost port wants a virtio NIC.
            if board == Board::QemuVirt {
                all.extend([1, 2].map(|cores| exchange(Caller::Luna, cores, size, rpcs, loss)));
            }
        }
    }
    if board == Board::QemuVirt {
        // luna-host's addresses are then the SMMU's, which it asks QEMU about.
        all.extend([1, 2].map(|cores| Exchange { smmu: true, ..exchange(Caller::Luna, cores, 65536, 200, 10) }));
    }
    all
}

/// What came of the cases.
struct Outcomes {
    passed: usize,
    failed: Vec<String>,
}

impl Outcomes {
    fn add(&mut self, name: String, started: Instant, outcome: Result<()>) -> Result<()> {
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok    {seconds:5.1} s  {name}");
            }
            Err(e) => {
                crate::interrupt::check()?;
                println!("FAIL  {seconds:5.1} s  {name}: {e:#}");
                self.failed.push(name);
            }
        }
        Ok(())
    }
}

/// What an image's bytes must be like.
type Check = fn(&[u8]) -> Result<()>;

/// What there is to test.
pub(super) struct Images {
    /// With the echo service and the benchmark's client.
    pub(super) full: PathBuf,
    /// The echo service alone.
    pub(super) serve: PathBuf,
    /// No more than that needs, of a board that has such an image.
    pub(super) small: Option<PathBuf>,
    /// As `full`, with its log in defmt frames, and what decodes it.
    pub(super) defmt: Option<(PathBuf, PathBuf)>,
}

/// Runs all cases of `board` whose name contains `filter`.
pub(super) fn run(board: Board, images: &Images, filter: Option<&str>, verbose: bool, yes: bool) -> Result<()> {
    let full = Booted { image: &images.full, decoder: None };
    let defmt = images.defmt.as_ref().map(|(image, decoder)| Booted { image, decoder: Some(decoder) });
    let serve = Booted { image: &images.serve, decoder: None };
    let wanted = |name: &str| filter.is_none_or(|f| name.contains(f));
    let dir = tempfile::tempdir().context("cannot make a directory for sockets")?;
    let mut outcomes = Outcomes { passed: 0, failed: Vec::new() };
    let cases = match board {
        Board::QemuVirt => cases(),
        Board::SbsaRef => sbsa_cases(),
    };
    let root = rustix::process::geteuid().is_root();
    // One build serves all, where there may be DPDK.
    let _prepared = if root { Some(setup::prepare(yes)?) } else { None };
    let peer = if root { exchange::build_host()? } else { build_peer()? };
    let cases = cases.into_iter().map(|case| (case, full));
    let small = images.small.as_ref().map(|image| Booted { image, decoder: None });
    let small_cases = small.into_iter().flat_map(|image| small_cases().into_iter().map(move |case| (case, image)));
    for (case, image) in cases.chain(small_cases).filter(|(case, _)| wanted(&case.name)) {
        let start = Instant::now();
        let image = if case.defmt { defmt.context("no such image")? } else { image };
        let outcome = play(board, &case, image, &peer, dir.path(), verbose);
        outcomes.add(case.name, start, outcome)?;
    }
    let exchanges: Vec<_> = exchanges(board).into_iter().filter(|exchange| wanted(&exchange.title())).collect();
    let mut ignored = 0;
    let examined = |path: &Path, check: Check| check(&std::fs::read(path)?);
    let mut checks: Vec<(&str, &Path, Check)> = vec![
        ("no lock, no heap: atomics off the packet path only", &images.full, size::packet_path),
        ("no lock, no heap, in the image that only serves", &images.serve, size::packet_path),
    ];
    if let Some(small) = &images.small {
        checks.push(("the image that only serves is within its budget", &images.serve, size::serves));
        checks.push(("small: no lock, no heap", small, size::packet_path));
        checks.push(("small: 192 KiB of code and read-only data", small, size::small));
    }
    for (name, path, check) in checks.into_iter().filter(|(name, ..)| wanted(name)) {
        outcomes.add(name.into(), Instant::now(), examined(path, check))?;
    }
    for exchange in exchanges {
        if !root {
            ignored += 1;
            println!("test {} ... ignored, namespaces and DPDK ports need root", exchange.title());
            continue;
        }
        let start = Instant::now();
        // Only the whole image drives an SMMU.
        let image = if exchange.smmu { full } else { serve };
        let outcome = exchange.run(image, &peer, |_| {}).map(|done| {
            if verbose {
                println!("{done:#?}");
            }
        });
        outcomes.add(exchange.title(), start, outcome)?;
    }
    let Outcomes { passed, failed } = outcomes;
    if !failed.is_empty() {
        bail!("{} of {} cases failed: {}", failed.len(), passed + failed.len(), failed.join("; "));
    }
    if passed + ignored == 0 {
        bail!("no case has such a name");
    }
    println!("test result: ok. {passed} passed; 0 failed; {ignored} ignored; 0 measured; 0 filtered out");
    Ok(())
}

fn build_peer() -> Result<PathBuf> {
    let status = cargo(&["build", "--quiet", "--release", "-p", "luna-tests", "--bin", "dpu_peer"]).status()?;
    if !status.success() {
        bail!("the host's end does not build ({status})");
    }
    Ok(target_dir().join("release/dpu_peer"))
}

fn play(board: Board, case: &Case, image: Booted<'_>, peer: &Path, dir: &Path, verbose: bool) -> Result<()> {
    let (ours, theirs) = (dir.join("host"), dir.join("qemu"));
    // Sockets of the case before.
    _ = std::fs::remove_file(&theirs);
    let mut other = start_peer(&case.peer, peer, &ours, &theirs)?;
    let mut machine = Machine::of(board).args(&case.machine.split_whitespace().collect::<Vec<_>>());
    if case.nic != Nic::None {
        let (ours, theirs) = (ours.display(), theirs.display());
        let mut link = format!("dgram,id=n0,local.type=unix,local.path={theirs},remote.type=unix,remote.path={ours}");
        if case.nic == Nic::E1000eDhcp {
            link = "user,id=n0".into();
        }
        machine = machine.args(&["-netdev", &link]).args(case.nic.args());
    }
    let mut qemu = machine.append(&case.append).decoded_by(image.decoder).boot(image.image)?;
    if case.code.is_none() {
        for says in &case.says {
            qemu.wait_for_line(says, PATIENCE)?;
        }
        return finish(case, other.as_mut(), verbose);
    }
    let mut lines = Vec::new();
    let status = qemu.wait(Some(PATIENCE), |line| lines.push(line.text.clone()))?;
    if verbose {
        println!("{}", lines.join("\n"));
    }
    let missing: Vec<_> = case.says.iter().filter(|says| !lines.iter().any(|line| line.contains(*says))).collect();
    if status.code() != case.code || !missing.is_empty() {
        bail!("{status}, not {:?}; missing {missing:?} in:\n{}", case.code, lines.join("\n"));
    }
    if case.defmt {
        decoded(&lines)?;
    }
    finish(case, other.as_mut(), verbose)
}

fn finish(case: &Case, peer: Option<&mut Process>, verbose: bool) -> Result<()> {
    if let Some(peer) = peer.filter(|_| !matches!(case.peer, Peer::Knock)) {
        peer.wait_success(PATIENCE)?;
        if verbose {
            println!("{}", peer.stdout());
        }
    }
    Ok(())
}

fn start_peer(peer: &Peer, program: &Path, ours: &Path, theirs: &Path) -> Result<Option<Process>> {
    let mut command = Command::new(program);
    command.arg("--local").arg(ours).arg("--remote").arg(theirs).args(["--patience", "120"]);
    let mut words = |list: &[(&str, u32)]| {
        for (name, value) in list {
            command.arg(name).arg(value.to_string());
        }
    };
    match *peer {
        Peer::Nobody => return Ok(None),
        Peer::Serve { loss } => {
            words(&[("--loss", loss.into())]);
            command.arg("--serve");
            let mut process = Process::spawn("the host's end", command)?;
            process.wait_for_line("ready", Duration::from_secs(20))?;
            return Ok(Some(process));
        }
        Peer::Bench { size, count, depth, loss } => {
            words(&[("--size", size), ("--count", count), ("--depth", depth.into()), ("--loss", loss.into())]);
        }
        Peer::Ping(count) => words(&[("--ping", count.into())]),
        Peer::Knock => words(&[("--ping", 1)]),
    }
    Ok(Some(Process::spawn("the host's end", command)?))
}
