use super::*;

#[test]
fn ping_summary_is_read() {
    let output = "64 bytes from 198.18.0.1: icmp_seq=1 ttl=64 time=0.05 ms\n\n--- 198.18.0.1 ping statistics ---\n\
                  12 packets transmitted, 11 received, 8.3% packet loss, time 2203ms\n";
    assert_eq!(counts(output), Some((12, 11)));
    assert_eq!(counts("nothing"), None);
}

#[test]
fn the_compiler_is_preferred_and_small_files_are_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [("libLLVM.so", 300), ("librustc_driver-1.so", 200), ("librustc_driver-tiny.so", 20)] {
        fs::write(dir.path().join(name), vec![0; bytes]).unwrap();
    }
    assert!(largest(dir.path(), 100).unwrap().ends_with("librustc_driver-1.so"));
    assert!(largest(dir.path(), 250).unwrap().ends_with("libLLVM.so"));
    assert!(largest(dir.path(), 400).is_err());
}

#[test]
fn digest_is_the_well_known_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("odd\\name");
    fs::write(&path, "abc").unwrap();
    assert_eq!(sha256(&path).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
