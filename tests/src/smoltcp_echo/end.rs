//! One end: interface, socket and what the applications do with it.

use luna_core::rpc::{FrameHeader, FrameLimits, HEADER_LEN, Kind, SessionConfig};
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Address};

use super::Driving;
use super::device::{PairDevice, SharedLane};

/// Bytes in front of each payload.
pub(super) const HEADER: usize = HEADER_LEN;
const LIMITS: FrameLimits =
    FrameLimits { metadata: SessionConfig::DEFAULT.max_metadata, payload: SessionConfig::DEFAULT.max_payload };

pub(super) struct End {
    device: PairDevice,
    iface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
}

/// Writes a request's header in front of its payload.
#[inline]
pub(super) fn write_request(message: &mut [u8], id: u64) {
    let mut header = FrameHeader::new(Kind::Request, id);
    header.method = 1;
    write(message, header);
}

#[inline]
fn write(message: &mut [u8], mut header: FrameHeader) {
    let (head, payload) = message.split_first_chunk_mut::<HEADER>().expect("a message has a header");
    header.payload_len = payload.len() as u32;
    header.write(head);
}

#[inline]
fn parse(head: &[u8; HEADER], kind: Kind, payload: usize) -> FrameHeader {
    let header = FrameHeader::parse(head, &LIMITS).expect("the other end speaks the protocol");
    assert!(header.kind == kind && header.payload_len as usize == payload);
    header
}

impl End {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        n: u8,
        address: Ipv4Address,
        rx: SharedLane,
        tx: SharedLane,
        mtu: u16,
        checksums: bool,
        buffer: usize,
        now: Instant,
    ) -> Self {
        let mut device = PairDevice::new(rx, tx, mtu, checksums);
        let mut config = Config::new(EthernetAddress([2, 0, 0, 0, 0, n]).into());
        config.random_seed = u64::from(n);
        let mut iface = Interface::new(config, &mut device, now);
        iface.update_ip_addrs(|addrs| addrs.push(IpCidr::new(address.into(), 24)).expect("room for one address"));
        let mut socket = Socket::new(SocketBuffer::new(vec![0; buffer]), SocketBuffer::new(vec![0; buffer]));
        socket.set_nagle_enabled(false);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Self { device, iface, sockets, handle }
    }

    pub(super) fn listen(&mut self, port: u16) {
        self.socket().listen(port).expect("a fresh socket");
    }

    pub(super) fn connect(&mut self, address: Ipv4Address, port: u16) {
        let Self { iface, sockets, handle, .. } = self;
        let socket = sockets.get_mut::<Socket<'_>>(*handle);
        socket.connect(iface.context(), (address, port), 61440).expect("a fresh socket");
    }

    #[inline]
    pub(super) fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    pub(super) fn is_open(&self) -> bool {
        self.sockets.get::<Socket<'_>>(self.handle).state() == State::Established
    }

    pub(super) fn sent(&self) -> u64 {
        self.device.tx_lane().borrow().sent()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.device.tx_lane().borrow().dropped()
    }

    /// Takes in every frame that waits.
    #[inline]
    pub(super) fn ingress(&mut self, now: Instant) {
        let Self { device, iface, sockets, .. } = self;
        while iface.poll_ingress_single(now, device, sockets) != PollIngressSingleResult::None {}
    }

    /// What comes before the application.
    #[inline]
    pub(super) fn take_in(&mut self, now: Instant, driving: Driving) {
        match driving {
            Driving::Poll => {
                self.iface.poll(now, &mut self.device, &mut self.sockets);
            }
            Driving::Split => self.ingress(now),
        }
    }

    /// Sends all that there is to send.
    #[inline]
    pub(super) fn egress(&mut self, now: Instant) {
        let Self { device, iface, sockets, .. } = self;
        while iface.poll_egress(now, device, sockets) != PollResult::None {}
    }

    /// The server: answers a request if a whole one is there.
    #[inline]
    pub(super) fn answer(&mut self, message: &mut [u8]) -> bool {
        let socket = self.socket();
        if socket.recv_queue() < message.len() {
            return false;
        }
        let n = socket.recv_slice(message).expect("connected");
        assert_eq!(n, message.len());
        let (head, payload) = message.split_first_chunk::<HEADER>().expect("a message has a header");
        let request = parse(head, Kind::Request, payload.len());
        write(message, FrameHeader::new(Kind::Response, request.id));
        let sent = socket.send_slice(message).expect("connected");
        assert_eq!(sent, message.len(), "the buffer is large enough");
        true
    }

    /// The client: looks at a response in place, if a whole one is there.
    #[inline]
    pub(super) fn take_response(&mut self, message: &[u8], verify: bool) -> bool {
        let socket = self.socket();
        if socket.recv_queue() < message.len() {
            return false;
        }
        let mut head = [0; HEADER];
        let n = socket.recv_slice(&mut head).expect("connected");
        assert_eq!(n, HEADER);
        let mut expected = &message[HEADER..];
        parse(&head, Kind::Response, expected.len());
        while !expected.is_empty() {
            let n = socket.recv(|data| {
                let n = data.len().min(expected.len());
                assert!(!verify || data[..n] == expected[..n], "the payload comes back as it was sent");
                (n, n)
            });
            expected = &expected[n.expect("connected")..];
        }
        true
    }
}
