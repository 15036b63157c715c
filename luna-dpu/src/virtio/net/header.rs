//! The header in front of every frame (section 5.1.6).
//!
//! It lies in the driver's prefix of the obj, right before the frame: header and frame are one piece for the device, and
//! the frame begins where the obj's data does.

use core::ptr::NonNull;

use luna_core::nic::TxMeta;
use luna_core::wire::{ChecksumVerdict, RxChecksum};

/// Its bytes: `num_buffers` is always there in version 1.
pub const HEADER_LEN: u32 = 12;

/// The checksum is to be completed.
pub(super) const NEEDS_CSUM: u8 = 1;
/// The checksum was verified.
pub(super) const DATA_VALID: u8 = 2;

/// The frame is to be cut: TCP over IPv4.
pub(super) const GSO_TCPV4: u8 = 1;
/// The same over IPv6.
pub(super) const GSO_TCPV6: u8 = 4;

/// `num_buffers` of a frame in a buffer of its own.
pub(super) const ONE: [u8; 2] = 1u16.to_le_bytes();

/// Offset of TCP's checksum field.
const TCP_CHECKSUM: u16 = 16;

/// As it is in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(super) struct Header {
    pub(super) flags: u8,
    pub(super) gso_type: u8,
    pub(super) hdr_len: [u8; 2],
    pub(super) gso_size: [u8; 2],
    pub(super) csum_start: [u8; 2],
    pub(super) csum_offset: [u8; 2],
    pub(super) num_buffers: [u8; 2],
}

const _: () = assert!(size_of::<Header>() == HEADER_LEN as usize && align_of::<Header>() == 1);

impl Header {
    /// Of a frame to send.
    #[inline(always)]
    pub(super) fn of(meta: &TxMeta) -> Self {
        if !meta.offload_checksum {
            return Self::default();
        }
        let start = u16::from(meta.l2_len) + u16::from(meta.l3_len);
        let (gso_type, hdr_len) = match meta.segment_size {
            0 => (0, 0),
            _ => (if meta.ipv6 { GSO_TCPV6 } else { GSO_TCPV4 }, start + u16::from(meta.l4_len)),
        };
        Self {
            flags: NEEDS_CSUM,
            gso_type,
            hdr_len: hdr_len.to_le_bytes(),
            gso_size: meta.segment_size.to_le_bytes(),
            csum_start: start.to_le_bytes(),
            csum_offset: TCP_CHECKSUM.to_le_bytes(),
            ..Self::default()
        }
    }

    /// What it says of a received frame's checksums, with GUEST_CSUM. Unfinished ones are of frames that never left the
    /// machine and cannot have been damaged. IPv4's own checksum it says nothing of.
    #[inline(always)]
    pub(super) fn verdict(&self) -> RxChecksum {
        if self.flags & (NEEDS_CSUM | DATA_VALID) == 0 {
            return RxChecksum::UNKNOWN;
        }
        RxChecksum { ip: ChecksumVerdict::Unknown, l4: ChecksumVerdict::Good }
    }

    /// # Safety
    /// `HEADER_LEN` bytes before `data` are the driver's, in an obj that nobody else touches.
    #[inline(always)]
    pub(super) unsafe fn write_before(self, data: NonNull<u8>) {
        // SAFETY: by contract; no alignment needed.
        unsafe { data.sub(HEADER_LEN as usize).cast::<Self>().write(self) };
    }

    /// # Safety
    /// As for `write_before`, and the device does not write there any more.
    #[inline(always)]
    pub(super) unsafe fn read_before(data: NonNull<u8>) -> Self {
        // SAFETY: by contract; any bytes are a header.
        unsafe { data.sub(HEADER_LEN as usize).cast::<Self>().read() }
    }
}
