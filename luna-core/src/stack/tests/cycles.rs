//! Cycles by stage of a whole loop, of a counter that goes up only where this test says so: in the queue and in the
//! application. What passes there is in its stage, to the unit, and nothing is in any other.

use core::net::SocketAddr;

use super::harness::{Options, PORT, addr, storage_for_tests};
use crate::cycles::tests::{pass, read};
use crate::cycles::{CycleCounter, Stage};
use crate::nic::{Caps, MemLink, MemPort, MemQueue, QueueStats, RxBurst, TxMeta};
use crate::rpc::{
    ByteStream, CallId, CallSlot, DetachedSlot, Handler, Request, Response, RpcError, Session, SessionConfig,
    SessionCx, Status,
};
use crate::stack::*;
use crate::time::Duration;
use crate::wire::MacAddr;
use crate::zbuf::{Frag, FragRef, FrameHead, Pool, Zbuf, testing};

const RX: u64 = 10;
const TX: u64 = 100;
const REQUEST: u64 = 1_000;
const RESPONSE: u64 = 10_000;

struct Costly(MemQueue<'static, 'static>);

impl NicQueue for Costly {
    fn caps(&self) -> &Caps {
        self.0.caps()
    }
    fn header_pool(&self) -> &Pool {
        self.0.header_pool()
    }
    fn rx_burst(&mut self, burst: &mut RxBurst) {
        pass(RX);
        self.0.rx_burst(burst);
    }
    fn tx(&mut self, header: FrameHead, payload: &[FragRef<'_>], meta: TxMeta) -> Result<(), FrameHead> {
        pass(TX);
        self.0.tx(header, payload, meta)
    }
    fn flush(&mut self) {
        self.0.flush();
    }
    fn reap(&mut self) -> usize {
        self.0.reap()
    }
    fn stats(&self) -> QueueStats {
        self.0.stats()
    }
}

struct Costs;

impl Handler for Costs {
    fn on_request<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, mut request: Request<'_>) {
        pass(REQUEST);
        cx.reply_payload(Status::OK, &[], &mut request.payload).unwrap();
    }
    fn on_response<S: ByteStream>(
        &mut self,
        _: &mut SessionCx<'_, '_, S>,
        _: CallId,
        _: u64,
        response: Result<Response<'_>, RpcError>,
    ) {
        pass(RESPONSE);
        assert!(response.unwrap().status.is_ok());
    }
}

struct Peer {
    session: Session<'static>,
    conn: Option<ConnId>,
}

impl App<Costly> for Peer {
    fn on_accepted(&mut self, _: &mut Cx<'_, '_, Costly>, conn: ConnId, _: u64, _: SocketAddr) {
        self.conn = Some(conn);
    }
    fn on_data(&mut self, cx: &mut Cx<'_, '_, Costly>, conn: ConnId, data: Zbuf) -> Retained {
        self.session.handle_data(data, &mut ConnStream { cx, conn }, &mut Costs).unwrap();
        Retained::NOTHING
    }
}

fn end(n: u8, end: crate::nic::MemEnd<'static>, now: Instant) -> (Stack<'static, Costly>, Peer) {
    let o = Options::default();
    let leaked = |zones, size| &*Box::leak(Box::new(testing::pool(zones, size)));
    let port = MemPort { mac: MacAddr([2, 0, 0, 0, 0, n]), mtu: 1500, checksum_offload: true };
    let queue = Costly(MemQueue::new(end, port, leaked(4, 1600), leaked(1, 512)).unwrap());
    let config = StackConfig { id: n, seed: [n; 32], tcp: TcpConfig::DATACENTER };
    let mut stack = Stack::new(config, storage_for_tests(&o), now).unwrap();
    let mut path = PathConfig::default();
    path.addrs.push(Cidr { addr: addr(&o, n.into()), prefix: 24 }).unwrap();
    let path = stack.add_path(queue, path).unwrap();
    let other = 3 - n;
    assert!(stack.cx(now).neighbor(path, addr(&o, other.into()), Some(MacAddr([2, 0, 0, 0, 0, other]))));
    let (calls, detached) = (Vec::leak(vec![CallSlot::default()]), Vec::leak(vec![DetachedSlot::default()]));
    let session = Session::new(SessionConfig::DEFAULT, calls, detached).unwrap();
    (stack, Peer { session, conn: None })
}

