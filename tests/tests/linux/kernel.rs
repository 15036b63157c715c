//! The kernel's end: ordinary sockets.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::stream;

fn peer() -> SocketAddr {
    std::env::var("LUNA_PEER").unwrap().parse().unwrap()
}

/// Sends the stream from one thread, reads what comes back in another, compares digests.
fn exchange(socket: TcpStream) {
    let total = stream::total();
    socket.set_nodelay(true).unwrap();
    let mut out = socket.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        let mut buf = vec![0; 1 << 16];
        let mut at = 0;
        while at < total {
            let n = (total - at).min(buf.len() as u64) as usize;
            stream::fill(&mut buf[..n], at);
            out.write_all(&buf[..n]).expect("send");
            at += n as u64;
        }
        out.shutdown(Shutdown::Write).expect("finish sending");
    });
    let mut input = socket;
    let mut hash = Sha256::new();
    let mut buf = vec![0; 1 << 16];
    let mut got = 0u64;
    loop {
        let n = input.read(&mut buf).expect("receive");
        if n == 0 {
            break;
        }
        hash.update(&buf[..n]);
        got += n as u64;
    }
    writer.join().unwrap();
    assert_eq!(got, total, "bytes that came back");
    assert_eq!(stream::hex(hash), stream::expected(total), "SHA-256 of what came back");
}

pub(crate) fn client() {
    let start = Instant::now();
    let socket = loop {
        match TcpStream::connect(peer()) {
            Ok(socket) => break socket,
            Err(e) => assert!(start.elapsed() < Duration::from_secs(20), "connect: {e}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let start = Instant::now();
    exchange(socket);
    let mib = (stream::total() >> 20) as f64;
    println!("{:.0} MiB/s each way", mib / start.elapsed().as_secs_f64());
}

/// Echoes one connection.
pub(crate) fn server() {
    let listener = TcpListener::bind(peer()).unwrap();
    println!("ready");
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_nodelay(true).unwrap();
    let mut buf = vec![0; 1 << 16];
    let mut echoed = 0u64;
    loop {
        let n = socket.read(&mut buf).expect("receive");
        if n == 0 {
            break;
        }
        socket.write_all(&buf[..n]).expect("send");
        echoed += n as u64;
    }
    socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(echoed, stream::total());
}
