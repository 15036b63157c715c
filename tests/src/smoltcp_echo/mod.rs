//! The same echo over two smoltcp stacks, for comparison.
//!
//! What makes it fair, and where in doubt it favours smoltcp:
//! - Same work: a 24-byte header of Luna's RPC format, its CRC included, written and parsed by the same code on both sides
//!   of both messages; then the payload. But there is no session: no table of calls, no deadline, no dispatch.
//! - Same link: a ring of preallocated buffers each way, one *gather* copy per frame from the sender's frame into the
//!   receiver's buffer, out of line and counted apart (`device::gather`), as for Luna's in-memory pair.
//! - [`Driving::Poll`] is smoltcp as its documentation has it: `poll`, then the application, and then, which is kind, an
//!   egress for what that wrote. `poll` acknowledges before the application has answered: 8 frames per 4 KiB RPC.
//!   [`Driving::Split`] is kinder than any of its users: all frames in, then the application, then egress, so that
//!   acknowledgments ride on data as Luna's do: 6 frames.
//! - The server reads a message into its buffer and writes it from there: the copies that a socket of rings asks for. The
//!   client looks at the response in place and writes its request from one buffer. Buffers are large enough that nothing
//!   ever waits for a window.
//! - Nagle is off. smoltcp runs without congestion control, timestamps and SACK, which Luna runs with. "Offloaded" ignores
//!   all checksums here, whereas Luna still makes IPv4's and the pseudo-header's.

pub mod device;
mod end;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;

use crate::scenario::{EchoLoop, Report, Scenario, pattern};
use device::Lane;
use end::End;

/// The same as Luna's.
const STEP: Duration = Duration::from_micros(crate::echo::STEP.as_nanos() / 1_000);

/// How an end is driven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driving {
    /// By `Interface::poll`, the application behind it.
    Poll,
    /// The application between ingress and egress.
    Split,
}

/// A client and a server in one thread, connected.
pub struct SmoltcpEcho {
    driving: Driving,
    now: Instant,
    client: End,
    server: End,
    scenario: Scenario,
    /// A request as it goes out: room for the header, then the payload.
    message: Vec<u8>,
    /// The server's copy of a request.
    received: Vec<u8>,
    copied_by_apps: u64,
    done: u64,
}

impl SmoltcpEcho {
    /// Connects them.
    ///
    /// # Panics
    /// When the connection does not come about.
    #[must_use]
    pub fn new(scenario: Scenario, driving: Driving) -> Self {
        let Scenario { mtu, depth, size, checksums, .. } = scenario;
        let (there, back) = (Lane::new(mtu), Lane::new(mtu));
        let buffer = (2 * depth * (size as usize + end::HEADER)).max(256 << 10);
        let now = Instant::from_secs(1);
        let address = |n| Ipv4Address::new(10, 0, 0, n);
        let mut client = End::new(1, address(1), back.clone(), there.clone(), mtu, checksums, buffer, now);
        let mut server = End::new(2, address(2), there, back, mtu, checksums, buffer, now);
        server.listen(7000);
        client.connect(address(2), 7000);
        let length = end::HEADER + size as usize;
        let mut message = vec![0; length];
        message[end::HEADER..].iter_mut().enumerate().for_each(|(i, b)| *b = pattern(0, i));
        let received = vec![0; length];
        let mut echo = Self { driving, now, client, server, scenario, message, received, copied_by_apps: 0, done: 0 };
        for _ in 0..1000 {
            if echo.client.is_open() && echo.server.is_open() {
                return echo;
            }
            for end in [&mut echo.client, &mut echo.server] {
                end.ingress(echo.now);
                end.egress(echo.now);
            }
            echo.now += STEP;
        }
        panic!("the pair did not connect");
    }

    fn request(&mut self) {
        end::write_request(&mut self.message, self.done);
        let sent = self.client.socket().send_slice(&self.message).expect("connected");
        assert_eq!(sent, self.message.len(), "the buffer is large enough");
        self.copied_by_apps += u64::from(self.scenario.size);
    }

    fn run_with(&mut self, rpcs: u64, verify: bool) {
        let end = self.done + rpcs;
        let mut to_send = rpcs;
        for _ in 0..rpcs.min(self.scenario.depth as u64) {
            self.request();
            to_send -= 1;
        }
        let mut turns = 0;
        while self.done < end {
            self.client.take_in(self.now, self.driving);
            while self.client.take_response(&self.message, verify) {
                self.done += 1;
                if to_send > 0 {
                    self.request();
                    to_send -= 1;
                }
            }
            self.client.egress(self.now);
            self.server.take_in(self.now, self.driving);
            while self.server.answer(&mut self.received) {
                self.copied_by_apps += 2 * u64::from(self.scenario.size);
            }
            self.server.egress(self.now);
            self.now += STEP;
            turns += 1;
            assert!(turns < 1_000 * (rpcs + 1000), "the echo hangs");
        }
    }
}

impl EchoLoop for SmoltcpEcho {
    fn run(&mut self, rpcs: u64) {
        self.run_with(rpcs, false);
    }

    fn run_verified(&mut self, rpcs: u64) {
        self.run_with(rpcs, true);
    }

    fn report(&self) -> Report {
        let payload = 2 * self.done * u64::from(self.scenario.size);
        let (client, server) = (self.client.sent(), self.server.sent());
        Report {
            rpcs: self.done,
            frames: client + server,
            payload,
            // Each byte moves between a ring and a frame twice on its way, beside what the applications do.
            copied: 2 * payload + self.copied_by_apps,
            fast_path: 0,
        }
    }

    fn assert_healthy(&mut self) {
        assert!(self.client.is_open() && self.server.is_open());
        assert_eq!((self.client.dropped(), self.server.dropped()), (0, 0), "lossless");
        assert_eq!((self.client.socket().recv_queue(), self.server.socket().recv_queue()), (0, 0), "all was read");
    }
}

#[cfg(test)]
mod tests;
