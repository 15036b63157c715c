//! The register block (datasheet §10). It is never made: its layout gives the offsets, which the assertions below compare
//! with the datasheet's.

use core::mem::offset_of;

/// Registers of one ring (§10.2.5, §10.2.6).
#[repr(C)]
struct RingBlock {
    base_low: u32,
    base_high: u32,
    len: u32,
    _reserved0: u32,
    head: u32,
    _reserved1: u32,
    tail: u32,
    _reserved2: u32,
    /// RDTR, TIDV.
    delay: u32,
    _reserved3: u32,
    /// RXDCTL, TXDCTL.
    control: u32,
}

#[repr(C)]
struct Block {
    ctrl: u32,
    _reserved0: u32,
    status: u32,
    _reserved1: [u32; 3],
    ctrl_ext: u32,
    _reserved2: [u32; 41],
    icr: u32,
    _reserved3: [u32; 5],
    imc: u32,
    _reserved4: [u32; 9],
    rctl: u32,
    _reserved5: [u32; 191],
    tctl: u32,
    _reserved6: [u32; 3],
    tipg: u32,
    _reserved7: [u32; 2299],
    rx: RingBlock,
    _reserved8: [u32; 1013],
    tx: RingBlock,
    _reserved9: [u32; 1525],
    rxcsum: u32,
    _reserved10: u32,
    rfctl: u32,
    _reserved11: [u32; 125],
    mta: [u32; 128],
    ral0: u32,
    rah0: u32,
}

macro_rules! registers {
    ($($(#[$doc:meta])* $name:ident: $($field:ident).+ = $offset:literal,)*) => {
        $(
            $(#[$doc])*
            pub(super) const $name: usize = offset_of!(Block, $($field).+);
            const _: () = assert!($name == $offset);
        )*
    };
}

registers! {
    /// Device control.
    CTRL: ctrl = 0x0000,
    /// Device status.
    STATUS: status = 0x0008,
    /// Extended device control.
    CTRL_EXT: ctrl_ext = 0x0018,
    /// Interrupt causes; cleared by reading.
    ICR: icr = 0x00c0,
    /// Interrupts to mask.
    IMC: imc = 0x00d8,
    /// Receive control.
    RCTL: rctl = 0x0100,
    /// Transmit control.
    TCTL: tctl = 0x0400,
    /// Gap between frames.
    TIPG: tipg = 0x0410,
    RDBAL: rx.base_low = 0x2800,
    RDBAH: rx.base_high = 0x2804,
    RDLEN: rx.len = 0x2808,
    RDH: rx.head = 0x2810,
    RDT: rx.tail = 0x2818,
    RDTR: rx.delay = 0x2820,
    RXDCTL: rx.control = 0x2828,
    TDBAL: tx.base_low = 0x3800,
    TDBAH: tx.base_high = 0x3804,
    TDLEN: tx.len = 0x3808,
    TDH: tx.head = 0x3810,
    TDT: tx.tail = 0x3818,
    TIDV: tx.delay = 0x3820,
    TXDCTL: tx.control = 0x3828,
    /// Receive checksums.
    RXCSUM: rxcsum = 0x5000,
    /// Receive filters; the kind of descriptors.
    RFCTL: rfctl = 0x5008,
    /// Multicast table.
    MTA: mta = 0x5200,
    /// Receive address, low.
    RAL0: ral0 = 0x5400,
    /// Receive address, high, and whether it is valid.
    RAH0: rah0 = 0x5404,
}

/// Words of the multicast table.
pub(super) const MTA_WORDS: usize = 128;
/// Bytes of BAR 0 that are used, from its start.
pub const LEN: usize = size_of::<Block>();

/// CTRL (§10.2.2.1).
pub(super) mod ctrl {
    /// Set link up: let the PHY negotiate.
    pub(in super::super) const SLU: u32 = 1 << 6;
    /// Reset; clears itself.
    pub(in super::super) const RST: u32 = 1 << 26;
}

/// STATUS (§10.2.2.2).
pub(super) mod status {
    /// Link up.
    pub(in super::super) const LU: u32 = 1 << 1;
}

/// CTRL_EXT (§10.2.2.5).
pub(super) mod ctrl_ext {
    /// A driver is in charge: management firmware keeps its hands off.
    pub(in super::super) const DRV_LOAD: u32 = 1 << 28;
}

/// RCTL (§10.2.5.1).
pub(super) mod rctl {
    pub(in super::super) const EN: u32 = 1 << 1;
    /// All multicast frames: neighbour discovery's groups are sorted out above.
    pub(in super::super) const MPE: u32 = 1 << 4;
    /// Frames longer than 1522 bytes.
    pub(in super::super) const LPE: u32 = 1 << 5;
    /// Broadcasts.
    pub(in super::super) const BAM: u32 = 1 << 15;
    /// Buffer size: 2048, 1024, 512, 256 for 0 to 3; with BSEX sixteen times as much.
    pub(in super::super) const BSIZE_SHIFT: u32 = 16;
    pub(in super::super) const BSEX: u32 = 1 << 25;
    /// Strip the frame check sequence.
    pub(in super::super) const SECRC: u32 = 1 << 26;
}

/// TCTL (§10.2.6.1).
pub(super) mod tctl {
    pub(in super::super) const EN: u32 = 1 << 1;
    /// Pad short frames.
    pub(in super::super) const PSP: u32 = 1 << 3;
    /// Collision threshold and distance: without a meaning in full duplex, set as recommended.
    pub(in super::super) const CT: u32 = 0xf << 4;
    pub(in super::super) const COLD: u32 = 0x3f << 12;
}

/// TXDCTL (§10.2.6.8).
pub(super) mod txdctl {
    /// Write back each descriptor as soon as it is done.
    pub(in super::super) const WTHRESH_1: u32 = 1 << 16;
    /// "Must be set to 1".
    pub(in super::super) const BIT_22: u32 = 1 << 22;
    /// Thresholds count descriptors, not cache lines.
    pub(in super::super) const GRAN: u32 = 1 << 24;
}

/// TIPG: the recommended values for copper (§10.2.6.2).
pub(super) const TIPG_COPPER: u32 = 6 << 20 | 8 << 10 | 8;

/// RXCSUM (§10.2.5.15).
pub(super) mod rxcsum {
    pub(in super::super) const IPOFLD: u32 = 1 << 8;
    pub(in super::super) const TUOFLD: u32 = 1 << 9;
}

/// RFCTL (§10.2.5.16).
pub(super) mod rfctl {
    /// Extended receive descriptors.
    pub(in super::super) const EXSTEN: u32 = 1 << 15;
}

/// RAH0 (§10.2.5.21).
pub(super) mod rah {
    pub(in super::super) const VALID: u32 = 1 << 31;
}
