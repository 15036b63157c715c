use super::*;

fn argument(vdev: &Vdev) -> (String, String) {
    let device = device(vdev, 3).unwrap();
    (device.name, device.args)
}

#[test]
fn memif_arguments() {
    let dir = std::env::temp_dir().join("luna-args-memif.sock");
    let (name, args) = argument(&Vdev::Memif(Memif::new(MemifRole::Client, &dir)));
    assert_eq!(name, "net_memif3");
    let path = dir.display();
    assert_eq!(
        args,
        format!("socket={path},socket-abstract=no,rsize=10,bsize=2048,mac=02:00:00:00:00:02,role=client,zero-copy=yes")
    );
}

#[test]
fn a_path_cannot_smuggle_in_arguments() {
    for path in ["/tmp/a,role=server", "/tmp/a b", "/tmp/a\n", ""] {
        let error = device(&Vdev::Memif(Memif::new(MemifRole::Client, path)), 0).unwrap_err();
        assert!(matches!(error, EalError::BadArgument(_)), "{path:?}: {error}");
    }
    let long = format!("/tmp/{}", "x".repeat(120));
    let error = device(&Vdev::Memif(Memif::new(MemifRole::Client, long)), 0).unwrap_err();
    assert!(matches!(error, EalError::Socket { .. }), "{error}");
}

#[test]
fn what_is_missing_is_named() {
    let error = device(&Vdev::VirtioUser(VirtioUser::new("/nonexistent/vhost.sock")), 0).unwrap_err();
    assert!(error.to_string().contains("start the vhost side first"), "{error}");
    let ports = vec![super::super::config::PortRange { first: 1, last: 2 }];
    let error = device(&Vdev::AfXdp(AfXdp::new("no-such-if0", ports)), 0).unwrap_err();
    assert!(error.to_string().contains("no-such-if0 does not exist"), "{error}");
    let error = device(&Vdev::Vhost(Vhost::new("/nonexistent/dir/vhost.sock")), 0).unwrap_err();
    assert!(error.to_string().contains("directory does not exist"), "{error}");
}

#[test]
fn a_dead_listeners_socket_is_removed_and_a_live_one_refused() {
    let path = std::env::temp_dir().join(format!("luna-args-{}.sock", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = free_listening_path(&path).unwrap_err();
    assert!(error.to_string().contains("another process listens"), "{error}");
    drop(listener);
    free_listening_path(&path).unwrap();
    assert!(!path.exists());
    std::fs::write(&path, "").unwrap();
    assert!(free_listening_path(&path).is_err(), "an ordinary file must stay");
    assert!(path.exists());
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn eal_refuses_what_cannot_be() {
    let config = |memory_mb| EalConfig { memory_mb, ..EalConfig::default() };
    assert!(matches!(eal(&config(1)), Err(EalError::BadConfig(_))));
    let error = eal(&config(2 << 20)).unwrap_err();
    assert!(matches!(error, EalError::Hugepages { .. }), "{error}");
    assert!(error.to_string().contains("nr_hugepages"), "{error}");
    let error = eal(&EalConfig { cpus: vec![1000], ..EalConfig::default() }).unwrap_err();
    assert!(matches!(error, EalError::NoSuchCpu(1000)), "{error}");
}
