//! The SMMUv3 itself: its registers, stream table, context and queues. Section numbers are of Arm IHI 0070.

use core::fmt;

use luna_core::zbuf::IoAddr;

use super::IoSpace;
use super::table::{INPUT_BITS, MapError, Tables};
use crate::arena::Arena;
use crate::barrier;
use crate::dma::{DmaArea, DmaPiece};
use crate::mmio::Registers;
use crate::shared::Shared;

/// Bytes of its registers: two pages of 64 KiB.
pub const LEN: usize = 0x2_0000;

/// Registers (§6.3). The event queue's indices are in the second page.
pub(super) mod reg {
    pub(in super::super) const IDR0: usize = 0x00;
    pub(in super::super) const IDR1: usize = 0x04;
    pub(in super::super) const IDR5: usize = 0x14;
    pub(in super::super) const CR0: usize = 0x20;
    pub(in super::super) const CR0ACK: usize = 0x24;
    pub(in super::super) const CR1: usize = 0x28;
    pub(in super::super) const CR2: usize = 0x2c;
    pub(in super::super) const IRQ_CTRL: usize = 0x50;
    pub(in super::super) const STRTAB_BASE: usize = 0x80;
    pub(in super::super) const STRTAB_BASE_CFG: usize = 0x88;
    pub(in super::super) const CMDQ_BASE: usize = 0x90;
    pub(in super::super) const CMDQ_PROD: usize = 0x98;
    pub(in super::super) const CMDQ_CONS: usize = 0x9c;
    pub(in super::super) const EVENTQ_BASE: usize = 0xa0;
    pub(in super::super) const EVENTQ_PROD: usize = 0x1_00a8;
    pub(in super::super) const EVENTQ_CONS: usize = 0x1_00ac;
}

/// CR0.
pub(super) const SMMUEN: u32 = 1;
pub(super) const EVENTQEN: u32 = 1 << 2;
pub(super) const CMDQEN: u32 = 1 << 3;
/// IDR0: stage 1, 64-bit tables.
const S1P: u32 = 1 << 1;
const TTF_AARCH64: u32 = 1 << 3;
/// IDR5: 4 KiB granules.
const GRAN4K: u32 = 1 << 4;
/// Cacheable, inner shareable table and queue accesses (CR1).
const CR1_CACHED: u32 = 3 << 10 | 1 << 8 | 1 << 6 | 3 << 4 | 1 << 2 | 1;
/// Read-allocate hint of base registers.
const ALLOCATE: u64 = 1 << 62;

/// Stream table entries: the devices of PCI bus 0.
pub(super) const STREAMS_LOG2: u32 = 8;
/// Entries of the queues.
pub(super) const QUEUE_LOG2: u32 = 6;
const QUEUE: u32 = 1 << QUEUE_LOG2;

/// Commands (§4.1.3).
pub(super) const CMD_CFGI_ALL: u64 = 0x04;
pub(super) const CMD_TLBI_NSNH_ALL: u64 = 0x30;
pub(super) const CMD_SYNC: u64 = 0x46;

/// Events were lost (EVENTQ_PROD), and that is known (EVENTQ_CONS).
const OVERFLOW: u32 = 1 << 31;

/// Looks at a register before the SMMU is taken for dead.
const PATIENCE: u32 = 1_000_000;

/// Where the first mapping is for devices: not 0, which is what a device that was told nothing uses, nor where machines
/// have memory: one that goes around the SMMU hits nothing.
const FIRST: u64 = 1 << 36;

/// Why an SMMU cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SmmuError {
    /// There is nothing at its registers.
    Absent,
    /// It lacks stage 1 with 64-bit tables and 4 KiB granules, or queues and streams enough. IDR0, IDR1, IDR5.
    Unfit(u32, u32, u32),
    /// It does not acknowledge, or does not take commands.
    Stuck,
    /// No memory for its tables and queues.
    NoMemory,
    /// A stream that the table does not have.
    NoStream(u32),
    /// Memory was not mapped.
    Map(MapError),
}

/// Memory of an SMMU's queues and stream table, and of its page tables: for some GiB in blocks, and a few dozen odd ends.
const QUEUE_MEMORY: usize = 128 << 10;
const TABLE_MEMORY: usize = 256 << 10;
/// What [`Smmu::take`] takes.
pub const MEMORY: usize = QUEUE_MEMORY + TABLE_MEMORY;

impl fmt::Display for SmmuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no SMMU answers at its registers"),
            Self::Unfit(a, b, c) => write!(f, "the SMMU lacks what is needed (IDR0 {a:#x}, IDR1 {b:#x}, IDR5 {c:#x})"),
            Self::Stuck => f.write_str("the SMMU does not answer"),
            Self::NoMemory => f.write_str("no memory for the SMMU's tables"),
            Self::Map(e) => write!(f, "the SMMU maps nothing: {e}"),
            Self::NoStream(id) => write!(f, "stream {id:#x} is beyond the SMMU's table"),
        }
    }
}

