use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};

use super::*;

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("luna-socket-{name}-{}.sock", std::process::id()))
}

#[test]
fn a_listener_is_live_and_is_not_disturbed() {
    let path = path("stream");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(is_live(&path).unwrap());
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "it saw a connection");
    drop(listener);
    assert!(!is_live(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(is_live(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
}

/// As memif's.
#[test]
fn a_listener_for_sequenced_packets_is_live() {
    let path = path("seqpacket");
    let listener = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&listener, 1).unwrap();
    assert!(is_live(&path).unwrap());
    drop(listener);
    assert!(!is_live(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
}
