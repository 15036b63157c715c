use super::*;

const LIMITS: FrameLimits = FrameLimits { metadata: 256, payload: 1 << 20 };

fn sample() -> FrameHeader {
    FrameHeader {
        flags: Flags::PAYLOAD_CRC,
        method: 0x0203,
        metadata_len: 16,
        payload_len: 4096,
        deadline_us: 2500,
        ..FrameHeader::new(Kind::Request, 0x0607_0809_0a0b)
    }
}

fn written(header: &FrameHeader) -> [u8; HEADER_LEN] {
    let mut bytes = [0xaa; HEADER_LEN];
    header.write(&mut bytes);
    bytes
}

fn repaired(mut bytes: [u8; HEADER_LEN]) -> [u8; HEADER_LEN] {
    let crc = header_crc(words(&bytes));
    bytes[HEADER_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The layout, byte by byte; the CRCs come from another implementation.
#[test]
fn the_wire_format_is_fixed() {
    assert_eq!(
        written(&sample()),
        [
            0x12, 0x01, 0x10, 0x00, 0x00, 0x10, 0x00, 0x00, 0x03, 0x02, 0x0b, 0x0a, 0x09, 0x08, 0x07, 0x06, 0xc4, 0x09,
            0x00, 0x00, 0x58, 0x1f, 0xe7, 0xfc
        ]
    );
    let response = FrameHeader { status: Status(0x0405), credit: 7, ..FrameHeader::new(Kind::Response, 1 << 40) };
    assert_eq!(
        written(&response),
        [
            0x22, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x07, 0x00,
            0x00, 0x00, 0xb2, 0x19, 0xed, 0xa5
        ]
    );
}

#[test]
fn what_is_written_is_read() {
    let response = FrameHeader { status: Status(0x0405), credit: 5, ..FrameHeader::new(Kind::Response, 9) };
    for header in [sample(), response, FrameHeader { flags: Flags::PAYLOAD_CRC, ..response }] {
        assert_eq!(FrameHeader::parse(&written(&header), &LIMITS), Ok(header));
    }
    for kind in [Kind::Cancel, Kind::Ping, Kind::Pong] {
        let header = FrameHeader::new(kind, (1 << 48) - 1);
        assert_eq!(FrameHeader::parse(&written(&header), &LIMITS), Ok(header));
    }
}

#[test]
fn a_header_has_what_its_kind_has() {
    let all =
        FrameHeader { status: Status(1), credit: 2, flags: Flags::NONE, metadata_len: 0, payload_len: 0, ..sample() };
    for kind in [Kind::Request, Kind::Response, Kind::Cancel, Kind::Ping, Kind::Pong] {
        let id = all.id;
        let expected = match kind {
            Kind::Request => FrameHeader { method: 0x0203, deadline_us: 2500, ..FrameHeader::new(kind, id) },
            Kind::Response => FrameHeader { status: Status(1), credit: 2, ..FrameHeader::new(kind, id) },
            _ => FrameHeader::new(kind, id),
        };
        assert_eq!(FrameHeader::parse(&written(&FrameHeader { kind, ..all }), &LIMITS), Ok(expected));
    }
    let wide = FrameHeader { id: all.id | 0xffff << 48, ..all };
    assert_eq!(written(&wide), written(&all), "48 bits of the id");
}

#[test]
fn the_short_way_takes_plain_frames_and_no_others() {
    for kind in [Kind::Request, Kind::Response] {
        let plain = FrameHeader { payload_len: 100, ..FrameHeader::new(kind, 77) };
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

/// The first format's frames began with a 1, its kind in the next byte.
#[test]
fn frames_of_the_first_version_are_refused_as_such() {
    let mut old = [0; HEADER_LEN];
    old[..2].copy_from_slice(&[1, Kind::Request as u8]);
    assert_eq!(FrameHeader::parse(&old, &LIMITS), Err(FrameError::Version(1)));
}

#[test]
fn every_flipped_bit_is_found() {
    let good = written(&sample());
    for bit in 0..HEADER_LEN * 8 {
        let mut bytes = good;
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = FrameHeader::parse(&bytes, &LIMITS).unwrap_err();
        match bit {
            0..4 => assert_eq!(error, FrameError::Version(bytes[0] & 0xf)),
            _ => assert!(matches!(error, FrameError::HeaderCrc { .. }), "bit {bit}: {error}"),
        }
    }
}

#[test]
fn only_the_known_kinds_and_flags() {
    for kind in 0..16 {
        let mut bytes = written(&FrameHeader::new(Kind::Ping, 1));
        bytes[0] = VERSION | kind << 4;
        let parsed = FrameHeader::parse(&repaired(bytes), &LIMITS);
        match kind {
            1..=5 => assert_eq!(parsed.map(|h| h.kind as u8), Ok(kind)),
            _ => assert_eq!(parsed, Err(FrameError::Kind(kind))),
        }
    }
    for bit in 0..8 {
        let mut bytes = written(&FrameHeader::new(Kind::Request, 1));
        bytes[1] = 1 << bit;
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
        (u16::MAX, u32::MAX, Some(FrameError::MetadataTooLong { len: 0xffff, max: 256 })),
        (0, (1 << 20) + 1, Some(FrameError::PayloadTooLong { len: (1 << 20) + 1, max: 1 << 20 })),
        (0, u32::MAX, Some(FrameError::PayloadTooLong { len: u32::MAX, max: 1 << 20 })),
    ] {
        let header = FrameHeader { metadata_len, payload_len, ..sample() };
        assert_eq!(FrameHeader::parse(&written(&header), &LIMITS).err(), error);
    }
    for kind in [Kind::Cancel, Kind::Ping, Kind::Pong] {
        let bare = FrameHeader::new(kind, 1);
        for header in [
            FrameHeader { metadata_len: 1, ..bare },
            FrameHeader { payload_len: 1, ..bare },
            FrameHeader { flags: Flags::PAYLOAD_CRC, ..bare },
        ] {
            assert_eq!(FrameHeader::parse(&written(&header), &LIMITS), Err(FrameError::UnexpectedBody(kind)));
        }
    }
}
