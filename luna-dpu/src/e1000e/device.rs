//! Reset and set-up (datasheet §4.6).

use core::fmt;

use luna_core::nic::Caps;
use luna_core::wire::MacAddr;
use luna_core::zbuf::{IoAddr, Pool};

use super::queue::{E1000eQueue, Parts, QueueMemory};
use super::registers::*;
use super::ring::{self, Ring};
use crate::dma::{DmaArea, DmaSync};
use crate::mmio::Registers;

/// PCI vendor: Intel.
pub const VENDOR_ID: u16 = 0x8086;
/// PCI device: 82574L.
pub const DEVICE_ID: u16 = 0x10d3;

/// Reads of a register before the device is taken for dead: on real hardware a reset takes a few ms, and a read about a µs.
const PATIENCE: u32 = 100_000;

/// Why the device cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetupError {
    /// There is nothing at the registers: reads are all ones.
    Absent,
    /// The reset does not end.
    Stuck,
    /// It has no hardware address (its memory for that is empty).
    NoMac,
    /// After a reset it has another one: it is another device.
    Changed,
    /// It was reset again and again, and moved nothing between.
    Again,
    /// Rings have 8 to 4096 descriptors, a power of two.
    RingSize,
    /// The area has no room for a ring.
    NoMemory,
    /// Receive objs are smaller than a frame of the MTU, or than the device's smallest buffer.
    ObjTooSmall,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "no device answers at its registers",
            Self::Stuck => "the device does not come out of its reset",
            Self::NoMac => "the device has no hardware address",
            Self::Changed => "another device answers after a reset",
            Self::Again => "the device stopped again and again, and resets were of no use",
            Self::RingSize => "a ring has 8 to 4096 descriptors, a power of two",
            Self::NoMemory => "no memory is left for descriptor rings",
            Self::ObjTooSmall => "receive objs are smaller than a frame of the MTU, or than 2048 bytes",
        })
    }
}

impl core::error::Error for SetupError {}

/// A device after its reset.
#[derive(Debug)]
pub struct Device<R> {
    registers: R,
    mac: MacAddr,
}

impl<R: Registers> Device<R> {
    /// Resets the device at `registers` (BAR 0).
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn reset(registers: R) -> Result<Self, SetupError> {
        let mac = reset(&registers)?;
        Ok(Self { registers, mac })
    }

    /// Hardware address.
    #[must_use]
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// Makes the rings, in memory of `area`, and lets frames in and out. `mtu` is the largest IP packet, in bytes.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn start<'m, D: DmaSync>(
        self,
        mtu: u16,
        area: &mut DmaArea,
        memory: QueueMemory<'m>,
        rx_pool: &'m Pool,
        header_pool: &'m Pool,
        sync: D,
    ) -> Result<E1000eQueue<'m, R, D>, SetupError> {
        let Self { registers, mac } = self;
        let (buffer, size_bits) = buffer_size(rx_pool.data_capacity()).ok_or(SetupError::ObjTooSmall)?;
        // With a VLAN tag.
        if u32::from(mtu) + 18 > buffer {
            return Err(SetupError::ObjTooSmall);
        }
        let mut piece = |slots: usize| {
            let size = u16::try_from(slots).map_err(|_| SetupError::RingSize)?;
            area.take(ring::memory(size), 4096).ok_or(SetupError::NoMemory)
        };
        let (rx_piece, tx_piece) = (piece(memory.rx.len())?, piece(memory.tx.len())?);
        let rx = Ring::new(&rx_piece, memory.rx).ok_or(SetupError::RingSize)?;
        let tx = Ring::new(&tx_piece, memory.tx).ok_or(SetupError::RingSize)?;
        let long = if mtu > 1500 { rctl::LPE } else { 0 };
        let receive = size_bits | long;
        program(&registers, [rx.place(), tx.place()], receive);
        let caps = Caps {
            mac,
            mtu,
            max_tx_segments: (luna_core::nic::MAX_TX_FRAGS + 1) as u8,
            tx_checksum: true,
            foreign: false,
            prompt_completion: true,
            max_tso_payload: 0,
            max_tso_payload_v6: 0,
        };
        Ok(E1000eQueue::new(Parts { registers, caps, rx, tx, rx_pool, header_pool, sync, buffer, receive }))
    }
}

