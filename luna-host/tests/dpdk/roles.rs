//! What a child process does: drive a conversation over a port, echo one, or provoke an error.

use core::ptr::NonNull;
use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Instant;

use luna_core::nic::{NicQueue, RxBurst, RxFrame};
use luna_core::wire::ChecksumVerdict;
use luna_core::zbuf::{DeviceKey, ForeignIo, ForeignRegion, Frag, IoAddr, Pool, Zbuf, ZbufMut, ZoneLayout};
use luna_host::dpdk::{
    AfXdp, DpdkQueue, Eal, EalConfig, EalError, EalPool, Memif, MemifRole, Memory, PortConfig, PortRange, QueueSeed,
    Vdev, Vhost, VirtioUser,
};

use crate::frames::{self, HEADER, HELLO, STOP};

const PATIENCE: Duration = Duration::from_secs(20);
const WINDOW: u32 = 64;

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

pub(crate) fn run(role: &str) -> ExitCode {
    match role {
        "drive" => with_port(drive),
        "echo" => with_port(echo),
        "ring" => with_port(ring),
        "mute" => with_port(mute),
        "abandon" => abandon(),
        "kernel-listen" => kernel_listen(),
        "kernel-connect" => kernel_connect(),
        "xdp-occupied" => xdp_occupied(),
        "second" => second_start(),
        "refused" => refused(),
        other => panic!("no role {other}"),
    }
    ExitCode::SUCCESS
}

fn vdev(queues: u16) -> Vdev {
    let path = env("LUNA_PATH");
    let kind = env("LUNA_PORT");
    let virtio = |packed, in_order, mergeable| {
        Vdev::VirtioUser(VirtioUser { packed, in_order, mergeable, queues, ..VirtioUser::new(&path) })
    };
    match kind.as_str() {
        "memif-server" => Vdev::Memif(Memif::new(MemifRole::Server, &path)),
        "memif-client" => Vdev::Memif(Memif::new(MemifRole::Client, &path)),
        "memif-copy" => Vdev::Memif(Memif { zero_copy: false, ..Memif::new(MemifRole::Client, &path) }),
        "vhost" => Vdev::Vhost(Vhost { queues, ..Vhost::new(&path) }),
        "virtio-packed-inorder" => virtio(true, true, false),
        "virtio-packed" => virtio(true, false, false),
        "virtio-split-inorder" => virtio(false, true, false),
        "virtio-split" => virtio(false, false, true),
        "af-xdp" => {
            let range = PortRange { first: frames::PORT, last: u16::MAX };
            Vdev::AfXdp(AfXdp::new(&env("LUNA_IFACE"), vec![range]))
        }
        "ring" => Vdev::Ring,
        other => panic!("no port {other}"),
    }
}

/// One queue and the memory that is sent over it, on the thread that owns both.
struct Bench {
    queue: DpdkQueue,
    payload: EalPool,
    copies_out: bool,
    /// Payload bytes per frame are below this.
    longest: u32,
}

/// What can travel to the thread of a [`Bench`].
struct BenchSeed {
    seed: QueueSeed,
    memory: Memory,
    mtu: u16,
}

impl BenchSeed {
    fn activate(self) -> Bench {
        let queue = self.seed.activate();
        let payload = self.memory.into_pool(ZoneLayout::plain(4608)).unwrap_or_else(|error| panic!("{error}"));
        let copies_out = queue.caps().max_tx_segments == 1;
        Bench { queue, payload, copies_out, longest: u32::from(self.mtu) - 100 }
    }
}

