use core::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Nic, NicError> {
    text.parse()
}

#[test]
fn the_documented_forms_parse() {
    assert_eq!(parse("mem"), Ok(Nic::Mem { mtu: 1500, checksums: false }));
    assert_eq!(parse("mem:mtu=9000"), Ok(Nic::Mem { mtu: 9000, checksums: false }));
    let Nic::AfXdp { iface, net } =
        parse("af_xdp:iface=veth0,addr=10.9.0.2/24,peer=10.9.0.1@02:00:00:00:00:01").unwrap()
    else {
        panic!("not af_xdp")
    };
    assert_eq!(iface, "veth0");
    assert_eq!(net.addr, Cidr { ip: "10.9.0.2".parse().unwrap(), prefix: 24 });
    let mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
    assert_eq!(net.peers, [Peer { ip: "10.9.0.1".parse().unwrap(), mac }]);
    for example in [AF_XDP_EXAMPLE, MEMIF_EXAMPLE, VIRTIO_EXAMPLE] {
        parse(example).unwrap();
    }
    let six =
        parse("virtio:path=/run/v,role=user,addr=fd00::2/64,peer=fd00::1,peer=fd00::3,gateway=fd00::1,vlan=7").unwrap();
    assert_eq!(six.net().unwrap().peers.len(), 2);
}

#[test]
fn errors_say_what_to_do() {
    let message = |text: &str| parse(text).unwrap_err().to_string();
    assert!(message("eth0").contains("use mem, af_xdp, memif or virtio"));
    assert!(message("af_xdp:addr=10.0.0.1/8").contains("needs iface=, for example af_xdp:iface=veth0"));
    assert!(message("af_xdp:iface=v").contains("needs addr="));
    assert!(message("mem:peer=1.2.3.4").contains("takes no 'peer'"));
    assert!(message("mem:mtu=100").contains("1280 to 9000"));
    assert!(message("mem:mtu").contains("not KEY=VALUE"));
    assert!(message("mem:mtu=1500,mtu=1500").contains("twice"));
    assert!(message("memif:socket=/s,role=boss,addr=10.0.0.1/8").contains("server or client"));
    assert!(message("af_xdp:iface=v,addr=10.9.0.2/24,peer=10.8.0.1").contains("gateway="));
    assert!(message("af_xdp:iface=v,addr=10.9.0.2/24,peer=10.9.0.2").contains("another address"));
    assert!(message("af_xdp:iface=v,addr=10.9.0.2/33").contains("10.9.0.1/24"));
    assert!(message("af_xdp:iface=a b,addr=10.9.0.2/24").contains("ip link"));
    assert!(message("af_xdp:iface=v,addr=10.9.0.2/24,vlan=4095").contains("4094"));
    assert!(message(&format!("memif:socket={},role=server", "x".repeat(108))).contains("107"));
}

#[test]
fn the_two_sides_of_a_pair_know_each_other_s_hardware_address() {
    let server = parse("memif:socket=/s,role=server,addr=10.0.0.1/8").unwrap();
    let client = parse("memif:socket=/s,role=client,addr=10.0.0.2/8").unwrap();
    let (a, b) = server.default_macs().unwrap();
    assert_eq!(client.default_macs(), Some((b, a)));
    assert!(a != b && a.is_unicast() && b.is_unicast());
    assert_eq!(parse(AF_XDP_EXAMPLE).unwrap().default_macs(), None);
}

#[cfg(not(feature = "dpdk"))]
#[test]
fn without_dpdk_only_mem_is_there_and_one_sentence_says_why() {
    assert_eq!(Nic::default().supported(), Ok(()));
    let message = parse(MEMIF_EXAMPLE).unwrap().supported().unwrap_err().to_string();
    assert!(message.contains("--features dpdk") && message.contains("cargo xtask setup"));
}

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 5]>().prop_map(|[a, b, c, d, e]| MacAddr([2, a, b, c, d, e]))
}

prop_compose! {
    fn net()(
        v6: bool,
        host in 1u8..250,
        peers in prop::collection::vec((1u8..250, prop::option::of(mac())), 0..3),
        gateway in prop::option::of(1u8..250),
        vlan in prop::option::of(1u16..4095),
        own in prop::option::of(mac()),
    ) -> Net {
        let ip = |h: u8| -> IpAddr {
            if v6 { format!("fd00::{h:x}").parse().unwrap() } else { IpAddr::from([10, 9, 0, h]) }
        };
        let peers = peers.into_iter().filter(|(h, _)| *h != host).map(|(h, mac)| Peer { ip: ip(h), mac }).collect();
        Net { addr: Cidr { ip: ip(host), prefix: if v6 { 64 } else { 24 } }, peers, gateway: gateway.map(ip), vlan, mac: own }
    }
}

fn nic() -> impl Strategy<Value = Nic> {
    prop_oneof![
        (1280u16..=9000, any::<bool>()).prop_map(|(mtu, checksums)| Nic::Mem { mtu, checksums }),
        ("[a-z][a-z0-9._-]{0,14}", net()).prop_map(|(iface, net)| Nic::AfXdp { iface, net }),
        ("/[a-z0-9/. =_-]{1,100}", any::<bool>(), net()).prop_map(|(socket, s, net)| Nic::Memif {
            socket: socket.into(),
            role: if s { MemifRole::Server } else { MemifRole::Client },
            net,
        }),
        ("/[a-z0-9/. =_-]{1,100}", any::<[bool; 3]>(), net()).prop_map(|(path, [s, tso, iommu], net)| Nic::Virtio {
            path: path.into(),
            role: if s { VirtioRole::Vhost } else { VirtioRole::User },
            tso,
            iommu,
            net,
        }),
    ]
}

proptest! {
    #[test]
    fn text_and_value_agree(nic in nic()) {
        prop_assert_eq!(parse(&nic.to_string()), Ok(nic));
    }

    #[test]
    fn no_text_panics(text in "(mem|af_xdp|memif|virtio|x)?:?([a-z]{0,6}=?[0-9a-f:./@,]{0,20},?){0,6}") {
        if let Ok(nic) = parse(&text) {
            prop_assert_eq!(parse(&nic.to_string()), Ok(nic));
        }
    }

    #[test]
    fn prefixes_are_compared_bit_by_bit(a: u32, b: u32, prefix in 1u8..=32) {
        let cidr = Cidr { ip: IpAddr::from(a.to_be_bytes()), prefix };
        let shift = 32 - u32::from(prefix);
        prop_assert_eq!(cidr.contains(IpAddr::from(b.to_be_bytes())), a >> shift == b >> shift);
    }
}