/// Resets the device at `registers`; its hardware address.
pub(super) fn reset<R: Registers>(registers: &R) -> Result<MacAddr, SetupError> {
    if registers.read32(STATUS) == u32::MAX {
        return Err(SetupError::Absent);
    }
    registers.write32(IMC, u32::MAX);
    // What it does now comes to an end first.
    registers.write32(RCTL, 0);
    registers.write32(TCTL, 0);
    registers.write32(CTRL, registers.read32(CTRL) | ctrl::RST);
    let mut left = PATIENCE;
    while registers.read32(CTRL) & ctrl::RST != 0 {
        left -= 1;
        if left == 0 {
            return Err(SetupError::Stuck);
        }
        core::hint::spin_loop();
    }
    registers.write32(IMC, u32::MAX);
    // Reading clears it.
    let _causes = registers.read32(ICR);
    let (low, high) = (registers.read32(RAL0).to_le_bytes(), registers.read32(RAH0));
    let [e, f, ..] = high.to_le_bytes();
    let [a, b, c, d] = low;
    let mac = MacAddr([a, b, c, d, e, f]);
    if high & rah::VALID == 0 || !mac.is_unicast() {
        return Err(SetupError::NoMac);
    }
    registers.write32(CTRL_EXT, registers.read32(CTRL_EXT) | ctrl_ext::DRV_LOAD);
    registers.write32(CTRL, registers.read32(CTRL) | ctrl::SLU);
    for word in 0..MTA_WORDS {
        registers.write32(MTA + 4 * word, 0);
    }
    Ok(mac)
}

/// Tells a device that was reset of its rings, receive and transmit, and lets frames in and out; `receive` is what RCTL has
/// beside the usual.
pub(super) fn program<R: Registers>(r: &R, [rx, tx]: [(IoAddr, u32); 2], receive: u32) {
    r.write32(RFCTL, rfctl::EXSTEN);
    r.write32(RXCSUM, rxcsum::IPOFLD | rxcsum::TUOFLD);
    for ((io, len), [low, high, length, head, tail, delay]) in
        [(rx, [RDBAL, RDBAH, RDLEN, RDH, RDT, RDTR]), (tx, [TDBAL, TDBAH, TDLEN, TDH, TDT, TIDV])]
    {
        r.write32(low, io.0 as u32);
        r.write32(high, (io.0 >> 32) as u32);
        r.write32(length, len);
        r.write32(head, 0);
        r.write32(tail, 0);
        r.write32(delay, 0);
    }
    r.write32(RXDCTL, r.read32(RXDCTL) | txdctl::GRAN);
    r.write32(TXDCTL, txdctl::GRAN | txdctl::WTHRESH_1 | txdctl::BIT_22);
    r.write32(TIPG, TIPG_COPPER);
    r.write32(RCTL, rctl::EN | rctl::MPE | rctl::BAM | rctl::SECRC | receive);
    r.write32(TCTL, tctl::EN | tctl::PSP | tctl::CT | tctl::COLD);
}

/// The largest buffer size of the device that objs of `capacity` bytes hold, and its bits of RCTL.
pub(super) fn buffer_size(capacity: u32) -> Option<(u32, u32)> {
    let bits = |code: u32| code << rctl::BSIZE_SHIFT;
    [(16384, rctl::BSEX | bits(1)), (8192, rctl::BSEX | bits(2)), (4096, rctl::BSEX | bits(3)), (2048, bits(0))]
        .into_iter()
        .find(|(size, _)| *size <= capacity)
}
