use core::time::Duration;

use netlink_packet_route::neighbour::NeighbourHeader;

use super::*;

fn entry(state: NeighbourState, ip: &str, mac: Option<[u8; 6]>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header = NeighbourHeader { state, ..Default::default() };
    let ip = match ip.parse().unwrap() {
        IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
        IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
    };
    message.attributes.push(NeighbourAttribute::Destination(ip));
    if let Some(mac) = mac {
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    }
    message
}

#[test]
fn entries_become_updates() {
    let mac = [2, 0, 0, 0, 0, 7];
    for state in [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Permanent] {
        for ip in ["10.1.2.3", "fd00::3"] {
            let want = Update { ip: ip.parse().unwrap(), mac: Some(MacAddr(mac)) };
            assert_eq!(update_of(&entry(state, ip, Some(mac))), Some(want));
        }
    }
    let failed = update_of(&entry(NeighbourState::Failed, "10.1.2.3", None));
    assert_eq!(failed.map(|u| u.mac), Some(None));
    assert_eq!(update_of(&entry(NeighbourState::Incomplete, "10.1.2.3", None)), None);
    assert_eq!(update_of(&entry(NeighbourState::Noarp, "10.1.2.3", Some([0; 6]))), None);
}

#[test]
fn an_absent_interface_and_a_foreign_address_are_told_apart() {
    let own = IpAddr::from([127, 0, 0, 1]);
    let e = Neighbors::open("no-such-if0", own).unwrap_err().to_string();
    assert!(e.contains("no network interface 'no-such-if0'") && e.contains("ip link"), "{e}");
    let e = Neighbors::open("lo", IpAddr::from([192, 0, 2, 77])).unwrap_err().to_string();
    assert!(e.contains("does not have the address 192.0.2.77"), "{e}");
}

#[test]
fn nobody_at_an_address_is_found_within_patience() {
    let neighbors = Neighbors::open("lo", IpAddr::from([127, 0, 0, 1])).unwrap();
    let before = std::time::Instant::now();
    assert_eq!(neighbors.resolve(IpAddr::from([127, 0, 0, 2]), Duration::from_millis(100)), None);
    assert!(before.elapsed() < Duration::from_secs(5));
}
