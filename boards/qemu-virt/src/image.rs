//! The image: from the first instruction in Rust to the nodes at work.

mod cores;
mod devices;
#[cfg(not(feature = "smmu"))]
mod no_reach;
#[cfg(feature = "pci")]
mod pci;

use core::ptr::{self, NonNull};

use aarch64_rt::{InitialPagetable, entry, exception_handlers, initial_pagetable};
use luna_core::zbuf::ZONE_SIZE;
use luna_dpu::arena::Arena;
use luna_dpu::control::NetArgs;
use luna_dpu::devicetree::{Conduit, DeviceTree};
use luna_dpu::machine::{self, Exceptions, ExitBy, Nap, console};
use luna_dpu::mmio::Mmio;
use luna_dpu::node::{Die, Rings, Settings};
use luna_dpu::say;
use luna_dpu::smmu::SmmuError;
use luna_dpu::virtio::net::{NetConfig, NetDevice};

use cores::Work;
use devices::Devices;
#[cfg(feature = "smmu")]
use luna_dpu::machine::Reach;
#[cfg(not(feature = "smmu"))]
use no_reach::Reach;

/// A gigabyte, the size of the blocks that the table maps.
const GIB: usize = 1 << 30;
/// Valid block, accessed; device memory (attribute 0), never executed.
const DEVICE: usize = 1 | 1 << 10 | 1 << 53 | 1 << 54;
/// Valid block, accessed; cacheable normal memory (attribute 1), inner shareable.
const NORMAL: usize = 1 | 1 << 10 | 3 << 8 | 1 << 2;

initial_pagetable!({
    let mut table = [0; 512];
    // Flash, GIC, UART, virtio-mmio and the 32-bit PCI window.
    table[0] = DEVICE;
    // RAM.
    table[1] = NORMAL | GIB;
    // PCIe configuration space, at 0x40_1000_0000.
    table[256] = DEVICE | (256 * GIB);
    InitialPagetable(table)
});

exception_handlers!(Exceptions);
entry!(main);

/// RAM begins here, and QEMU puts the device tree here.
const RAM: usize = GIB;
/// As much RAM as the table maps.
const MOST_RAM: usize = GIB;
const UART: usize = 0x0900_0000;
/// GICv3: distributor; a redistributor's two frames for each core.
const GIC: (usize, usize) = (0x0800_0000, 0x1_0000);
const GIC_CORES: (usize, usize) = (0x080a_0000, 0x2_0000);
/// Rings and control structures of the network device; of the entropy device.
const RINGS: usize = 1 << 20;
const ENTROPY_RINGS: usize = 64 << 10;
/// Descriptors of a receive and of a transmit ring.
const RX_SIZE: u16 = 256;
const TX_SIZE: u16 = 256;

unsafe extern "C" {
    /// The first address behind the image and its stacks.
    static dma_region: u8;
}

/// Ends with a line and an exit code when something that is needed is not there.
fn give_up(what: core::fmt::Arguments<'_>) -> ! {
    say!("cannot go on: {what}");
    machine::exit(2)
}

/// Registers at an address of the first table's device memory.
fn device(address: usize, len: usize) -> Mmio {
    let base = NonNull::new(ptr::with_exposed_provenance_mut(address)).unwrap_or(NonNull::dangling());
    // SAFETY: this file's constants and BARs that were given addresses of the PCI window: device memory for good, of which
    // nothing else in the program makes references.
    unsafe { Mmio::new(base, len) }
}

/// What lets core `id` sleep.
fn nap(id: u8) -> Option<Nap> {
    let (base, len) = GIC_CORES;
    Nap::new(&device(GIC.0, GIC.1), &device(base + usize::from(id) * len, len))
}

fn main(_: u64, _: u64, _: u64, _: u64) -> ! {
    machine::enable_simd();
    machine::exit_by(ExitBy::Semihosting);
    console().open(device(UART, 0x1000));
    let hz = machine::counter_frequency();
    say!("luna on qemu-virt: EL{}, core {:#x}, counter {hz} Hz", machine::level(), machine::core_id());
    // SAFETY: QEMU's device tree, in RAM that the image leaves alone, or zeros.
    let tree = match unsafe { DeviceTree::at(ptr::with_exposed_provenance(RAM)) } {
        Ok(tree) => tree,
        Err(e) => give_up(format_args!("{e}")),
    };
    let arena = memory(&tree);
    let settings = Settings::parse(tree.bootargs).unwrap_or_else(|e| give_up(format_args!("{e}")));
    let net = NetArgs::parse(tree.bootargs).unwrap_or_else(|e| give_up(format_args!("{e}")));
    match settings.die {
        Some(Die::Panic) => panic!("asked to panic"),
        // SAFETY: nothing is mapped there: this ends in the exception handler.
        Some(Die::Fault) => unsafe { ptr::without_provenance_mut::<u32>(0x80_0000_0000 - 4).write_volatile(1) },
        Some(Die::Stray | Die::Device) | None => {}
    }
    #[cfg(feature = "pair")]
    cores::pair(arena, settings, hz);
    #[cfg(not(feature = "pair"))]
    nodes(&tree, arena, settings, &net, hz)
}

