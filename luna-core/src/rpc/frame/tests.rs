use super::*;

const LIMITS: FrameLimits = FrameLimits { metadata: 256, payload: 1 << 20 };

fn sample() -> FrameHeader {
    FrameHeader {
        kind: Kind::Request,
        flags: Flags::PAYLOAD_CRC,
        method: 0x0203,
        status: Status(0x0405),
        id: 0x0607_0809_0a0b_0c0d,
        metadata_len: 16,
        payload_len: 4096,
        credit: 0,
        deadline_us: 2500,
        payload_crc: 0xdead_beef,
    }
}

fn written(header: &FrameHeader) -> [u8; HEADER_LEN] {
    let mut bytes = [0xaa; HEADER_LEN];
    header.write(&mut bytes);
    bytes
}

fn repaired(mut bytes: [u8; HEADER_LEN]) -> [u8; HEADER_LEN] {
    let crc = header_crc(&bytes);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The layout, byte by byte; the CRC comes from another implementation.
#[test]
fn the_wire_format_is_fixed() {
    let bytes = written(&sample());
    assert_eq!(
        bytes,
        [
            0x01, 0x01, 0x01, 0x00, 0x03, 0x02, 0x05, 0x04, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, 0x07, 0x06, 0x10, 0x00,
            0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc4, 0x09, 0x00, 0x00, 0xef, 0xbe, 0xad, 0xde,
            0x00, 0xd8, 0x31, 0x7a
        ]
    );
}

#[test]
fn what_is_written_is_read() {
    for kind in [Kind::Request, Kind::Response] {
        let header = FrameHeader { kind, credit: 5, ..sample() };
        assert_eq!(FrameHeader::parse(&written(&header), &LIMITS), Ok(header));
    }
    for kind in [Kind::Cancel, Kind::Ping, Kind::Pong] {
        let header = FrameHeader::new(kind, u64::MAX);
        assert_eq!(FrameHeader::parse(&written(&header), &LIMITS), Ok(header));
    }
}

#[test]
fn the_short_way_takes_plain_frames_and_no_others() {
    for kind in [Kind::Request, Kind::Response] {
        let plain =
            FrameHeader { kind, flags: Flags::NONE, metadata_len: 0, payload_len: 100, payload_crc: 0, ..sample() };
        let bytes = written(&plain);
        assert_eq!(FrameHeader::parse_plain(&bytes, 100), Some(plain));
        assert_eq!(FrameHeader::parse_plain(&bytes, 99), None, "longer than is wanted");
        for bit in 0..8 * HEADER_LEN {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::parse_plain(&flipped, u32::MAX), None, "bit {bit}");
        }
        for other in [
            FrameHeader { flags: Flags::PAYLOAD_CRC, ..plain },
            FrameHeader { metadata_len: 1, ..plain },
            FrameHeader::new(Kind::Ping, 1),
            FrameHeader::new(Kind::Cancel, 1),
        ] {
            assert_eq!(FrameHeader::parse_plain(&written(&other), u32::MAX), None, "{other:?}");
        }
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let good = written(&sample());
    for bit in 0..HEADER_LEN * 8 {
        let mut bytes = good;
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = FrameHeader::parse(&bytes, &LIMITS).unwrap_err();
        match bit / 8 {
            0 => assert_eq!(error, FrameError::Version(bytes[0])),
            _ => assert!(matches!(error, FrameError::HeaderCrc { .. }), "bit {bit}: {error}"),
        }
    }
}

#[test]
fn only_the_known_kinds_and_flags() {
    for kind in 0..=255 {
        let mut bytes = written(&FrameHeader::new(Kind::Ping, 1));
        bytes[1] = kind;
        let parsed = FrameHeader::parse(&repaired(bytes), &LIMITS);
        match kind {
            1..=5 => assert_eq!(parsed.map(|h| h.kind as u8), Ok(kind)),
            _ => assert_eq!(parsed, Err(FrameError::Kind(kind))),
        }
    }
    for bit in 0..16 {
        let mut bytes = written(&FrameHeader::new(Kind::Ping, 1));
        bytes[2..4].copy_from_slice(&(1u16 << bit).to_le_bytes());
        let parsed = FrameHeader::parse(&repaired(bytes), &LIMITS);
        match bit {
            0 => assert!(parsed.unwrap().flags.has_payload_crc()),
            _ => assert_eq!(parsed, Err(FrameError::Flags(1 << bit))),
        }
    }
}

#[test]
fn lengths_are_bounded() {
    for (metadata_len, payload_len, error) in [
        (256, 1 << 20, None),
        (257, 0, Some(FrameError::MetadataTooLong { len: 257, max: 256 })),
        (u32::MAX, u32::MAX, Some(FrameError::MetadataTooLong { len: u32::MAX, max: 256 })),
        (0, (1 << 20) + 1, Some(FrameError::PayloadTooLong { len: (1 << 20) + 1, max: 1 << 20 })),
        (0, u32::MAX, Some(FrameError::PayloadTooLong { len: u32::MAX, max: 1 << 20 })),
    ] {
        let header = FrameHeader { metadata_len, payload_len, ..sample() };
        assert_eq!(FrameHeader::parse(&written(&header), &LIMITS).err(), error);
    }
    for kind in [Kind::Cancel, Kind::Ping, Kind::Pong] {
        for (metadata_len, payload_len) in [(1, 0), (0, 1)] {
            let header = FrameHeader { metadata_len, payload_len, ..FrameHeader::new(kind, 1) };
            assert_eq!(FrameHeader::parse(&written(&header), &LIMITS), Err(FrameError::UnexpectedBody(kind)));
        }
    }
}