/// `rpcs` echoes of `size` bytes, of which each end takes in what a turn finds; what both ends counted.
fn echo(size: u32, rpcs: usize, every: u32) -> [crate::cycles::CycleReport; 2] {
    let link: &'static mut MemLink = Box::leak(Box::new(MemLink::new()));
    let (a, b) = link.split();
    let mut now = Instant::from_nanos(1_000_000_000);
    let (mut a, mut client) = end(1, a, now);
    let (mut b, mut server) = end(2, b, now);
    b.cx(now).listen(Bind::port(PORT), 0).unwrap();
    let conn = a.cx(now).connect(Connect::to(SocketAddr::new(addr(&Options::default(), 2), PORT))).unwrap();
    let mut turns =
        |a: &mut Stack<'static, Costly>, b: &mut Stack<'static, Costly>, client: &mut Peer, now: Instant| {
            for _ in 0..4 {
                a.turn(now, 256, client);
                b.turn(now, 256, &mut server);
            }
            server.conn.is_some()
        };
    assert!(turns(&mut a, &mut b, &mut client, now), "connected");
    a.count_cycles(Some(CycleCounter { read, every }));
    b.count_cycles(Some(CycleCounter { read, every }));
    let pool = testing::pool(1, 8192);
    for _ in 0..rpcs {
        let mut payload = pool.alloc().unwrap();
        payload.append(size).unwrap().fill(7);
        let mut iov = heapless::Vec::<Frag, 2>::new();
        iov.push(payload.freeze().into()).unwrap();
        let mut cx = a.cx(now);
        client.session.call(&mut ConnStream { cx: &mut cx, conn }, 1, &[], &mut iov, None, 0).unwrap();
        turns(&mut a, &mut b, &mut client, now);
        now = now + Duration::from_micros(2);
    }
    assert_eq!(client.session.counters().responses, rpcs as u64);
    let reports = [a.cycles(), b.cycles()];
    // Its objs are nobody's by then, or leaked with the stacks.
    core::mem::forget((a, b, pool));
    reports
}

#[test]
fn every_stage_has_what_passed_in_it() {
    const RPCS: u64 = 50;
    let [client, server] = echo(64, RPCS as usize, 1);
    let of = |r: &crate::cycles::CycleReport, stage: Stage| r.stages[stage as usize] as u64;
    // The server: a request comes and its response goes, in one turn; then nothing is left to do.
    assert_eq!(server.busy, RPCS);
    assert_eq!(of(&server, Stage::DriverRx), RPCS * RX);
    assert_eq!(of(&server, Stage::DriverTx), RPCS * TX);
    assert_eq!(of(&server, Stage::Application), RPCS * REQUEST);
    assert_eq!(server.whole as u64, RPCS * (RX + TX + REQUEST), "and nothing anywhere else");
    // The client: a turn in which a request goes, one in which the response comes.
    assert_eq!(client.busy, 2 * RPCS);
    assert_eq!(of(&client, Stage::DriverRx), 2 * RPCS * RX);
    assert_eq!(of(&client, Stage::DriverTx), RPCS * TX);
    assert_eq!(of(&client, Stage::Application), RPCS * RESPONSE);
    for r in [client, server] {
        assert_eq!(r.stages.iter().sum::<i64>(), r.whole, "the whole is the sum of the stages");
        assert_eq!(r.idle.0 as u64, r.idle.1 * RX, "polls that found nothing are apart");
        let zero = Stage::ALL.iter().filter(|s| r.stages[**s as usize] == 0).count();
        assert_eq!(zero, Stage::ALL.len() - 3, "{r:?}");
    }
}

#[test]
fn segments_of_a_burst_and_one_turn_of_three() {
    let [_, server] = echo(4096, 60, 1);
    let of = |stage: Stage| server.stages[stage as usize] as u64;
    // Three segments in, three out.
    assert_eq!([of(Stage::DriverTx), of(Stage::Application)], [60 * 3 * TX, 60 * REQUEST]);
    let [_, some] = echo(64, 60, 3);
    assert!(some.stamped < some.busy, "{some:?}");
    assert_eq!((some.busy, some.of(Stage::Application)), (60, (60 * REQUEST) as f64));
}
