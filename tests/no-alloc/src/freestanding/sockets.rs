//! Two sets of sockets, joined by the packets that one hands out and the other takes in: 20 kB there and back.

use core::array;
use core::net::{IpAddr, SocketAddr};

use luna_core::socket::{RecvChunk, SocketSlot, SocketState, Sockets, SocketsConfig, SocketsStorage, TxPacket};
use luna_core::tcp::{State, TcpConfig};
use luna_core::time::Instant;
use luna_core::zbuf::{Pool, Region, ZoneLayout};

use super::echo::Tables;

const LEN: usize = 20_000;

struct Memory {
    tables: Tables,
    sockets: [SocketSlot; 3],
    chunks: [RecvChunk; 64],
    packets: [TxPacket; 64],
}

impl Memory {
    fn new() -> Self {
        Self {
            tables: Tables::new(),
            sockets: array::from_fn(|_| SocketSlot::default()),
            chunks: array::from_fn(|_| RecvChunk::default()),
            packets: array::from_fn(|_| TxPacket::default()),
        }
    }

    fn make<'m>(&'m mut self, addr: IpAddr, pool: &'m Pool, now: Instant) -> Option<Sockets<'m>> {
        let Self { tables, sockets, chunks, packets } = self;
        let storage = SocketsStorage { stack: tables.storage(), sockets, chunks, packets };
        let addrs = [addr];
        Sockets::new(SocketsConfig::new(&addrs, [9; 32], TcpConfig::DATACENTER), storage, pool, now).ok()
    }
}

/// Carries packets until there are none.
fn carry(now: Instant, a: &mut Sockets<'_>, b: &mut Sockets<'_>) -> Option<()> {
    let mut packet = [0; 1500];
    loop {
        let mut any = false;
        while let Some(n) = a.output(now, &mut packet) {
            b.input(now, packet.get(..n)?).ok()?;
            any = true;
        }
        while let Some(n) = b.output(now, &mut packet) {
            a.input(now, packet.get(..n)?).ok()?;
            any = true;
        }
        if !any {
            return Some(());
        }
    }
}

/// `Some` when every byte came back, over both families, and no obj is missing.
pub(super) fn run(region: Region) -> Option<()> {
    let pool = Pool::new(region, ZoneLayout::plain(2048)).ok()?;
    for (a, b) in [
        (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])),
        (IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]), IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 2])),
    ] {
        echo(a, b, &pool)?;
        (pool.outstanding() == 0).then_some(())?;
    }
    Some(())
}

fn echo(client: IpAddr, server: IpAddr, pool: &Pool) -> Option<()> {
    let (mut memory_a, mut memory_b) = (Memory::new(), Memory::new());
    let mut now = Instant::from_nanos(1);
    let mut a = memory_a.make(client, pool, now)?;
    let mut b = memory_b.make(server, pool, now)?;
    let to = SocketAddr::new(server, 7);
    let l = b.socket().ok()?;
    b.bind(l, to).ok()?;
    b.listen(l, 1).ok()?;
    let c = a.socket().ok()?;
    a.connect(now, c, to).ok()?;
    carry(now, &mut a, &mut b)?;
    let (s, _) = b.accept(l).ok()?;
    (a.state(c) == Ok(SocketState::Connection(State::Established))).then_some(())?;
    let message: [u8; LEN] = array::from_fn(|i| (i ^ i >> 8) as u8);
    let (mut echo, mut sent, mut got) = ([0; LEN], 0, 0);
    let mut buf = [0; 999];
    for _ in 0..1000 {
        sent += a.send(now, c, message.get(sent..)?).unwrap_or(0);
        carry(now, &mut a, &mut b)?;
        while let Ok(n) = b.recv(now, s, &mut buf) {
            (b.send(now, s, buf.get(..n)?) == Ok(n)).then_some(())?;
        }
        carry(now, &mut a, &mut b)?;
        got += a.recv(now, c, echo.get_mut(got..)?).unwrap_or(0);
        if got == LEN {
            break;
        }
        now = a.poll(now).min(b.poll(now)).max(now);
    }
    (echo == message).then_some(())?;
    a.close(now, c).ok()?;
    carry(now, &mut a, &mut b)?;
    (b.recv(now, s, &mut buf) == Ok(0)).then_some(())?;
    b.close(now, s).ok()?;
    b.close(now, l).ok()?;
    carry(now, &mut a, &mut b)?;
    while a.connections() > 0 {
        now = a.poll_at();
        a.poll(now);
    }
    Some(())
}