/// Runs `work` once per queue, each on a thread of its own (the first on this one); then everything has to be home.
fn with_port(work: fn(&mut Bench)) {
    let number = |name, default| env(name).parse().unwrap_or(default);
    let (mtu, queues) = (number("LUNA_MTU", 1500), number("LUNA_QUEUES", 1));
    let config = EalConfig { memory_mb: 128 + 96 * u32::from(queues), ..EalConfig::default() };
    let eal = Eal::start(&config).unwrap_or_else(|error| panic!("{error}"));
    let name = eal.attach(&vdev(queues)).unwrap_or_else(|error| panic!("{error}"));
    let config = PortConfig { mtu, queues, rx_objs: 4096, ..PortConfig::default() };
    let (port, seeds) = eal.open(&name, &config).unwrap_or_else(|error| panic!("{error}"));
    let mut seeds: Vec<BenchSeed> = seeds
        .into_iter()
        .map(|seed| BenchSeed { seed, memory: eal.memory(2).unwrap_or_else(|error| panic!("{error}")), mtu })
        .collect();
    assert!(port.wait_link(PATIENCE), "the peer did not come");
    let first = seeds.remove(0);
    let one = |seed: BenchSeed, driver: &str| {
        let mut bench = seed.activate();
        work(&mut bench);
        let Bench { queue, payload, .. } = bench;
        println!("{:?}", queue.stats());
        assert!(queue.stats().rx_copied.bytes == 0 || driver == "net_ring", "received payload was copied");
        drop(queue);
        assert_eq!(payload.outstanding(), 0, "payload objs did not come home");
    };
    let driver = port.driver().to_owned();
    std::thread::scope(|scope| {
        for seed in seeds {
            scope.spawn(|| one(seed, &driver));
        }
        one(first, &driver);
    });
    println!("{:?}", port.stats());
    let closed = port.close().expect("the queues are gone");
    println!("{closed:?}");
    assert_eq!(closed.missing, 0, "objs of the port did not come home");
    drop(eal);
    let runtime = format!("/var/run/dpdk/luna-{}", std::process::id());
    assert!(!std::path::Path::new(&runtime).exists(), "{runtime} was left behind");
}

impl Bench {
    fn mac(&self) -> [u8; 6] {
        self.queue.caps().mac.0
    }

    fn offload(&self) -> bool {
        self.queue.caps().tx_checksum
    }

    /// Sends frame `seq` with these fragments; false when the queue is full.
    fn send(&mut self, seq: u32, frags: &[Zbuf], to: [u8; 6]) -> bool {
        let bytes: usize = frags.iter().map(|frag| frag.len() as usize).sum();
        let Some(mut header) = self.queue.header_pool().alloc_with_headroom(128) else { return false };
        let (from, offload) = (self.mac(), self.offload());
        frames::write_header(header.append(HEADER as u32).unwrap(), seq, bytes, (from, to), offload);
        let payload: Vec<_> = frags.iter().cloned().map(Frag::from).collect();
        let lent: Vec<_> = payload.iter().map(Frag::lend).collect();
        let before = self.queue.pending_segments().count();
        let sent = self.queue.tx(header.into(), &lent, frames::meta(offload)).is_ok();
        drop(payload);
        if sent && !self.copies_out {
            // Zero-copy: the device is given the application's own bytes.
            let segments: Vec<_> = self.queue.pending_segments().collect();
            let ours = &segments[segments.len() - frags.len()..];
            for (segment, frag) in ours.iter().zip(frags) {
                assert_eq!(*segment, (frag.as_ptr(), frag.len()), "payload was moved");
            }
            assert!(segments.len() > frags.len() && segments.len() + 64 > before);
        }
        sent
    }
}

fn verdict_is_sound(bench: &Bench, verdict: ChecksumVerdict) {
    assert_ne!(verdict, ChecksumVerdict::Bad);
    if bench.offload() {
        assert_eq!(verdict, ChecksumVerdict::Good, "an unfinished checksum must be vouched for");
    }
}

impl Bench {
    /// Waits for the echoing side's first word: while a virtio peer is still being configured, its ring is reset, and what
    /// lies in it is lost.
    fn wait_hello(&mut self) {
        let mut burst = RxBurst::new();
        let start = Instant::now();
        loop {
            self.queue.rx_burst(&mut burst);
            let greeted = (0..burst.len()).filter_map(|i| burst.take(i)).any(|frame| is_hello(&frame));
            burst.clear();
            if greeted {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "nobody said hello");
            std::thread::yield_now();
        }
    }
}

fn is_hello(frame: &RxFrame) -> bool {
    frames::parse(&frame.data).is_some_and(|(seq, _)| seq == HELLO)
}