/// Sets up the devices, and lets a node run on each core.
#[cfg(not(feature = "pair"))]
fn nodes(tree: &DeviceTree<'_>, mut arena: Arena, settings: Settings, net: &NetArgs, hz: u64) -> ! {
    let (wanted, there) = (usize::from(settings.cores), tree.cores.len());
    if there < wanted {
        give_up(format_args!("{wanted} cores are wanted, and there are {there}"));
    }
    let iommu = if cfg!(feature = "smmu") { tree.iommu() } else { Ok(None) };
    let iommu = iommu.unwrap_or_else(|e| give_up(format_args!("{e}")));
    let Devices { net: found, entropy } = Devices::find(settings.transports, iommu.as_ref());
    let Some(found) = found else { give_up(format_args!("no virtio network device (virtio 1.0 or newer)")) };
    let refused = |e: SmmuError| -> ! { give_up(format_args!("{e}")) };
    let streams = [found.stream, entropy.as_ref().and_then(|device| device.stream)];
    let mut reach = match &iommu {
        Some(iommu) if streams != [None; 2] => {
            let (address, len) = iommu.registers;
            Reach::through(device(address as usize, len as usize), &mut arena).unwrap_or_else(|e| refused(e))
        }
        _ => Reach::default(),
    };
    let mut part = |who, stream, len, align| {
        let Some(memory) = arena.split(len, align) else { give_up(format_args!("no memory for the {who} device")) };
        // SAFETY: the device tree says what is behind the SMMU, and the device that it goes that way.
        unsafe { reach.of(who, stream, memory) }.unwrap_or_else(|e| refused(e))
    };
    let entropy = entropy.and_then(|device| {
        let memory = part("entropy", device.stream, ENTROPY_RINGS, 4096).dma(ENTROPY_RINGS)?;
        Some((device.transport, memory))
    });
    // All that the network device reaches: frames of each core, and rings.
    let frames = wanted * cores::PACKETS;
    let mut rings = part("network", found.stream, frames + RINGS, ZONE_SIZE);
    let (Some(mut frames), Some(mut rings)) = (rings.split(frames, ZONE_SIZE), rings.dma(RINGS)) else {
        give_up(format_args!("no memory for frames"))
    };
    let seed = machine::seed(entropy, tree.seed);
    if settings.die == Some(Die::Stray) {
        let memory = arena.split(cores::RX_ZONES * ZONE_SIZE, ZONE_SIZE);
        reach.lay_canary(memory).unwrap_or_else(|e| give_up(format_args!("die=stray: {e}")));
    }
    let config = NetConfig {
        pairs: settings.cores,
        packed: settings.rings == Rings::Best,
        event_idx: settings.events,
        checksum: settings.checksum,
        ..NetConfig::default()
    };
    let Some(nodes) = arena.put(Default::default()) else { give_up(format_args!("no memory")) };
    let mut nic =
        NetDevice::new(found.transport, config, &mut rings, nodes).unwrap_or_else(|e| give_up(format_args!("{e}")));
    let info = nic.info();
    say!("network device: {}, {}, MTU {}, features {:?}", found.place, info.mac, info.mtu, info.features);
    let mut pairs = heapless::Vec::<_, { luna_dpu::devicetree::MAX_CORES }>::new();
    for _ in 0..settings.cores {
        let pair = nic.pair(&mut rings, RX_SIZE, TX_SIZE).unwrap_or_else(|e| give_up(format_args!("{e}")));
        if pairs.push(pair).is_err() {
            give_up(format_args!("too many cores"));
        }
    }
    match nic.start(&cores::rss_key(&seed)) {
        Ok(Some(rss)) => say!("RSS over {} queues, {} entries", rss.pairs, rss.entries),
        Ok(None) => {}
        Err(e) => give_up(format_args!("{e}")),
    }
    let work = |id, pair| {
        let memory = (frames.split(cores::PACKETS, ZONE_SIZE), arena.split(cores::PRIVATE, 64));
        let (Some(packets), Some(arena)) = memory else { give_up(format_args!("no memory for core {id}")) };
        Work { id, pair, packets, arena, settings, net: net.clone(), seed, hz }
    };
    cores::run(tree, pairs, (reach, nic), work)
}

/// RAM behind the image.
fn memory(tree: &DeviceTree<'_>) -> Arena {
    let (start, len) = tree.memory;
    let end = (start.saturating_add(len)).min((RAM + MOST_RAM) as u64) as usize;
    let first = (&raw const dma_region).addr();
    if start as usize != RAM || end <= first {
        give_up(format_args!("RAM of {len:#x} bytes at {start:#x} has no room behind the image"));
    }
    let psci = match tree.psci {
        Some(Conduit::Hvc) => "by HVC",
        Some(Conduit::Smc) => "by SMC",
        None => "none",
    };
    say!("memory {} MiB, image ends at {first:#x}, {} cores, PSCI {psci}", len >> 20, tree.cores.len());
    let base = NonNull::new(ptr::with_exposed_provenance_mut(first)).unwrap_or(NonNull::dangling());
    // SAFETY: RAM behind everything that the linker placed, mapped as normal memory; devices see it where it is.
    unsafe { Arena::new(base, end - first, 0) }
}
