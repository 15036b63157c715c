use super::*;

fn range(first: u16, last: u16) -> PortRange {
    PortRange { first, last }
}

#[test]
fn ports_are_written_behind_the_magic_and_nothing_else_changes() {
    let image = patched(OBJECT, &[range(80, 80), range(61440, 65535)]).unwrap();
    assert_eq!(image.len(), OBJECT.len());
    let at = image.windows(16).position(|bytes| bytes == MAGIC).unwrap() + 16;
    let words: Vec<u16> = image[at + 4..at + 12].chunks(2).map(|b| u16::from_ne_bytes([b[0], b[1]])).collect();
    assert_eq!(u32::from_ne_bytes(image[at..at + 4].try_into().unwrap()), 2);
    assert_eq!(words, [80, 80, 61440, 65535]);
    let differing = image.iter().zip(OBJECT).enumerate().filter(|(_, (a, b))| a != b).map(|(i, _)| i);
    for i in differing {
        assert!((at..at + 12).contains(&i), "byte {i} changed");
    }
}

#[test]
fn impossible_ranges_are_refused() {
    assert!(patched(OBJECT, &[]).is_err());
    assert!(patched(OBJECT, &[range(5, 4)]).is_err());
    assert!(patched(OBJECT, &[range(0, 4)]).is_err());
    assert!(patched(OBJECT, &[range(1, 1); 17]).is_err());
    assert!(patched(b"no table in here", &[range(1, 1)]).is_err());
}

#[test]
fn an_attribute_is_found_and_a_short_message_is_no_crash() {
    let bytes = |kind: u16, value: &[u8]| {
        let mut out = Vec::from(((4 + value.len()) as u16).to_ne_bytes());
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    };
    let message = [bytes(1, &[9; 5]), bytes(43 | 0x8000, &bytes(2, &[1]))].concat();
    assert_eq!(attribute(&message, 43).and_then(|xdp| attribute(xdp, 2)), Some(&[1][..]));
    assert_eq!(attribute(&message, 7), None);
    for cut in 0..message.len() {
        let _ = attribute(&message[..cut], 43).and_then(|xdp| attribute(xdp, 2));
    }
    assert_eq!(attribute(&[0; 64], 43), None);
}

#[test]
fn the_loopback_interface_has_no_program() {
    assert!(!is_occupied(1).unwrap());
    assert!(is_occupied(u32::MAX >> 1).is_err());
}
