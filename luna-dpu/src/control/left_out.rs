//! A control plane without DHCP and IPv6 refuses both by name, and does the rest.

use core::ops::Range;

use luna_core::stack::Cidr;

use super::*;

/// Keeps what is sent.
#[derive(Default)]
struct Wire(Vec<Vec<u8>>);

impl Port for Wire {
    fn send(&mut self, head: &[u8], _: Range<usize>) -> bool {
        self.0.push(head.to_vec());
        true
    }
    fn in_use(&mut self, _: IpAddr) -> bool {
        false
    }
    fn neighbor(&mut self, _: IpAddr, _: Option<MacAddr>) -> bool {
        true
    }
    fn event(&mut self, _: Event) {}
}

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn control(net: NetArgs) -> Result<Control, ControlError> {
    Control::new(&ControlConfig { mac: MAC, mtu: 1500, net, seed: 1 }, Instant::ZERO)
}

#[test]
fn dhcp_and_ipv6_are_refused() {
    let net = NetArgs::parse("net.addr=dhcp").unwrap();
    assert_eq!(control(net).unwrap_err(), ControlError::NoDhcp);
    for word in ["net.addr=fd00::1/64", "net.gateway=fd00::1"] {
        assert_eq!(NetArgs::parse(word).unwrap_err().word, word);
    }
    let addr = "fd00::1".parse().unwrap();
    let addrs = [Cidr { addr, prefix: 64 }].into_iter().collect();
    assert_eq!(control(NetArgs { addrs, ..NetArgs::default() }).unwrap_err(), ControlError::BadAddress(addr));
}

#[test]
fn arp_is_answered_and_ipv6_frames_are_ignored() {
    let mut control = control(NetArgs::parse("net.addr=10.0.0.1/24 net.detect=off").unwrap()).unwrap();
    let mut wire = Wire::default();
    control.poll(Instant::ZERO, &mut wire);
    assert_eq!(wire.0.len(), 1, "it announces itself");
    let mut ask = vec![0xff; 6];
    ask.extend([2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    ask.extend([2, 0, 0, 0, 0, 2, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1]);
    control.input(Instant::ZERO, &ask, true, &mut wire);
    assert_eq!((wire.0.len(), control.counters().answered), (2, 1));
    // A neighbour solicitation, well-formed or not: nobody looks.
    let mut v6 = vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd];
    v6.resize(14 + 40 + 32, 0);
    control.input(Instant::ZERO, &v6, true, &mut wire);
    assert_eq!((wire.0.len(), control.counters().ignored), (2, 1));
}
