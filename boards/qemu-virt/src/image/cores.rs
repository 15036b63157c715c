//! One node on each core.

use core::sync::atomic::{AtomicU32, Ordering};

use aarch64_rt::{Stack, start_core};
use luna_core::nic::NicQueue as _;
use luna_core::time::Clock as _;
use luna_core::zbuf::{Pool, ZONE_SIZE, ZoneLayout};
use luna_dpu::arena::Arena;
use luna_dpu::control::NetArgs;
use luna_dpu::devicetree::{Conduit, DeviceTree, MAX_CORES};
use luna_dpu::dma::Coherent;
use luna_dpu::machine::Idler;
use luna_dpu::meeting::Meeting;
use luna_dpu::mmio::Mmio;
use luna_dpu::node::{Die, Ending, Node, NodeParts, NodeReport, Sessions, Settings};
#[cfg(feature = "pair")]
use luna_dpu::node::{bytes_per_connection, run_pair};
use luna_dpu::virtio::net::{Mender, NetDevice, QueueMemory, QueuePair};
use luna_dpu::virtio::ring::Node as Descriptor;
use luna_dpu::{Tables, TickClock, machine, say};
use smccc::{Hvc, Smc, psci};

use super::devices::AnyDevice;
use super::{RX_SIZE, Reach, TX_SIZE, give_up};

/// Connections of one core, and what its stack keeps for them.
static TABLES: [Tables<64, 128, 2048, 2048, 256>; MAX_CORES] = [const { Tables::new() }; MAX_CORES];
const SESSIONS: usize = 16;
const CALLS: usize = 64;
/// 2 MiB zones: received frames, headers, payload of the benchmark's.
pub(super) const RX_ZONES: usize = 4;
const HEADER_ZONES: usize = 1;
const PAYLOAD_ZONES: usize = 2;
/// Objs: a frame and virtio's header; a frame's headers with what is copied behind them; payload.
const RX_OBJ: ZoneLayout = ZoneLayout { obj_size: 2048, prefix: 64 };
const HEADER_OBJ: ZoneLayout = ZoneLayout { obj_size: 704, prefix: 64 };
const PAYLOAD_OBJ: u32 = 16 << 10;
/// Memory of one core: what its NIC queue reaches, and everything else.
pub(super) const PACKETS: usize = (RX_ZONES + HEADER_ZONES + PAYLOAD_ZONES) * ZONE_SIZE;
pub(super) const PRIVATE: usize = 1 << 20;
/// Pages of a further core's stack.
const STACK_PAGES: usize = 24;

static mut STACKS: [Stack<STACK_PAGES>; MAX_CORES] = [const { Stack::new() }; MAX_CORES];

/// Cores that have not ended, and those that ended badly.
static RUNNING: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);

/// Where they meet when the network device must be reset.
static MEETING: Meeting = Meeting::new();

