//! The kernel's end: one non-blocking socket with the congestion control that was asked for.

use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::ledger::{Ledger, PERIOD, stream};
use super::spec::{EndSpec, Ending, Report, Side};

const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes of one read or write.
const CHUNK: usize = 256 << 10;

fn connection(spec: &EndSpec) -> io::Result<TcpStream> {
    let family = if spec.local.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_tcp_congestion(&socket, &spec.congestion)?;
    if let Some(window) = spec.window {
        // The kernel doubles it, and gives the window half of that.
        sockopt::set_socket_recv_buffer_size(&socket, window as usize)?;
    }
    rustix::net::bind(&socket, &spec.local)?;
    let stream = if spec.side == Side::Server {
        rustix::net::listen(&socket, 8)?;
        println!("ready");
        TcpListener::from(socket).accept()?.0
    } else {
        println!("ready");
        rustix::net::connect(&socket, &spec.remote)?;
        socket.into()
    };
    assert_eq!(sockopt::tcp_congestion(&stream)?, spec.congestion, "the kernel's congestion control");
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(crate) fn run(spec: &EndSpec) {
    let done = super::children::end_of_input();
    let mut ledger = Ledger::new(spec);
    let ours = stream(spec.side);
    let mut socket = connection(spec).unwrap_or_else(|e| panic!("connection: {e}"));
    socket.set_nonblocking(true).expect("non-blocking");
    let ending = transfer(spec, &mut socket, &mut ledger, &ours);
    let mut report = Report { sent: ledger.sent, received: ledger.got, seconds: ledger.seconds(), ..Report::default() };
    match (spec.ending, ending) {
        (Ending::Finished, Ok(())) => ledger.check_finished(),
        (Ending::Abort(_), Ok(())) => {
            sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).expect("SO_LINGER");
            drop(socket);
        }
        (Ending::Reset, Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)) => {}
        (wanted, found) => panic!("ended with {found:?}, not {wanted:?}, {} in, {} out", ledger.got, ledger.sent),
    }
    report.counters = counters();
    println!("report {}", serde_json::to_string(&report).expect("plain data"));
    while !done.load(core::sync::atomic::Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Until both sides have finished, or it is time to abort.
fn transfer(spec: &EndSpec, socket: &mut TcpStream, ledger: &mut Ledger, ours: &[u8]) -> Result<(), ErrorKind> {
    let mut buf = vec![0; CHUNK];
    let mut shut = false;
    let mut pause = spec.pause;
    let mut paused: Option<Instant> = None;
    ledger.begin();
    while !(shut && ledger.fin.is_some()) {
        if matches!(spec.ending, Ending::Abort(at) if ledger.got + ledger.sent >= at) {
            return Ok(());
        }
        let mut worked = false;
        let may = ledger.may_send();
        let at = (ledger.sent % PERIOD) as usize;
        let n = (may as usize).min(CHUNK).min(ours.len() - at);
        if n > 0 {
            match socket.write(&ours[at..at + n]) {
                Ok(n) => (ledger.sent, worked) = (ledger.sent + n as u64, true),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e.kind()),
            }
        }
        if !shut && ledger.sent_all() {
            socket.shutdown(Shutdown::Write).map_err(|e| e.kind())?;
            shut = true;
        }
        if let Some(p) = pause
            && ledger.got >= p.at
        {
            let since = *paused.get_or_insert_with(Instant::now);
            if since.elapsed() >= Duration::from_millis(p.ms) {
                pause = None;
                paused = None;
            }
        }
        if paused.is_none() && ledger.fin.is_none() {
            let most = pause.map_or(CHUNK, |p| CHUNK.min((p.at - ledger.got) as usize));
            match socket.read(&mut buf[..most]) {
                Ok(0) if most > 0 => ledger.finished(),
                Ok(n) => {
                    ledger.take(&buf[..n]);
                    worked = true;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e.kind()),
            }
        }
        let moved = ledger.got + ledger.sent + u64::from(paused.is_some());
        assert!(ledger.is_moving(moved, PATIENCE), "no progress at {} in, {} out", ledger.got, ledger.sent);
        if !worked {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, paused.is_none() && ledger.fin.is_none());
            wanted.set(PollFlags::OUT, ledger.may_send() > 0);
            let limit = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            let _ = poll(&mut [PollFd::new(socket, wanted)], Some(&limit));
        }
    }
    Ok(())
}

/// What the namespace's TCP counted.
fn counters() -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for file in ["/proc/self/net/snmp", "/proc/self/net/netstat"] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let mut lines = text.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            if !names.starts_with("Tcp") {
                continue;
            }
            for (name, value) in names.split_whitespace().zip(values.split_whitespace()).skip(1) {
                if let Some(n) = value.parse::<u64>().ok().filter(|n| *n > 0) {
                    found.insert(name.to_owned(), n);
                }
            }
        }
    }
    found
}
