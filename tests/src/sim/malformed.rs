//! Frames that are no TCP segments of anybody: each makes a stack's parser refuse it for another reason.

use super::frame::{Frame, Tag};
use super::icmp::{Complaint, error, fix_ip_checksum};
use super::rng::Rng;
use luna_core::wire::int;

/// A frame like `seen` with something wrong that no damage on the way explains: checksums are right where that matters.
pub(super) fn malformed(seen: &Frame, rng: &mut Rng) -> Option<Frame> {
    let mut bytes = seen.bytes.clone();
    let l3 = if bytes.get(12..14)? == [0x81, 0x00] { 18 } else { 14 };
    let ipv6 = bytes.get(l3)? >> 4 == 6;
    // 20 or 40 bytes of IP, 20 of TCP.
    bytes.get(l3 + if ipv6 { 60 } else { 40 })?;
    let ip = &mut bytes[l3..];
    match (rng.below(12), ipv6) {
        // ARP.
        (0, _) => bytes[l3 - 1] = 6,
        (1, _) => ip[0] = ip[0] & 0x0f | 0x50,
        (2, false) => ip[0] = 0x44,
        (3, false) => (ip[2], ip[3]) = (0xff, 0xf0),
        (3, true) => (ip[4], ip[5]) = (0xff, 0xf0),
        (4, false) => ip[6] |= 0x20,
        // A fragment header, which nothing has asked for: another extension header.
        (4, true) => extensions(ip, &mut [44]),
        // UDP.
        (5, false) => ip[9] = 17,
        (5, true) => ip[6] = 17,
        (6, false) => ip[32] = 0x40,
        (6, true) => ip[52] = 0x40,
        // To a group, or to somebody else: the stream's own bytes, should somebody take them for himself.
        (7 | 8, _) => {
            let mut again = seen.clone();
            again.tag.replayed = true;
            if rng.one_in(2) {
                again.bytes[0] |= 1
            } else {
                again.bytes[5] ^= 0x40
            }
            return Some(again);
        }
        // A telemetry shim that is none.
        (9, false) if ip[9] != int::PROTOCOL => ip[9] = int::PROTOCOL,
        (9, true) if ip[6] != int::PROTOCOL => ip[6] = int::PROTOCOL,
        (10, true) => match rng.below(3) {
            // A routing header of type 0.
            0 => extensions(ip, &mut [43]),
            // Hop-by-hop behind another.
            1 => extensions(ip, &mut [60, 0]),
            _ => extensions(ip, &mut [60; 20]),
        },
        // An ICMP error that is damaged, or quotes what its receiver did not send.
        _ => {
            let mut error = error(&bytes, Complaint::Unreachable)?;
            let end = error.bytes.len() - 1;
            if rng.one_in(2) {
                error.bytes[end] ^= 0x55
            } else {
                error.bytes.truncate(end - 8)
            }
            return Some(error);
        }
    }
    if !ipv6 && bytes[l3] == 0x45 {
        fix_ip_checksum(&mut bytes[l3..]);
    }
    Some(Frame { bytes, tag: Tag { forged: true, ..Tag::default() } })
}

/// Makes extension headers of what stands behind IPv6: `kinds` are their numbers, each 8 bytes long, TCP the last's next.
fn extensions(ip: &mut [u8], kinds: &mut [u8]) {
    ip[6] = kinds[0];
    for (i, header) in ip[40..].chunks_exact_mut(8).take(kinds.len()).enumerate() {
        header.fill(0);
        header[0] = kinds.get(i + 1).copied().unwrap_or(6);
        // Padding, as options go; segments left, in a routing header.
        header[2..8].copy_from_slice(if kinds[i] == 43 { &[0, 1, 0, 0, 0, 0] } else { &[1, 4, 0, 0, 0, 0] });
    }
}
