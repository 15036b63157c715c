//! What the tests share: storage, a pair, and packets made by hand.

use core::net::{IpAddr, SocketAddr};

use crate::socket::*;
use crate::stack::{FlowEntry, Listener, Neighbor, Storage};
use crate::tcp::{Connection, Control, OutOfOrder, Recovery, Segment, SendEntry, TcpConfig};
use crate::time::{Duration, Instant};
use crate::zbuf::{Pool, testing};

pub(super) const BASE: TcpConfig = TcpConfig::DATACENTER;
pub(super) const PORT: u16 = 7000;

#[derive(Clone)]
pub(super) struct Options {
    pub(super) tcp: [TcpConfig; 2],
    pub(super) ipv6: bool,
    pub(super) mtu: u16,
    pub(super) sockets: usize,
    pub(super) chunks: usize,
    pub(super) packets: usize,
    pub(super) accounting: Accounting,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tcp: [BASE; 2],
            ipv6: false,
            mtu: 1500,
            sockets: 8,
            chunks: 512,
            packets: 256,
            accounting: Accounting::Bytes,
        }
    }
}

fn leak<T: Default>(n: usize) -> &'static mut [T] {
    Vec::leak((0..n).map(|_| T::default()).collect())
}

pub(super) fn storage(o: &Options) -> SocketsStorage<'static> {
    let stack = Storage {
        connections: leak::<Connection>(16),
        flows: leak::<FlowEntry>(32),
        sends: leak::<SendEntry>(1024),
        segments: leak::<Segment>(1024),
        out_of_order: leak::<OutOfOrder>(256),
        recoveries: leak::<Recovery>(4),
        controls: leak::<Control>(16),
        listeners: leak::<Listener>(4),
        neighbors: leak::<Neighbor>(8),
    };
    SocketsStorage { stack, sockets: leak(o.sockets), chunks: leak(o.chunks), packets: leak(o.packets) }
}

pub(super) fn ip(o: &Options, n: u16) -> IpAddr {
    if o.ipv6 { IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n]) } else { IpAddr::from([10, 0, 0, n as u8]) }
}

pub(super) struct End {
    pub(super) s: core::mem::ManuallyDrop<Sockets<'static>>,
    pub(super) pool: &'static Pool,
}

impl core::ops::Deref for End {
    type Target = Sockets<'static>;
    fn deref(&self) -> &Self::Target {
        &self.s
    }
}

impl core::ops::DerefMut for End {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.s
    }
}

impl End {
    pub(super) fn new(o: &Options, n: u16, now: Instant) -> Self {
        let pool: &'static Pool = Box::leak(Box::new(testing::pool(2, (u32::from(o.mtu) + 14).next_multiple_of(64))));
        let addrs = [ip(o, n)];
        let config = SocketsConfig {
            mtu: o.mtu,
            accounting: o.accounting,
            ..SocketsConfig::new(&addrs, [n as u8; 32], o.tcp[usize::from(n - 1)])
        };
        let s = Sockets::new(config, storage(o), pool, now).unwrap();
        Self { s: core::mem::ManuallyDrop::new(s), pool }
    }

    pub(super) fn take(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut buf = vec![0; 2000];
        let n = self.s.output(now, &mut buf)?;
        buf.truncate(n);
        Some(buf)
    }

    pub(super) fn drain(&mut self, now: Instant) -> Vec<Vec<u8>> {
        core::iter::from_fn(|| self.take(now)).collect()
    }

