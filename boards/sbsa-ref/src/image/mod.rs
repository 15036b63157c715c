//! The image: from the first instruction in Rust to the node at work.

mod devices;
mod map;
mod start;

use core::ptr::{self, NonNull};

use aarch64_rt::{entry, exception_handlers};
use luna_core::nic::NicQueue as _;
use luna_core::zbuf::{Pool, ZONE_SIZE, ZoneLayout};
use luna_dpu::arena::Arena;
use luna_dpu::control::NetArgs;
use luna_dpu::devicetree::DeviceTree;
use luna_dpu::dma::Coherent;
use luna_dpu::e1000e::{QueueMemory, Slot};
use luna_dpu::machine::{self, Exceptions, ExitBy, Reach, console};
use luna_dpu::mmio::Mmio;
use luna_dpu::node::{Die, Ending, Node, NodeParts, NodeReport, Sessions, Settings};
use luna_dpu::smmu::{self, SmmuError};
use luna_dpu::{Tables, TickClock, say};

exception_handlers!(Exceptions);
entry!(main);

const UART: usize = 0x6000_0000;
const SMMU: usize = 0x6005_0000;
const MTU: u16 = 1500;
/// Descriptors of each of the NIC's rings.
const RING_SIZE: usize = 256;
/// The entropy device's rings.
const ENTROPY_RINGS: usize = 64 << 10;
/// Memory that the NIC reaches: packets and rings.
const PACKETS: usize = (RX_ZONES + HEADER_ZONES + PAYLOAD_ZONES) * ZONE_SIZE;
const RINGS: usize = 64 << 10;
/// Connections, and what the stack keeps for them.
static TABLES: Tables<64, 128, 2048, 2048, 256> = Tables::new();
const SESSIONS: usize = 16;
const CALLS: usize = 64;
/// 2 MiB zones: received frames, headers, payload of the benchmark's.
const RX_ZONES: usize = 4;
const HEADER_ZONES: usize = 1;
const PAYLOAD_ZONES: usize = 2;
/// Objs: the device writes up to 2048 bytes.
const RX_OBJ: u32 = 2048;
const HEADER_OBJ: u32 = 704;
const PAYLOAD_OBJ: u32 = 16 << 10;

/// Frames before the network device breaks down, where that is wanted.
const BREAK_AT: u64 = 100;

unsafe extern "C" {
    /// The first address behind the image and its stacks.
    static dma_region: u8;
}

/// Ends with a line and an exit code when something that is needed is not there.
fn give_up(what: core::fmt::Arguments<'_>) -> ! {
    say!("cannot go on: {what}");
    machine::exit(2)
}

/// Registers at an address that is mapped as device memory.
fn device(address: usize, len: usize) -> Mmio {
    let base = NonNull::new(ptr::with_exposed_provenance_mut(address)).unwrap_or(NonNull::dangling());
    // SAFETY: this board's constants and BARs that were given addresses of the PCI window: device memory for good, of
    // which nothing else in the program makes references.
    unsafe { Mmio::new(base, len) }
}

fn main(_: u64, _: u64, _: u64, _: u64) -> ! {
    machine::exit_by(ExitBy::Semihosting);
    console().open(device(UART, 0x1000));
    let hz = machine::counter_frequency();
    say!("luna on sbsa-ref: EL{}, core {:#x}, counter {hz} Hz", machine::level(), machine::core_id());
    // SAFETY: QEMU's device tree, in RAM that the image leaves alone, or zeros.
    let tree = match unsafe { DeviceTree::at(ptr::with_exposed_provenance(map::RAM)) } {
        Ok(tree) => tree,
        Err(e) => give_up(format_args!("{e}")),
    };
    let settings = Settings::parse(tree.bootargs).unwrap_or_else(|e| give_up(format_args!("{e}")));
    let net = NetArgs::parse(tree.bootargs).unwrap_or_else(|e| give_up(format_args!("{e}")));
    match settings.die {
        Some(Die::Panic) => panic!("asked to panic"),
        // SAFETY: nothing is mapped there: this ends in the exception handler.
        Some(Die::Fault) => unsafe { ptr::without_provenance_mut::<u32>(0x80_0000_0000).write_volatile(1) },
        Some(Die::Stray | Die::Device) | None => {}
    }
    match run(&tree, settings, net, hz) {
        Ok(report) => {
            machine::tell(0, &report);
            machine::exit(u32::from(!matches!(report.ending, Ending::Bench(_) | Ending::Served)))
        }
        Err(why) => give_up(format_args!("{why}")),
    }
}

/// RAM behind the image.
fn memory(tree: &DeviceTree<'_>) -> Option<Arena> {
    let (start, len) = tree.memory;
    let end = (start.saturating_add(len)).min((map::RAM + map::RAM_LEN) as u64) as usize;
    let first = (&raw const dma_region).addr();
    if start as usize != map::RAM || end <= first {
        return None;
    }
    say!("memory {} MiB at {start:#x}, image ends at {first:#x}", len >> 20);
    let base = NonNull::new(ptr::with_exposed_provenance_mut(first))?;
    // SAFETY: RAM behind everything that the linker placed, mapped as normal memory; devices see it where it is.
    Some(unsafe { Arena::new(base, end - first, 0) })
}

