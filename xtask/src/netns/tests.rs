use super::*;

#[test]
fn only_our_names_have_an_owner() {
    assert_eq!(owner("luna-demo-123-srv"), Some(123));
    assert_eq!(owner("luna-demo-x-srv"), None);
    assert_eq!(owner("somebody-123-srv"), None);
}

#[test]
#[ignore = "needs root; `cargo xtask test` includes it"]
fn the_pair_carries_packets_and_leaves_nothing() {
    let pair = VethPair::make().unwrap();
    let pong = pair.client.output("ping", &["-c", "1", "-W", "2", pair.server.address]).unwrap();
    assert!(pong.contains("1 received"), "{pong}");
    let features = pair.server.output("ethtool", &["-k", &pair.server.interface]).unwrap();
    assert!(features.contains("tcp-segmentation-offload: off"), "{features}");
    assert!(features.contains("tx-checksumming: off"), "{features}");
    assert!(pair.offloads().unwrap().values().all(|on| !on));
    pair.set_offloads(true).unwrap();
    assert!(pair.offloads().unwrap()["tcp-segmentation-offload"]);
    let names = [pair.server.namespace.clone(), pair.client.namespace.clone()];
    assert!(names.iter().all(|name| exists(name)));
    drop(pair);
    assert!(!names.iter().any(|name| exists(name)));
}

#[test]
fn offloads_are_read_as_ethtool_says() {
    let text = "Features for luna-srv:\nrx-checksumming: off [fixed]\ntx-checksumming: on\n\ttx-checksum-ipv4: off [fixed]\n\
                tcp-segmentation-offload: on\n\ttx-tcp-segmentation: on\nrx-vlan-offload: on\nlarge-receive-offload: off [fixed]\n";
    let states: Vec<_> = offload_states(text).into_iter().collect();
    let want = [
        ("large-receive-offload", false),
        ("rx-checksumming", false),
        ("tcp-segmentation-offload", true),
        ("tx-checksumming", true),
    ];
    assert_eq!(states, want.map(|(name, on)| (name.to_owned(), on)));
}