/// What the first core alone has: devices' reach under its eyes, and the network device.
type First = (Reach, NetDevice<'static, AnyDevice>);

/// Frames before the network device breaks down, where that is wanted.
const BREAK_AT: u64 = 100;

/// What a core does.
pub(super) struct Work {
    pub(super) id: u8,
    pub(super) pair: QueuePair<Mmio>,
    /// Memory for frames; other memory.
    pub(super) packets: Arena,
    pub(super) arena: Arena,
    pub(super) settings: Settings,
    pub(super) net: NetArgs,
    pub(super) seed: [u8; 32],
    pub(super) hz: u64,
}

/// A key for the device's hash, of the seed.
pub(super) fn rss_key(seed: &[u8; 32]) -> [u8; 40] {
    core::array::from_fn(|i| seed[i % 32].rotate_left(i as u32 / 32 * 3))
}

/// Starts a core for every pair but the first, and does the first's work here, with what it alone has.
pub(super) fn run<const N: usize>(
    tree: &DeviceTree<'_>,
    pairs: heapless::Vec<QueuePair<Mmio>, N>,
    alone: First,
    mut work: impl FnMut(u8, QueuePair<Mmio>) -> Work,
) -> ! {
    RUNNING.store(pairs.len() as u32, Ordering::Release);
    let mut first = None;
    for (i, pair) in pairs.into_iter().enumerate() {
        let work = work(i as u8, pair);
        if i == 0 {
            first = Some(work);
            continue;
        }
        let Some(&core) = tree.cores.get(i) else { continue };
        // SAFETY: element `i` of the stacks, which this call alone gives away, once.
        let stack = unsafe { (&raw mut STACKS).cast::<Stack<STACK_PAGES>>().add(i) };
        let begin = move || node(work, None);
        // SAFETY: a static stack that is used for nothing else, mapped by the table that the core starts with.
        let started = unsafe {
            match tree.psci {
                Some(Conduit::Hvc) => start_core::<Hvc, _, STACK_PAGES>(core, stack, begin),
                Some(Conduit::Smc) => start_core::<Smc, _, STACK_PAGES>(core, stack, begin),
                None => Err(psci::Error::NotSupported),
            }
        };
        if let Err(e) = started {
            give_up(format_args!("core {core:#x} does not start: {e}"));
        }
    }
    match first {
        Some(work) => node(work, Some(alone)),
        None => give_up(format_args!("no queue")),
    }
    machine::exit(0)
}

/// A core's work, to its end; the last core's end is the image's.
fn node(work: Work, alone: Option<First>) {
    machine::enable_simd();
    let id = work.id;
    let good = match open(work, alone) {
        Ok(report) => {
            machine::tell(id, &report);
            matches!(report.ending, Ending::Bench(_) | Ending::Served)
        }
        Err(why) => {
            say!("core {id}: {why}");
            false
        }
    };
    ended(good)
}

/// One core less; the last one's end is the image's.
#[cold]
#[inline(never)]
fn ended(good: bool) {
    if !good {
        FAILED.fetch_add(1, Ordering::AcqRel);
    }
    if RUNNING.fetch_sub(1, Ordering::AcqRel) == 1 {
        machine::exit(u32::from(FAILED.load(Ordering::Acquire) > 0));
    }
    loop {
        machine::wait_for_event();
    }
}

/// Two nodes on this core, for what requests cost.
#[cfg(feature = "pair")]
pub(super) fn pair(mut arena: Arena, settings: Settings, hz: u64) -> ! {
    let storage = [Tables::take(&TABLES[0]), Tables::take(&TABLES[1])];
    let ([Some(a), Some(b)], Some(clock)) = (storage, TickClock::new(hz, machine::counter)) else {
        give_up(format_args!("no tables, or no counter"));
    };
    match run_pair(&mut arena, [a, b], settings, clock, machine::counter) {
        Ok(report) => {
            let (stack, session) = bytes_per_connection();
            say!(
                "pair: {} requests of {} bytes, {} ticks, {} payload bytes copied",
                report.requests,
                settings.size,
                report.ticks,
                report.copied
            );
            say!("a connection takes {stack} bytes in the stack and {session} in its session");
            let tables = size_of_val(&TABLES[0]);
            say!("a core takes {tables} bytes of tables, {PACKETS} for frames and {PRIVATE} of other memory");
            machine::exit(0)
        }
        Err(e) => give_up(format_args!("{e}")),
    }
}

fn open(work: Work, alone: Option<First>) -> Result<NodeReport, &'static str> {
    let Work { id, pair, mut packets, mut arena, settings, net, mut seed, hz } = work;
    let (mut reach, nic) = alone.unzip();
    let mut mender = Mender::new(nic, rss_key(&seed), &MEETING, settings.cores.into());
    let mut rx = packets.split(RX_ZONES * ZONE_SIZE, ZONE_SIZE).ok_or("no memory for frames")?;
    if let Some(reach) = &reach {
        rx = reach.astray(rx).map_err(|_| "nowhere to stray to")?;
    }
    let rx = rx.zones(RX_ZONES).ok_or("no memory for frames")?;
    let header = packets.zones(HEADER_ZONES).ok_or("no memory for frames")?;
    let payload = packets.zones(PAYLOAD_ZONES).ok_or("no memory for frames")?;
    let mut pool = |region, layout| {
        let pool = Pool::new(region, layout).map_err(|_| "objs of a size that cannot be")?;
        arena.put(pool).map(|pool| &*pool).ok_or("no memory")
    };
    let rx_pool = pool(rx, RX_OBJ)?;
    let header_pool = pool(header, HEADER_OBJ)?;
    let payload = pool(payload, ZoneLayout::plain(PAYLOAD_OBJ))?;
    let rx = arena.slice::<Descriptor<_>>(usize::from(RX_SIZE)).ok_or("no memory for descriptors")?;
    let tx = arena.slice::<Descriptor<_>>(usize::from(TX_SIZE)).ok_or("no memory for descriptors")?;
    let queue = pair.open(QueueMemory { rx, tx }, rx_pool, header_pool, Coherent).map_err(|e| {
        say!("core {id}: {e}");
        "no queue"
    })?;
    seed[0] ^= id;
    let storage = TABLES.get(usize::from(id)).and_then(Tables::take).ok_or("no tables")?;
    let sessions = Sessions::new(&mut arena, SESSIONS, CALLS).ok_or("no memory for sessions")?;
    let clock = TickClock::new(hz, machine::counter).ok_or("the counter's frequency is not set")?;
    let parts = NodeParts { id, queue, storage, sessions, payload, settings, net, seed };
    let mut node = Node::new(parts, clock).map_err(|e| {
        say!("core {id}: {e}");
        "no node"
    })?;
    say!("core {id}: {} KiB left of its {} KiB", arena.left() >> 10, PRIVATE >> 10);
    let nap = if settings.nap { super::nap(id) } else { None };
    let mut idler = Idler::new(nap, hz);
    let (mut fault, mut broken) = (None, None);
    let mut breaks = settings.die == Some(Die::Device) && reach.is_some();
    let report = node.run(
        |event| machine::tell_event(id, &event),
        |queue, until| {
            let queue = queue.inner().inner();
            fault = queue.fault().map(|fault| (fault, queue.faults()));
            let frames = queue.stats().rx_frames;
            if reach.as_mut().is_some_and(|reach| reach.strayed(frames)) {
                // Whatever the other cores do.
                give_up(format_args!("a device reached for memory that is not its own"));
            }
            if idler.idle(frames, until.since(clock.now())) {
                queue.nudge();
            }
            if breaks && frames >= BREAK_AT {
                breaks = false;
                queue.confuse();
            }
            match mender.look(queue) {
                Ok(false) => {}
                Ok(true) => say!("core {id}: the network device was reset and goes again"),
                Err(e) => broken = Some(e),
            }
            fault.is_none() && broken.is_none()
        },
    );
    if let Some(e) = broken {
        say!("core {id}: {e}");
        return Err("the network device is of no use any more");
    }
    match fault {
        Some((fault, counts)) => {
            machine::tell_fault(id, fault, &counts);
            Err("the network device broke the rules of its rings")
        }
        None => Ok(report),
    }
}