    pub(super) fn read_all(&mut self, now: Instant, id: SocketId) -> (Vec<u8>, Result<usize, SocketError>) {
        let (mut out, mut buf) = (Vec::new(), [0; 999]);
        loop {
            match self.s.recv(now, id, &mut buf) {
                Ok(n) if n > 0 => out.extend_from_slice(&buf[..n]),
                last => return (out, last),
            }
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: nobody touches it behind this.
        unsafe { core::mem::ManuallyDrop::drop(&mut self.s) };
        // SAFETY: leaked by `new`, not used behind this; a pool with objs outstanding is left as it is.
        testing::recycle(unsafe { core::ptr::from_ref(self.pool).read() });
    }
}

/// Whether to lose a packet: from a?, and the packet.
pub(super) type Lose = Box<dyn FnMut(bool, &[u8]) -> bool>;

pub(super) struct Pair {
    pub(super) o: Options,
    pub(super) now: Instant,
    pub(super) a: End,
    pub(super) b: End,
    pub(super) lose: Lose,
}

impl Pair {
    pub(super) fn new(o: &Options) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let (a, b) = (End::new(o, 1, now), End::new(o, 2, now));
        Self { o: o.clone(), now, a, b, lose: Box::new(|_, _| false) }
    }

    /// Carries packets until none is left at this moment. Returns how many.
    pub(super) fn settle(&mut self) -> usize {
        let mut n = 0;
        loop {
            let before = n;
            while let Some(p) = self.a.take(self.now) {
                n += 1;
                if !(self.lose)(true, &p) {
                    self.b.input(self.now, &p).unwrap();
                }
            }
            while let Some(p) = self.b.take(self.now) {
                n += 1;
                if !(self.lose)(false, &p) {
                    self.a.input(self.now, &p).unwrap();
                }
            }
            if n == before {
                return n;
            }
            assert!(n < 100_000, "packets without end");
        }
    }

    /// Lets `d` pass, from deadline to deadline.
    pub(super) fn run(&mut self, d: Duration) {
        let end = self.now + d;
        loop {
            self.settle();
            let next = self.a.poll(self.now).min(self.b.poll(self.now));
            if self.settle() > 0 {
                continue;
            }
            if next > end {
                self.now = end;
                self.a.poll(end);
                self.b.poll(end);
                self.settle();
                return;
            }
            self.now = next.max(self.now + Duration::from_nanos(1));
        }
    }

    pub(super) fn to_b(&self) -> SocketAddr {
        SocketAddr::new(ip(&self.o, 2), PORT)
    }

    /// A listener on b.
    pub(super) fn listen(&mut self, backlog: u32) -> SocketId {
        let l = self.b.socket().unwrap();
        self.b.bind(l, SocketAddr::new(IpAddr::from([0, 0, 0, 0]), PORT)).unwrap();
        self.b.listen(l, backlog).unwrap();
        l
    }

    /// A connection that is being opened.
    pub(super) fn connect(&mut self) -> SocketId {
        let (now, to) = (self.now, self.to_b());
        let c = self.a.socket().unwrap();
        self.a.connect(now, c, to).unwrap();
        c
    }

    /// A connection: a's socket, b's socket, b's listener.
    pub(super) fn open(&mut self) -> (SocketId, SocketId, SocketId) {
        let l = self.listen(4);
        let c = self.connect();
        self.settle();
        let (s, _) = self.b.accept(l).unwrap();
        (c, s, l)
    }

    /// Nothing is left but what waits in the sockets that are still there.
    pub(super) fn assert_clean(&mut self) {
        self.run(Duration::from_secs(20));
        for end in [&self.a, &self.b] {
            assert_eq!(end.connections(), 0, "connections");
            assert_eq!(end.pool.outstanding(), 0, "objs");
        }
    }
}

pub(super) fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Where TCP begins in a bare packet, and its fields.
pub(super) struct Seen {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
    pub(super) len: usize,
}

pub(super) fn see(p: &[u8]) -> Seen {
    let (l4, total) = if p[0] >> 4 == 4 {
        (usize::from(p[0] & 15) * 4, usize::from(u16::from_be_bytes([p[2], p[3]])))
    } else {
        (40, 40 + usize::from(u16::from_be_bytes([p[4], p[5]])))
    };
    let word = |i: usize| u32::from_be_bytes(p[i..i + 4].try_into().unwrap());
    Seen {
        seq: word(l4 + 4),
        ack: word(l4 + 8),
        flags: p[l4 + 13],
        window: u16::from_be_bytes([p[l4 + 14], p[l4 + 15]]),
        len: total - l4 - usize::from(p[l4 + 12] >> 4) * 4,
    }
}
