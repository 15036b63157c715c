//! Names of ICMP messages (RFC 792, RFC 1812, RFC 4443) and of IPv6 extension headers (RFC 8200 §4.1).

/// Type name, code name (empty: the only one, or unsaid), type, code. ICMP's and ICMPv6's types do not meet here: 1, 2 and 4
/// of ICMPv6 are unassigned or deprecated in ICMP.
const MESSAGES: &[(&str, &str, u8, u8)] = &[
    ("unreachable", "net_unreachable", 3, 0),
    ("unreachable", "host_unreachable", 3, 1),
    ("unreachable", "protocol_unreachable", 3, 2),
    ("unreachable", "port_unreachable", 3, 3),
    ("unreachable", "frag_needed", 3, 4),
    ("unreachable", "source_route_failed", 3, 5),
    ("unreachable", "admin_prohibited", 3, 13),
    ("source_quench", "", 4, 0),
    ("time_exceeded", "", 11, 0),
    ("parameter_problem", "", 12, 0),
    ("unreachable6", "no_route", 1, 0),
    ("unreachable6", "admin_prohibited", 1, 1),
    ("unreachable6", "address_unreachable", 1, 3),
    ("unreachable6", "port_unreachable", 1, 4),
    ("packet_too_big", "", 2, 0),
    ("time_exceeded6", "", 3, 0),
];

/// Type and code of a message; an empty or foreign second word leaves the code to the type.
pub(super) fn named(name: &str, code: &str) -> Option<(u8, u8)> {
    let exact = MESSAGES.iter().find(|m| m.0 == name && m.1 == code);
    let found = exact
        .or_else(|| MESSAGES.iter().find(|m| m.0 == name && m.1.is_empty() && (code.is_empty() || code == "mtu")))?;
    Some((found.2, found.3))
}

/// All of them, for a message.
pub(super) fn names() -> String {
    let all: Vec<String> = MESSAGES.iter().map(|m| format!("{} {}", m.0, m.1).trim_end().to_owned()).collect();
    format!("there are {}", all.join(", "))
}

/// Protocol number of an extension header.
pub(super) fn extension(name: &str) -> Option<u8> {
    Some(match name {
        "hop_by_hop" => 0,
        "routing" => 43,
        "fragment" => 44,
        "no_next_header" => 59,
        "dest_opts" => 60,
        _ => return None,
    })
}