/// Brings the last objs of the last zone to the front: what lies at the end of a pool must be as good as the rest.
fn stir(pool: &Pool) {
    let mut all: Vec<ZbufMut> = core::iter::from_fn(|| pool.alloc()).collect();
    all.sort_by_key(|obj| obj.obj_start());
    let last = all.last().map(|obj| obj.obj_start());
    all.into_iter().for_each(drop);
    assert_eq!(pool.alloc().map(|obj| obj.obj_start()), last);
}

/// Sends numbered frames in two fragments each, wants every one back in order, then lets the queue go idle.
fn drive(bench: &mut Bench) {
    let count: u32 = env("LUNA_COUNT").parse().unwrap_or(20_000);
    let to = [0x02, 0, 0, 0, 0, 0xee];
    stir(bench.queue.header_pool());
    if !bench.copies_out {
        stir(bench.queue.rx_pool());
    }
    let (mut next, mut back) = (0, 0);
    let mut burst = RxBurst::new();
    bench.wait_hello();
    let start = Instant::now();
    let mut progress = Instant::now();
    while back < count {
        while next < count && next - back < WINDOW {
            let len = 2 + next % bench.longest;
            let (a, b) = (len / 2, len - len / 2);
            let (Some(mut first), Some(mut second)) = (bench.payload.alloc(), bench.payload.alloc()) else { break };
            frames::fill(first.append(a).unwrap(), next, 0);
            frames::fill(second.append(b).unwrap(), next, a as usize);
            if !bench.send(next, &[first.freeze(), second.freeze()], to) {
                break;
            }
            next += 1;
        }
        bench.queue.flush();
        bench.queue.rx_burst(&mut burst);
        for i in 0..burst.len() {
            let Some(frame) = burst.take(i) else { continue };
            assert!(bench.queue.rx_pool().contains(frame.data.as_ptr()), "not in an obj that was posted");
            let Some((seq, payload)) = frames::parse(&frame.data) else { continue };
            if seq == HELLO {
                continue;
            }
            assert_eq!(seq, back, "frames come back in order");
            assert_eq!(payload.len() as u32, 2 + seq % bench.longest);
            frames::check(seq, payload);
            verdict_is_sound(bench, frame.meta.checksum.l4);
            back += 1;
            progress = Instant::now();
        }
        if burst.is_empty() {
            std::thread::yield_now();
        }
        burst.clear();
        bench.queue.reap();
        assert!(progress.elapsed() < PATIENCE, "{back} of {count} came back, {next} sent: {:?}", bench.queue.stats());
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    println!("{count} frames there and back, {rate:.0} per second");
    idle_completion(bench, to);
    for _ in 0..3 {
        bench.send(STOP, &[], to);
        bench.queue.flush();
        std::thread::sleep(Duration::from_millis(20));
        bench.queue.reap();
    }
    let stats = bench.queue.stats();
    let sent: u64 = (0..count).map(|seq| u64::from(2 + seq % bench.longest)).sum();
    if bench.copies_out {
        assert!(stats.tx_copied.bytes >= sent, "linearised payload is counted: {stats:?}");
    } else {
        assert_eq!(stats.tx_copied.bytes, 0, "{stats:?}");
    }
    assert_eq!(stats.tx_dropped, 0);
}

/// One frame, then silence: its payload is ours again within a millisecond of `reap` calls.
fn idle_completion(bench: &mut Bench, to: [u8; 6]) {
    let mut times = Vec::new();
    let prompt = Duration::from_millis(1);
    for round in 0..200 {
        // Where more threads spin than there are cores, the peer may not be running in most rounds.
        if round >= 20 && times.iter().any(|time| *time < prompt) {
            break;
        }
        // Only what is out now counts.
        let start = Instant::now();
        while bench.queue.in_flight() > 0 {
            bench.queue.reap();
            assert!(start.elapsed() < PATIENCE, "{} frames never completed", bench.queue.in_flight());
        }
        let mut buf = bench.payload.alloc().unwrap();
        frames::fill(buf.append(1000).unwrap(), 1_000_000 + round, 0);
        let payload = buf.freeze();
        assert!(bench.send(1_000_000 + round, core::slice::from_ref(&payload), to));
        bench.queue.flush();
        let start = Instant::now();
        while !payload.is_unique() || bench.queue.in_flight() > 0 {
            bench.queue.reap();
            std::thread::yield_now();
            assert!(start.elapsed() < PATIENCE, "an idle queue kept its last frame");
        }
        times.push(start.elapsed());
        // The echo is not wanted.
        let mut burst = RxBurst::new();
        let until = Instant::now() + Duration::from_millis(5);
        while Instant::now() < until {
            bench.queue.rx_burst(&mut burst);
            burst.clear();
        }
    }
    times.sort();
    println!(
        "idle completion: min {:?}, median {:?}, max {:?}",
        times[0],
        times[times.len() / 2],
        times[times.len() - 1]
    );
    // The fastest, as the peer must be running too, and CPUs are shared here. A port that completes only with later
    // transmits never gets this far.
    assert!(times[0] < prompt, "an idle queue's last frame takes {:?}", times[0]);
}

/// Sends everything back from the very objs it was received in.
fn echo(bench: &mut Bench) {
    let mut burst = RxBurst::new();
    let mut waiting: std::collections::VecDeque<(u32, Zbuf, [u8; 6])> = std::collections::VecDeque::new();
    let start = Instant::now();
    let (mut stop, mut heard) = (false, false);
    let mut said = Instant::now();
    while !stop {
        if !heard && said.elapsed() > Duration::from_millis(20) {
            said = Instant::now();
            bench.send(HELLO, &[], [0x02, 0, 0, 0, 0, 0xee]);
        }
        assert!(start.elapsed() < PATIENCE * 3, "nobody said stop: {:?}", bench.queue.stats());
        bench.queue.rx_burst(&mut burst);
        for i in 0..burst.len() {
            let Some(frame) = burst.take(i) else { continue };
            assert!(bench.queue.rx_pool().contains(frame.data.as_ptr()), "not in an obj that was posted");
            let Some((seq, payload)) = frames::parse(&frame.data) else { continue };
            if seq == STOP {
                stop = true;
                continue;
            }
            heard = true;
            frames::check(seq, payload);
            verdict_is_sound(bench, frame.meta.checksum.l4);
            let len = payload.len() as u32;
            let from: [u8; 6] = frame.data[6..12].try_into().unwrap();
            waiting.push_back((seq, frame.data.slice(HEADER as u32..HEADER as u32 + len), from));
        }
        if burst.is_empty() {
            std::thread::yield_now();
        }
        burst.clear();
        while let Some((seq, payload, to)) = waiting.pop_front() {
            if !bench.send(seq, core::slice::from_ref(&payload), to) {
                waiting.push_front((seq, payload, to));
                break;
            }
        }
        bench.queue.flush();
        bench.queue.reap();
    }
    drop(waiting);
}

/// One port that receives what it sends; the pointers stay in the process, so reception copies, and says so.
fn ring(bench: &mut Bench) {
    let to = bench.mac();
    let mut burst = RxBurst::new();
    for seq in 0..2000 {
        let mut buf = bench.payload.alloc().unwrap();
        frames::fill(buf.append(700).unwrap(), seq, 0);
        let buf = buf.freeze();
        let halves = [buf.slice(..300), buf.slice(300..)];
        assert!(bench.send(seq, &halves, to));
        bench.queue.flush();
        bench.queue.rx_burst(&mut burst);
        assert_eq!(burst.len(), 1);
        let frame = burst.take(0).unwrap();
        assert_eq!(frames::parse(&frame.data).map(|(s, p)| (s, p.len())), Some((seq, 700)));
        frames::check(seq, frames::parse(&frame.data).unwrap().1);
        burst.clear();
        drop(halves);
        assert!(buf.is_unique(), "the receiver's copy let the sender's payload go");
    }
    let stats = bench.queue.stats();
    assert_eq!((stats.tx_frames, stats.rx_frames), (2000, 2000));
    assert_eq!(stats.rx_copied.bytes, stats.rx_bytes, "{stats:?}");
    assert_eq!(bench.queue.reap(), 2000);
    revoked(bench, to);
    exhaustion(bench, to);
}

/// Foreign memory is copied into the frame as long as its owner lets it; afterwards no frame is made of what is not there.
fn revoked(bench: &mut Bench, to: [u8; 6]) {
    let memory = NonNull::from(Vec::leak(vec![7u8; 4096])).cast();
    // SAFETY: leaked memory.
    let region = unsafe {
        ForeignRegion::register(&bench.payload, memory, 4096, ForeignIo::Contiguous(IoAddr(0x1000)), DeviceKey(1))
    };
    let region = region.unwrap();
    let mut burst = RxBurst::new();
    for expected in [1, 0] {
        let mut header = bench.queue.header_pool().alloc_with_headroom(128).unwrap();
        frames::write_header(header.append(HEADER as u32).unwrap(), 0, 500, (bench.mac(), to), false);
        let payload = Frag::from(region.buffer(&bench.payload, 100, 500).unwrap());
        if expected == 0 {
            region.revoke();
        }
        let dropped = bench.queue.stats().tx_dropped;
        assert!(bench.queue.tx(header.into(), &[payload.lend()], frames::meta(false)).is_ok());
        drop(payload);
        bench.queue.flush();
        bench.queue.rx_burst(&mut burst);
        assert_eq!((burst.len(), bench.queue.stats().tx_dropped - dropped), (expected, 1 - expected as u64));
        if let Some(frame) = burst.take(0) {
            assert!(frame.data[HEADER..HEADER + 500].iter().all(|byte| *byte == 7));
        }
        burst.clear();
        bench.queue.reap();
    }
    assert!(region.is_idle());
}

/// The peer is there and takes nothing, until it is alone.
fn mute(bench: &mut Bench) {
    let start = Instant::now();
    while start.elapsed() < PATIENCE && !std::path::Path::new(&format!("{}.done", env("LUNA_PATH"))).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(bench.queue.in_flight(), 0);
    let _ = std::fs::remove_file(format!("{}.done", env("LUNA_PATH")));
}

/// A queue's thread goes with frames at the device; the port is closed by another. What the device let go only then comes
/// home to the first thread.
fn abandon() {
    let eal = Eal::start(&EalConfig { memory_mb: 256, ..EalConfig::default() }).unwrap();
    let name = eal.attach(&vdev(1)).unwrap();
    let (port, mut seeds) = eal.open(&name, &PortConfig { rx_objs: 2048, ..PortConfig::default() }).unwrap();
    assert!(port.wait_link(PATIENCE), "the peer did not come");
    let seed = BenchSeed { seed: seeds.pop_front().unwrap(), memory: eal.memory(2).unwrap(), mtu: 1500 };
    let (gone, has_gone) = std::sync::mpsc::channel();
    let (closed, is_closed) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let eal = &eal;
        scope.spawn(move || {
            let mut bench = seed.activate();
            let mut buf = bench.payload.alloc().unwrap();
            buf.append(1000).unwrap();
            let buf = buf.freeze();
            for seq in 0..10 {
                assert!(bench.send(seq, core::slice::from_ref(&buf), [0x02, 0, 0, 0, 0, 0xee]));
            }
            bench.queue.flush();
            assert_eq!(bench.queue.in_flight(), 10);
            let Bench { queue, payload, .. } = bench;
            drop(queue);
            assert!(!buf.is_unique(), "the device let go of frames that nobody took");
            gone.send(()).unwrap();
            is_closed.recv().unwrap();
            assert!(!buf.is_unique(), "counts are touched by their thread only");
            assert!(eal.reclaim());
            assert!(buf.is_unique(), "references that the device held are lost");
            drop(buf);
            assert_eq!(payload.outstanding(), 0);
        });
        has_gone.recv().unwrap();
        let found = port.close().expect("the queue is gone");
        println!("{found:?}");
        assert!(!eal.reclaim(), "another thread's");
        closed.send(()).unwrap();
    });
    std::fs::write(format!("{}.done", env("LUNA_PATH")), "").unwrap();
}

