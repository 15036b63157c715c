//! One connection between two ends over a network: started, waited for, and what both report.

use core::net::SocketAddr;
use std::path::Path;

use super::children::Role;
use super::net::{self, Net, NetSpec};
use super::spec::{EndSpec, Ending, LunaPort, Pause, RelaySpec, Report, Side, Work};

/// Which TCP an end runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Linux,
    /// Over AF_XDP.
    Luna,
    /// Over a tap.
    LunaTap,
}

impl Kind {
    fn is_luna(self) -> bool {
        self != Self::Linux
    }
}

/// What is particular to one end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) kind: Kind,
    pub(crate) window: Option<u32>,
    pub(crate) pause: Option<Pause>,
    pub(crate) ending: Ending,
}

impl Manner {
    pub(crate) const fn plain(kind: Kind) -> Self {
        Self { kind, window: None, pause: None, ending: Ending::Finished }
    }
}

/// A connection and its surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) v6: bool,
    pub(crate) mtu: u16,
    pub(crate) congestion: String,
    pub(crate) loss_per_million: u32,
    pub(crate) relay: Option<RelaySpec>,
    pub(crate) work: Work,
    pub(crate) client: Manner,
    pub(crate) server: Manner,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Played {
    pub(crate) client: Report,
    pub(crate) server: Report,
    /// Packets lost on purpose.
    pub(crate) lost: u64,
    /// Packets that found the router's queue full.
    pub(crate) overflowed: u64,
}

const CLIENT_PORT: u16 = 61_500;
const SERVER_PORT: u16 = 7000;

impl Scene {
    fn end(&self, side: Side, net: &Net) -> EndSpec {
        let (own, other) = match side {
            Side::Client => (self.client, self.server),
            Side::Server => (self.server, self.client),
        };
        let at = |side| {
            let port = if side == Side::Client { CLIENT_PORT } else { SERVER_PORT };
            SocketAddr::new(net::address(side, self.v6), port)
        };
        let luna = own.kind.is_luna().then(|| {
            let on_tap = own.kind == Kind::LunaTap;
            let shaped = net.of(side) == net.router();
            LunaPort {
                tap: on_tap.then(|| (net::port(side).to_owned(), net::mac(side, false))),
                mtu: self.mtu,
                gateway: net::gateway(side, self.v6),
                gateway_mac: net::mac(side, true),
                then: if on_tap { net::port_commands(side, self.mtu, true, shaped) } else { Vec::new() },
                interop: !other.kind.is_luna(),
            }
        });
        EndSpec {
            side,
            local: at(side),
            remote: at(if side == Side::Client { Side::Server } else { Side::Client }),
            congestion: self.congestion.clone(),
            work: self.work,
            window: own.window,
            pause: own.pause,
            ending: own.ending,
            luna,
        }
    }

    /// Plays it, with a capture at `capture`.
    pub(crate) fn play(&self, capture: Option<&Path>) -> Result<Played, String> {
        let net = Net::make(NetSpec {
            mtu: self.mtu,
            client_on_tap: self.client.kind == Kind::LunaTap,
            server_on_tap: self.server.kind == Kind::LunaTap,
            relay: self.relay.is_some(),
            loss_per_million: self.loss_per_million,
        });
        let relay = match &self.relay {
            None => None,
            Some(spec) => {
                let mut relay = Role::start("relay", net.router(), spec);
                relay.wait_for("ready")?;
                net.join();
                Some(relay)
            }
        };
        let capture = match capture {
            None => None,
            Some(path) => {
                let mut capture = Role::start("capture", net.router(), &path.display().to_string());
                capture.wait_for("ready")?;
                Some(capture)
            }
        };
        let mut server = Role::start(role(self.server.kind), net.of(Side::Server), &self.end(Side::Server, &net));
        server.wait_for("ready")?;
        let mut client = Role::start(role(self.client.kind), net.of(Side::Client), &self.end(Side::Client, &net));
        client.wait_for("ready")?;
        let report = |role: &mut Role| -> Result<Report, String> {
            serde_json::from_str(&role.wait_for("report")?).map_err(|e| e.to_string())
        };
        // The client's word first: a server may wait for its last acknowledgment.
        let reports = report(&mut client).and_then(|c| Ok((c, report(&mut server)?)));
        let (lost, overflowed) = (net.lost(), net.overflowed());
        let (client_report, server_report) = reports?;
        client.end()?;
        server.end()?;
        for role in [relay, capture].into_iter().flatten() {
            role.end()?;
        }
        Ok(Played { client: client_report, server: server_report, lost, overflowed })
    }
}

fn role(kind: Kind) -> &'static str {
    if kind.is_luna() { "luna" } else { "linux" }
}
