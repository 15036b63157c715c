use super::*;

fn veth() -> core::mem::ManuallyDrop<VethPair> {
    let end = |side: &str, address, mac| End {
        namespace: format!("ns-{side}"),
        interface: format!("luna-{side}"),
        address,
        mac,
    };
    // Nothing was made, so nothing is to be removed.
    core::mem::ManuallyDrop::new(VethPair {
        server: end("srv", "198.18.0.1", "02:00:00:00:00:01"),
        client: end("cli", "198.18.0.2", "02:00:00:00:00:02"),
    })
}

fn nic(link: Link, side: Side) -> String {
    link.arguments(&veth(), side, Path::new("/run/s.sock")).join(" ")
}

#[test]
fn af_xdp_names_its_own_interface_and_its_peer() {
    assert_eq!(
        nic(Link::AfXdp, Side::Client),
        "--nic af_xdp:iface=luna-cli,addr=198.18.0.2/24,peer=198.18.0.1@02:00:00:00:00:01"
    );
}

#[test]
fn shared_memory_sides_have_opposite_roles_and_addresses() {
    assert_eq!(
        nic(Link::Memif, Side::Server),
        "--nic memif:socket=/run/s.sock,role=server,addr=198.18.1.1/24,mac=02:4c:55:4e:42:01,peer=198.18.1.2@02:4c:55:4e:42:02"
    );
    assert!(nic(Link::Memif, Side::Client).contains("role=client,addr=198.18.1.2/24"));
    assert!(nic(Link::Virtio, Side::Server).contains("role=vhost"));
    assert!(nic(Link::Virtio, Side::Client).contains("role=user"));
}

#[test]
fn the_kernel_needs_no_port() {
    assert_eq!(nic(Link::Kernel, Side::Client), "--stack kernel");
    assert_eq!(Link::Kernel.endpoint(&veth()), "198.18.0.1:7480");
}