/// Too long a frame is dropped and counted; a full queue hands the frame back and loses nothing.
fn exhaustion(bench: &mut Bench, to: [u8; 6]) {
    let mut buf = bench.payload.alloc().unwrap();
    buf.append(2000).unwrap();
    let long = buf.freeze();
    let dropped = bench.queue.stats().tx_dropped;
    assert!(bench.send_unchecked(&long, to));
    assert_eq!(bench.queue.stats().tx_dropped, dropped + 1);
    assert!(long.is_unique());
    let small = long.slice(..100);
    drop(long);
    let mut accepted = 0;
    while bench.send_unchecked(&small, to) {
        accepted += 1;
        assert!(accepted < 100_000, "a queue without a reader never fills");
    }
    println!("{accepted} frames until the queue was full");
    let mut burst = RxBurst::new();
    let mut back = 0;
    let start = Instant::now();
    while back < accepted {
        bench.queue.rx_burst(&mut burst);
        back += burst.len();
        burst.clear();
        bench.queue.flush();
        assert!(start.elapsed() < PATIENCE);
    }
    assert!(small.is_unique());
}

impl Bench {
    fn send_unchecked(&mut self, payload: &Zbuf, to: [u8; 6]) -> bool {
        let Some(mut header) = self.queue.header_pool().alloc_with_headroom(128) else { return false };
        frames::write_header(header.append(HEADER as u32).unwrap(), 0, payload.len() as usize, (self.mac(), to), false);
        let payload = Frag::from(payload.clone());
        self.queue.tx(header.into(), &[payload.lend()], frames::meta(false)).is_ok()
    }
}