impl core::error::Error for SmmuError {}

/// Something that the SMMU refused (§7.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SmmuEvent {
    /// What: 0x02 an unknown stream, 0x10 no translation, 0x13 no permission, and others.
    pub kind: u8,
    /// Which device.
    pub stream: u32,
    /// The address that it wanted, where the event has one.
    pub address: u64,
}

impl fmt::Display for SmmuEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, stream, address } = self;
        let what = match kind {
            0x02 | 0x04 => "no such stream",
            0x10 => "nothing is mapped there",
            0x11 | 0x12 => "no such address",
            0x13 => "no permission",
            _ => "its tables are wrong",
        };
        write!(f, "SMMUv3: stream {stream:#x} refused at {address:#x}: {what} (event {kind:#x})")
    }
}

/// An SMMU that is on: devices reach what was mapped.
pub struct Smmu<R> {
    registers: R,
    streams: Shared<[u64; 8]>,
    context: IoAddr,
    commands: Shared<[u64; 2]>,
    events: Shared<[u64; 4]>,
    tables: Tables,
    produced: u32,
    consumed: u32,
    next: u64,
}

impl<R: Registers> Smmu<R> {
    /// [`Smmu::new`], with [`MEMORY`] bytes of `arena`.
    ///
    /// # Errors
    /// [`SmmuError`].
    pub fn take(registers: R, arena: &mut Arena) -> Result<Self, SmmuError> {
        let mut queues = arena.dma(QUEUE_MEMORY).ok_or(SmmuError::NoMemory)?;
        Self::new(registers, &mut queues, arena.dma(TABLE_MEMORY).ok_or(SmmuError::NoMemory)?)
    }

    /// Takes the SMMU at `registers` over and switches it on, with memory of `area`, which it reaches untranslated: from
    /// now on no device reaches anything. `tables` is for page tables.
    ///
    /// # Errors
    /// [`SmmuError`].
    pub fn new(registers: R, area: &mut DmaArea, tables: DmaArea) -> Result<Self, SmmuError> {
        let [idr0, idr1, idr5] = [reg::IDR0, reg::IDR1, reg::IDR5].map(|r| registers.read32(r));
        if idr0 == u32::MAX {
            return Err(SmmuError::Absent);
        }
        let (commands, events, streams) = (idr1 >> 21 & 31, idr1 >> 16 & 31, idr1 & 63);
        let fits = commands >= QUEUE_LOG2 && events >= QUEUE_LOG2 && streams >= STREAMS_LOG2;
        if idr0 & (S1P | TTF_AARCH64) != S1P | TTF_AARCH64 || idr5 & GRAN4K == 0 || !fits {
            return Err(SmmuError::Unfit(idr0, idr1, idr5));
        }
        // Each aligned to its own size.
        let mut take = |len: usize| area.take(len, len.max(4096)).ok_or(SmmuError::NoMemory);
        let streams = take(64 << STREAMS_LOG2)?;
        let commands = take(16 << QUEUE_LOG2)?;
        let events = take(32 << QUEUE_LOG2)?;
        let context = take(64)?;
        let tables = Tables::new(tables).map_err(|_| SmmuError::NoMemory)?;
        describe(&context, tables.root(), idr5 & 7);
        let mut smmu = Self {
            registers,
            streams: Shared::new(&streams, 0, 1 << STREAMS_LOG2),
            context: context.io(0),
            commands: Shared::new(&commands, 0, QUEUE as u16),
            events: Shared::new(&events, 0, QUEUE as u16),
            tables,
            produced: 0,
            consumed: 0,
            next: FIRST,
        };
        let r = &smmu.registers;
        // Off, while it is set up.
        smmu.control(0)?;
        r.write32(reg::IRQ_CTRL, 0);
        r.write32(reg::CR1, CR1_CACHED);
        // Other systems' broadcast invalidations are none of ours (PTM); unknown streams are told of (RECINVSID).
        r.write32(reg::CR2, 1 << 2 | 1 << 1);
        r.write64(reg::STRTAB_BASE, streams.io(0).0 | ALLOCATE);
        r.write32(reg::STRTAB_BASE_CFG, STREAMS_LOG2);
        r.write64(reg::CMDQ_BASE, commands.io(0).0 | u64::from(QUEUE_LOG2) | ALLOCATE);
        r.write32(reg::CMDQ_PROD, 0);
        r.write32(reg::CMDQ_CONS, 0);
        r.write64(reg::EVENTQ_BASE, events.io(0).0 | u64::from(QUEUE_LOG2) | ALLOCATE);
        r.write32(reg::EVENTQ_PROD, 0);
        r.write32(reg::EVENTQ_CONS, 0);
        smmu.control(CMDQEN)?;
        smmu.forget()?;
        smmu.control(CMDQEN | EVENTQEN)?;
        // Every stream is invalid (V is 0), hence refused.
        smmu.control(CMDQEN | EVENTQEN | SMMUEN)?;
        Ok(smmu)
    }

