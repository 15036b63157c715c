//! The image: from the first instruction in Rust to the node at work.

mod devices;
mod map;
mod start;

use core::ptr::{self, NonNull};

use aarch64_rt::{entry, exception_handlers};
use luna_core::zbuf::{Pool, ZoneLayout};
use luna_dpu::arena::Arena;
use luna_dpu::control::NetArgs;
use luna_dpu::devicetree::DeviceTree;
use luna_dpu::dma::Coherent;
use luna_dpu::e1000e::{QueueMemory, Slot};
use luna_dpu::machine::{self, Exceptions, ExitBy, console};
use luna_dpu::mmio::Mmio;
use luna_dpu::node::{Die, Ending, Node, NodeParts, NodeReport, Sessions, Settings};
use luna_dpu::smmu::{self, IoSpace as _, Smmu};
use luna_dpu::{Tables, TickClock, say};

exception_handlers!(Exceptions);
entry!(main);

const UART: usize = 0x6000_0000;
const SMMU: usize = 0x6005_0000;
const MTU: u16 = 1500;
/// Descriptors of each of the NIC's rings.
const RING_SIZE: usize = 256;
/// Memory of control structures, which devices reach where it is: the entropy device's ring, the SMMU's queues and tables.
const CONTROL: usize = 1 << 20;
const CONTROL_RINGS: usize = 64 << 10;
const SMMU_QUEUES: usize = 128 << 10;
const SMMU_TABLES: usize = 256 << 10;
/// Memory that the NIC reaches: rings and packets.
const SHARED: usize = (RX_ZONES + HEADER_ZONES + PAYLOAD_ZONES + 2) << 21;
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
        None => {}
    }
    match run(&tree, settings, net, hz) {
        Ok(report) => {
            machine::tell(0, &report);
            machine::exit(u32::from(!matches!(report.ending, Ending::Bench(_) | Ending::Served)))
        }
        Err(why) => give_up(format_args!("{why}")),
    }
}

/// RAM behind the image, in three parts: for control structures, for what the NIC reaches, for everything else.
struct Memory {
    control: Arena,
    shared: (usize, usize),
    private: Arena,
}

fn memory(tree: &DeviceTree<'_>) -> Option<Memory> {
    let (start, len) = tree.memory;
    let end = (start.saturating_add(len)).min((map::RAM + map::RAM_LEN) as u64) as usize;
    let first = (&raw const dma_region).addr();
    let private = first + CONTROL + SHARED;
    if start as usize != map::RAM || end <= private {
        return None;
    }
    say!("memory {} MiB at {start:#x}, image ends at {first:#x}", len >> 20);
    // SAFETY: parts of the RAM behind everything that the linker placed, which do not overlap, mapped as normal memory;
    // devices see them where they are, or (the private part, where there is an SMMU) not at all.
    unsafe {
        Some(Memory {
            control: Arena::new(pointer(first)?, CONTROL, 0),
            shared: (first + CONTROL, SHARED),
            private: Arena::new(pointer(private)?, end - private, 0),
        })
    }
}

fn pointer(address: usize) -> Option<NonNull<u8>> {
    NonNull::new(ptr::with_exposed_provenance_mut(address))
}

/// Lets the device with this stream identifier reach the shared memory, through the SMMU where there is one.
fn share((start, len): (usize, usize), stream: u32, control: &mut Arena) -> Result<Arena, &'static str> {
    let no_memory = "no memory for the SMMU";
    let mut queues = control.dma(SMMU_QUEUES).ok_or(no_memory)?;
    let tables = control.dma(SMMU_TABLES).ok_or(no_memory)?;
    let whole = start as u64;
    let io = match Smmu::new(device(SMMU, smmu::LEN), &mut queues, tables) {
        Ok(mut smmu) => {
            let io = smmu.map(whole, len as u64).map_err(|e| {
                say!("SMMU: {e}");
                "the SMMU maps nothing"
            })?;
            smmu.attach(stream).map_err(|e| {
                say!("{e}");
                "the SMMU refuses the network device"
            })?;
            say!(
                "SMMUv3: stream {stream:#x} reaches {} KiB at {:#x} as {:#x}, and nothing else",
                len >> 10,
                whole,
                io.0
            );
            io.0
        }
        // The machine may lack one; then devices reach everything.
        Err(e) => {
            say!("{e}: devices reach all memory");
            whole
        }
    };
    let base = pointer(start).ok_or(no_memory)?;
    // SAFETY: RAM that `memory` set apart; devices see it where it was just mapped.
    Ok(unsafe { Arena::new(base, len, io.wrapping_sub(whole)) })
}

fn run(tree: &DeviceTree<'_>, settings: Settings, net: NetArgs, hz: u64) -> Result<NodeReport, &'static str> {
    let Memory { mut control, shared, private: mut arena } = memory(tree).ok_or("RAM has no room behind the image")?;
    let mut early = control.dma(CONTROL_RINGS).ok_or("no memory for rings")?;
    let devices = devices::find();
    let (nic, stream) = devices.nic.ok_or("no e1000e network device (-device e1000e)")?;
    let seed = devices::seed(devices.entropy, &mut early, tree.seed);
    say!("network device: e1000e over PCIe, {}", nic.mac());
    let mut packets = share(shared, stream, &mut control)?;
    let mut rings = packets.dma(RINGS).ok_or("no memory for rings")?;
    let regions = packets.zones(RX_ZONES + HEADER_ZONES + PAYLOAD_ZONES).ok_or("no memory for frames")?;
    let (rx, rest) = regions.split_off_front(RX_ZONES).map_err(|_| "no zones")?;
    let (header, payload) = rest.split_off_front(HEADER_ZONES).map_err(|_| "no zones")?;
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
    let mut faults = Default::default();
    let report = node.run(
        |event| say!("core 0: {event:?}"),
        |queue, _until| {
            faults = queue.inner().inner().faults();
            core::hint::spin_loop();
            true
        },
    );
    say!("e1000e: {faults:?}");
    Ok(report)
}