fn second_start() {
    let eal = Eal::start(&EalConfig { memory_mb: 64, ..EalConfig::default() }).unwrap();
    let again = Eal::start(&EalConfig::default());
    assert!(matches!(again, Err(EalError::AlreadyStarted)), "{again:?}");
    drop(eal);
    let again = Eal::start(&EalConfig::default());
    assert!(matches!(again, Err(EalError::AlreadyStarted)), "{again:?}");
}

/// An interface that another process uses: refused, and left alone.
fn xdp_occupied() {
    let eal = Eal::start(&EalConfig { memory_mb: 64, ..EalConfig::default() }).unwrap();
    let error = eal.attach(&vdev(1)).unwrap_err();
    assert!(matches!(error, EalError::XdpOccupied(_)), "{error}");
}

/// A port that cannot come up: one sentence, and nothing left behind.
fn refused() {
    let eal = Eal::start(&EalConfig { memory_mb: 64, ..EalConfig::default() }).unwrap();
    let error = eal.attach(&Vdev::Raw { name: "net_nonsense0".into(), args: String::new() }).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("net_nonsense0 did not come up"), "{text}");
    assert!(!text.contains('\n'), "{text}");
    let error = eal.open("net_nonsense0", &PortConfig::default()).unwrap_err();
    assert!(error.to_string().contains("net_nonsense0"), "{error}");
    let name = eal.attach(&Vdev::Ring).unwrap();
    let error = eal.open(&name, &PortConfig { queues: 200, ..PortConfig::default() }).unwrap_err();
    assert!(error.to_string().contains("lower the number of queues"), "{error}");
    let error = eal.open(&name, &PortConfig { rx_objs: 1 << 20, ..PortConfig::default() }).unwrap_err();
    assert!(error.to_string().contains("raise memory_mb"), "{error}");
    // A refused configuration leaves a device that can be configured again.
    let name = eal.attach(&Vdev::Ring).unwrap();
    let small = PortConfig { rx_objs: 2048, header_objs: 512, fragments: 512, ..PortConfig::default() };
    let (port, seeds) = eal.open(&name, &small).unwrap_or_else(|error| panic!("{error}"));
    drop(seeds);
    drop(port);
}

/// A port below Luna's, on the interface that Luna's XDP program splits.
const KERNEL_PORT: u16 = frames::PORT - 1;

fn kernel_listen() {
    let listener = TcpListener::bind(("0.0.0.0", KERNEL_PORT)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut text = [0; 5];
    stream.read_exact(&mut text).unwrap();
    stream.write_all(&text).unwrap();
}

fn kernel_connect() {
    let start = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(("10.99.0.1", KERNEL_PORT)) {
            Ok(stream) => break stream,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut text = [0; 5];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hello");
}
