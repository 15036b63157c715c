//! Two sets of sockets, joined by nothing but the packets that one hands out and the other takes in: connect, echo, close,
//! on a clock that this program sets. `cargo run -p luna-core --example back_to_back`

use core::alloc::Layout;
use core::error::Error;
use core::net::{IpAddr, SocketAddr};
use core::ptr::NonNull;
use std::alloc::{alloc_zeroed, handle_alloc_error};

use luna_core::socket::{SocketError, Sockets, SocketsConfig, SocketsStorage};
use luna_core::stack::Storage;
use luna_core::tcp::TcpConfig;
use luna_core::time::{Duration, Instant};
use luna_core::zbuf::{DeviceKey, IoAddr, Pool, Region, ZONE_SIZE, ZoneLayout};

/// Memory for packets and data: one zone of objs that hold a packet each. It is leaked; an embedder has a static array.
fn pool() -> Result<&'static Pool, Box<dyn Error>> {
    let layout = Layout::from_size_align(ZONE_SIZE, ZONE_SIZE)?;
    // SAFETY: the size is not zero.
    let Some(base) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
    // SAFETY: fresh memory, aligned, never freed, used by nobody else; no device is given its address.
    let region = unsafe { Region::new(base, 1, |_| IoAddr(0), DeviceKey(0)) }?;
    Ok(Box::leak(Box::new(Pool::new(region, ZoneLayout::plain(2048))?)))
}

/// A table of `n` entries.
fn table<T: Default>(n: usize) -> &'static mut [T] {
    Vec::leak((0..n).map(|_| T::default()).collect())
}

fn sockets(addr: IpAddr, now: Instant) -> Result<Sockets<'static>, Box<dyn Error>> {
    let stack = Storage {
        connections: table(8),
        flows: table(16),
        sends: table(256),
        segments: table(256),
        out_of_order: table(64),
        recoveries: table(4),
        controls: table(0),
        listeners: table(2),
        neighbors: table(4),
    };
    let storage = SocketsStorage { stack, sockets: table(8), chunks: table(256), packets: table(64) };
    // A program of the real world has entropy here.
    let config = SocketsConfig::new(core::slice::from_ref(&addr), [42; 32], TcpConfig::DATACENTER);
    Ok(Sockets::new(config, storage, pool()?, now)?)
}

/// Carries packets both ways until there are none; each way takes 20 µs.
fn carry(now: &mut Instant, a: &mut Sockets<'_>, b: &mut Sockets<'_>) -> Result<(), Box<dyn Error>> {
    loop {
        *now = *now + Duration::from_micros(20);
        let there = one_way(*now, a, b)?;
        *now = *now + Duration::from_micros(20);
        if there + one_way(*now, b, a)? == 0 {
            return Ok(());
        }
    }
}

fn one_way(now: Instant, from: &mut Sockets<'_>, to: &mut Sockets<'_>) -> Result<usize, Box<dyn Error>> {
    let (mut packet, mut count) = ([0; 1500], 0);
    while let Some(n) = from.output(now, &mut packet) {
        to.input(now, &packet[..n])?;
        count += 1;
    }
    Ok(count)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut now = Instant::from_nanos(1);
    let (client_ip, server_ip) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
    let (mut a, mut b) = (sockets(client_ip, now)?, sockets(server_ip, now)?);
    let server = SocketAddr::new(server_ip, 7);

    let listener = b.socket()?;
    b.bind(listener, server)?;
    b.listen(listener, 4)?;
    let client = a.socket()?;
    a.connect(now, client, server)?;
    carry(&mut now, &mut a, &mut b)?;
    let (served, peer) = b.accept(listener)?;
    println!("{peer} connected; the client is {:?}", a.state(client)?);

    let message: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
    let (mut sent, mut echo, mut waiting) = (0, Vec::new(), Vec::new());
    let mut buf = [0; 4096];
    while echo.len() < message.len() {
        match a.send(now, client, &message[sent..]) {
            Ok(n) => sent += n,
            Err(SocketError::WouldBlock | SocketError::NoMemory) => {}
            Err(e) => return Err(e.into()),
        }
        carry(&mut now, &mut a, &mut b)?;
        while let Ok(n) = b.recv(now, served, &mut buf) {
            waiting.extend_from_slice(&buf[..n]);
        }
        if let Ok(n) = b.send(now, served, &waiting) {
            waiting.drain(..n);
        }
        carry(&mut now, &mut a, &mut b)?;
        while let Ok(n) = a.recv(now, client, &mut buf) {
            echo.extend_from_slice(&buf[..n]);
        }
        // Time passes when there is nothing else to do: up to the next timer.
        now = a.poll_at().min(b.poll_at()).min(now + Duration::from_millis(1)).max(now);
        a.poll(now);
        b.poll(now);
    }
    assert_eq!(echo, message);
    let info = a.info(client)?;
    println!("{} bytes echoed; mss {}, cwnd {}, srtt {} ns", echo.len(), info.mss, info.cwnd, info.srtt.as_nanos());

    a.close(now, client)?;
    carry(&mut now, &mut a, &mut b)?;
    println!("the server reads {} bytes: the client finished", b.recv(now, served, &mut buf)?);
    b.close(now, served)?;
    carry(&mut now, &mut a, &mut b)?;
    println!("left: {} connection in TIME-WAIT, {} on the other side", a.connections(), b.connections());
    Ok(())
}