    /// Lets the device with this stream identifier (on PCI, its requester ID) reach what is mapped.
    ///
    /// # Errors
    /// [`SmmuError`].
    pub fn attach(&mut self, stream: u32) -> Result<(), SmmuError> {
        let index = u16::try_from(stream).ok().filter(|s| *s < 1 << STREAMS_LOG2).ok_or(SmmuError::NoStream(stream))?;
        // §5.2: valid, stage 1 only, one context; its fetches cacheable and inner shareable; shareability as it comes in.
        let entry = [1 | 5 << 1 | self.context.0, 1 << 2 | 1 << 4 | 3 << 6 | 1 << 44, 0, 0, 0, 0, 0, 0];
        // V becomes 1 last.
        self.streams.write(index, [0, entry[1], 0, 0, 0, 0, 0, 0]);
        barrier::write();
        self.streams.write(index, entry);
        self.forget()
    }

    /// Whether it refused something since [`Smmu::poll_events`]: a look at memory, no register. (An event's kind is never 0.)
    #[inline]
    #[must_use]
    pub fn has_events(&self) -> bool {
        let [what, ..] = self.events.read(self.consumed as u16);
        what as u8 != 0
    }

    /// What it refused since the last time, oldest first, a queue's worth at the most.
    pub fn poll_events(&mut self, mut each: impl FnMut(SmmuEvent)) {
        let wrap = QUEUE * 2 - 1;
        let index = self.registers.read32(reg::EVENTQ_PROD);
        let produced = index & wrap;
        // A device's index is not trusted further than that, nor that something is behind it.
        for _ in 0..produced.wrapping_sub(self.consumed) & wrap {
            barrier::read();
            let [what, _, address, _] = self.events.read(self.consumed as u16);
            self.events.write(self.consumed as u16, [0; 4]);
            self.consumed = (self.consumed + 1) & wrap;
            if what as u8 != 0 {
                each(SmmuEvent { kind: what as u8, stream: (what >> 32) as u32, address });
            }
        }
        // Before they are the SMMU's again; that some found no room is known then (OVFLG, OVACKFLG).
        barrier::full();
        self.registers.write32(reg::EVENTQ_CONS, self.consumed | index & OVERFLOW);
    }

    fn control(&self, value: u32) -> Result<(), SmmuError> {
        barrier::full();
        self.registers.write32(reg::CR0, value);
        self.wait(|r| r.read32(reg::CR0ACK) == value)
    }

    fn wait(&self, done: impl Fn(&R) -> bool) -> Result<(), SmmuError> {
        for _ in 0..PATIENCE {
            if done(&self.registers) {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(SmmuError::Stuck)
    }

    /// Has it forget everything that it remembers of tables, and waits until it has.
    fn forget(&mut self) -> Result<(), SmmuError> {
        // CFGI_ALL is a range of all streams (31).
        for command in [[CMD_CFGI_ALL, 31], [CMD_TLBI_NSNH_ALL, 0], [CMD_SYNC, 0]] {
            self.commands.write(self.produced as u16, command);
            self.produced = (self.produced + 1) & (QUEUE * 2 - 1);
        }
        barrier::full();
        self.registers.write32(reg::CMDQ_PROD, self.produced);
        let produced = self.produced;
        self.wait(|r| r.read32(reg::CMDQ_CONS) == produced)
    }
}

/// Writes the context descriptor (§5.4): `root`, and the size of output addresses as IDR5 has it.
fn describe(context: &DmaPiece, root: IoAddr, oas: u32) {
    let words: Shared<u64> = Shared::new(context, 0, 8);
    let t0sz = u64::from(64 - INPUT_BITS);
    // 4 KiB granules (TG0 0), walks cacheable and inner shareable, no upper half (EPD1), AArch64, ASID set private, fault
    // by abort and record (A, R), valid.
    let flags = t0sz | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 30 | 1 << 31;
    let ips = u64::from(oas.min(5));
    words.write(0, flags | ips << 32 | 1 << 41 | 1 << 45 | 1 << 46 | 1 << 47 | 1 << 48);
    words.write(1, root.0);
    words.write(2, 0);
    // Attribute 0: normal memory, write-back, both.
    words.write(3, 0xff);
}

impl<R: Registers> IoSpace for Smmu<R> {
    /// Offset-mapped, upwards from 64 GiB; the offset within 2 MiB stays, so that blocks of that size are used.
    fn map(&mut self, pa: u64, len: u64) -> Result<IoAddr, MapError> {
        super::table::check(pa, len)?;
        const BLOCK: u64 = 2 << 20;
        let io = self.next | pa & (BLOCK - 1);
        self.tables.map(io, pa, len)?;
        // A page in between stays unmapped: what runs over the end is refused.
        self.next = (io + len + 1).next_multiple_of(BLOCK);
        barrier::full();
        self.forget().map_err(|_| MapError::NoMemory)?;
        Ok(IoAddr(io))
    }
}
