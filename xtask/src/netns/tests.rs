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
    let names = [pair.server.namespace.clone(), pair.client.namespace.clone()];
    assert!(names.iter().all(|name| exists(name)));
    drop(pair);
    assert!(!names.iter().any(|name| exists(name)));
}