fn run(tree: &DeviceTree<'_>, settings: Settings, net: NetArgs, hz: u64) -> Result<NodeReport, &'static str> {
    let mut arena = memory(tree).ok_or("RAM has no room behind the image")?;
    let devices = devices::find();
    let (nic, stream) = devices.nic.ok_or("no e1000e network device (-device e1000e)")?;
    let early = arena.dma(ENTROPY_RINGS).ok_or("no memory for rings")?;
    let seed = machine::seed(devices.entropy.map(|device| (device, early)), tree.seed);
    say!("network device: e1000e over PCIe, {}", nic.mac());
    let smmu = |e: SmmuError| {
        say!("{e}");
        "the SMMU does not do its work"
    };
    let mut reach = match Reach::through(device(SMMU, smmu::LEN), &mut arena) {
        // The machine may lack one.
        Err(e @ SmmuError::Absent) => {
            say!("{e}: devices reach all memory");
            Reach::default()
        }
        other => other.map_err(smmu)?,
    };
    let memory = arena.split(PACKETS + RINGS, ZONE_SIZE).ok_or("no memory for frames")?;
    // SAFETY: the machine's PCIe is behind its SMMU, which knows functions by their requester IDs.
    let mut packets = unsafe { reach.of("network", Some(stream), memory) }.map_err(smmu)?;
    let mut rx = packets.split(RX_ZONES * ZONE_SIZE, ZONE_SIZE).ok_or("no memory for frames")?;
    if settings.die == Some(Die::Stray) {
        let nowhere = |_| "nowhere to stray to";
        reach.lay_canary(arena.split(RX_ZONES * ZONE_SIZE, ZONE_SIZE)).map_err(nowhere)?;
        rx = reach.astray(rx).map_err(nowhere)?;
    }
    let rx = rx.zones(RX_ZONES).ok_or("no memory for frames")?;
    let header = packets.zones(HEADER_ZONES).ok_or("no memory for frames")?;
    let payload = packets.zones(PAYLOAD_ZONES).ok_or("no memory for frames")?;
    let mut rings = packets.dma(RINGS).ok_or("no memory for rings")?;
    let mut pool = |region, size| {
        let pool = Pool::new(region, ZoneLayout::plain(size)).map_err(|_| "objs of a size that cannot be")?;
        arena.put(pool).map(|pool| &*pool).ok_or("no memory for pools")
    };
    let (rx_pool, header_pool, payload) = (pool(rx, RX_OBJ)?, pool(header, HEADER_OBJ)?, pool(payload, PAYLOAD_OBJ)?);
    let memory = QueueMemory {
        rx: arena.slice::<Slot<_>>(RING_SIZE).ok_or("no memory for descriptors")?,
        tx: arena.slice::<Slot<_>>(RING_SIZE).ok_or("no memory for descriptors")?,
    };
    let queue = nic.start(MTU, &mut rings, memory, rx_pool, header_pool, Coherent).map_err(|e| {
        say!("e1000e: {e}");
        "the network device does not start"
    })?;
    let storage = TABLES.take().ok_or("no tables")?;
    let sessions = Sessions::new(&mut arena, SESSIONS, CALLS).ok_or("no memory for sessions")?;
    let clock = TickClock::new(hz, machine::counter).ok_or("the counter's frequency is not set")?;
    let parts = NodeParts { id: 0, queue, storage, sessions, payload, settings, net, seed };
    let mut node = Node::new(parts, clock).map_err(|e| {
        say!("{e}");
        "no node"
    })?;
    say!("core 0: {} KiB left", arena.left() >> 10);
    let (mut faults, mut strayed, mut broken) = (Default::default(), false, None);
    let mut breaks = settings.die == Some(Die::Device);
    let report = node.run(
        |event| say!("core 0: {event:?}"),
        |queue, _until| {
            let queue = queue.inner().inner();
            faults = queue.faults();
            strayed = reach.strayed(queue.stats().rx_frames);
            if breaks && queue.stats().rx_frames >= BREAK_AT {
                breaks = false;
                queue.confuse();
            }
            match queue.look() {
                Ok(false) => {}
                Ok(true) => say!("core 0: the network device was reset and goes again"),
                Err(e) => broken = Some(e),
            }
            core::hint::spin_loop();
            !strayed && broken.is_none()
        },
    );
    say!("e1000e: {faults:?}");
    if let Some(e) = broken {
        say!("e1000e: {e}");
        return Err("the network device is of no use any more");
    }
    if strayed {
        return Err("a device reached for memory that is not its own");
    }
    Ok(report)
}
