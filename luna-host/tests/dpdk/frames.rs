//! Frames that the roles exchange: Ethernet, IPv4, TCP, a sequence number, and bytes that follow from it.

use luna_core::nic::TxMeta;

pub(crate) const HEADER: usize = 14 + 20 + 20;
pub(crate) const PORT: u16 = 61_440;
/// Sequence number that ends a conversation.
pub(crate) const STOP: u32 = u32::MAX;

/// Sequence number of the echoing side's first word.
pub(crate) const HELLO: u32 = u32::MAX - 1;

/// Writes the 54 bytes before `payload` bytes of frame `seq`.
pub(crate) fn write_header(out: &mut [u8], seq: u32, payload: usize, ends: ([u8; 6], [u8; 6]), partial_checksum: bool) {
    let (from, to) = ends;
    out[..6].copy_from_slice(&to);
    out[6..12].copy_from_slice(&from);
    out[12..14].copy_from_slice(&[0x08, 0x00]);
    let ip = &mut out[14..34];
    ip.fill(0);
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&((40 + payload) as u16).to_be_bytes());
    ip[8] = 64;
    ip[9] = 6;
    ip[12..16].copy_from_slice(&[10, 99, 0, from[5]]);
    ip[16..20].copy_from_slice(&[10, 99, 0, to[5]]);
    let sum = !fold(words(ip));
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let pseudo = words(&ip[12..20]) + 6 + (20 + payload as u32);
    let tcp = &mut out[34..54];
    tcp.fill(0);
    tcp[0..2].copy_from_slice(&PORT.to_be_bytes());
    tcp[2..4].copy_from_slice(&PORT.to_be_bytes());
    tcp[4..8].copy_from_slice(&seq.to_be_bytes());
    tcp[12] = 5 << 4;
    tcp[13] = 0x10;
    if partial_checksum {
        tcp[16..18].copy_from_slice(&fold(pseudo).to_be_bytes());
    }
}

pub(crate) fn meta(offload_checksum: bool) -> TxMeta {
    TxMeta { l2_len: 14, l3_len: 20, l4_len: 20, ipv6: false, offload_checksum, segment_size: 0 }
}

fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], *w.get(1).unwrap_or(&0)]))).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Byte `i` of the payload of frame `seq`.
pub(crate) fn byte(seq: u32, i: usize) -> u8 {
    (seq.wrapping_mul(31).wrapping_add(i as u32).wrapping_mul(2_654_435_761) >> 24) as u8
}

pub(crate) fn fill(out: &mut [u8], seq: u32, from: usize) {
    for (i, b) in out.iter_mut().enumerate() {
        *b = byte(seq, from + i);
    }
}

/// Sequence number and payload of a frame that is one of ours; the payload's length is the IP header's word.
pub(crate) fn parse(frame: &[u8]) -> Option<(u32, &[u8])> {
    if frame.len() < HEADER || frame[12..14] != [0x08, 0x00] || frame[23] != 6 {
        return None;
    }
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let seq = u32::from_be_bytes([frame[38], frame[39], frame[40], frame[41]]);
    Some((seq, frame.get(HEADER..14 + total)?))
}

pub(crate) fn check(seq: u32, payload: &[u8]) {
    for (i, b) in payload.iter().enumerate() {
        assert_eq!(*b, byte(seq, i), "frame {seq}, byte {i} of {}", payload.len());
    }
}
