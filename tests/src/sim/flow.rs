//! A flow: one connection, what is to pass over it, how it is to end, and what has passed.

use core::net::SocketAddr;
use std::collections::VecDeque;

use luna_core::stack::{Closed, ConnId};
use luna_core::zbuf::Zbuf;

use super::events::Time;
use super::guest::Guest;
use super::pattern::Pattern;

/// The end that connects; the other is [`SERVER`].
pub const CLIENT: usize = 0;
/// The end that listens.
pub const SERVER: usize = 1;

/// How much is given to one send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chunks {
    /// Always so much.
    Fixed(u32),
    /// Anything up to this.
    UpTo(u32),
    /// So many single bytes first, then as [`Chunks::UpTo`] 16 KiB.
    Bytes(u32),
    /// A small head as protocols above have one, then a body.
    Headed(u32),
}

/// What becomes of received data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// Used up at once.
    Prompt,
    /// Each piece is kept for so long.
    Holds(Time),
    /// From this byte on everything is kept, for so long.
    Stops(u64, Time),
    /// Sent back as it is: the server of an echo.
    Echoes,
}

/// How a connection is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// One connects, the other listens.
    Usual,
    /// Both connect to each other at one moment.
    Simultaneous,
    /// Nobody listens.
    Refused,
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// This side closes when everything passed both ways, the other when it sees that.
    Closes(usize),
    /// Both close at one moment.
    BothClose,
    /// The same, and this side's application waits only so long for the other's end, then aborts.
    Impatient(usize, Time),
    /// This side finishes sending as soon as it can; the other's last part comes only then.
    HalfCloses(usize),
    /// Both finish sending as soon as they can, and nobody calls `close`.
    BothShutDown,
    /// This side aborts after so many bytes received.
    Aborts(usize, u64),
    /// This side closes after so many bytes received, although more comes.
    ClosesEarly(usize, u64),
    /// After so many bytes received this side's memory is taken away (revoked), whatever of it is still to be sent.
    Revokes(usize, u64),
    /// The network dies for ever once nothing else is left.
    PathDies,
}

impl Ending {
    /// Whether everything passes.
    #[must_use]
    pub fn complete(self) -> bool {
        matches!(
            self,
            Self::Closes(_) | Self::BothClose | Self::Impatient(..) | Self::HalfCloses(_) | Self::BothShutDown
        )
    }

    /// Whether both sides close at one moment.
    #[must_use]
    pub fn at_one_moment(self) -> bool {
        matches!(self, Self::BothClose | Self::Impatient(..))
    }

    /// When a side whose application called `close` at `closed` aborts.
    #[must_use]
    pub fn patience(self, side: usize, closed: Option<Time>) -> Option<Time> {
        match self {
            Self::Impatient(who, after) if who == side => closed.map(|t| t + after),
            _ => None,
        }
    }

    /// Whether a side ends it before everything passed.
    #[must_use]
    pub fn is_abort(self) -> bool {
        matches!(self, Self::Aborts(..) | Self::ClosesEarly(..) | Self::Revokes(..))
    }
}

/// One direction's plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Half {
    /// Bytes to send.
    pub total: u64,
    /// In what pieces.
    pub chunks: Chunks,
    /// What this side does with what it receives.
    pub reader: Reader,
    /// After so many bytes the sender rests for so long.
    pub rest: Option<(u64, Time)>,
    /// It is sent from foreign memory, where there is some.
    pub foreign: bool,
}

/// The plan of a flow.
#[derive(Clone, Debug)]
pub struct FlowPlan {
    /// The stacks of client and server.
    pub stacks: [usize; 2],
    /// Their addresses; port 0 of a client is chosen by its stack.
    pub addrs: [SocketAddr; 2],
    /// When it begins.
    pub start: Time,
    /// How it is opened.
    pub opening: Opening,
    /// How it ends.
    pub ending: Ending,
    /// What either side does.
    pub halves: [Half; 2],
}

/// A send that was accepted and is not released.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    /// Its token.
    pub token: u64,
    /// Where its bytes end in the stream.
    pub end: u64,
    /// Received memory that goes out again with it.
    pub pins: u32,
    /// Objs of the application's pool that it holds.
    pub objs: usize,
    /// Buffers of foreign memory, by bit.
    pub lent: u32,
}

/// Received data that is kept.
pub struct Held {
    /// The view.
    pub data: Zbuf,
    /// What it pins.
    pub size: u32,
    /// When it is given back.
    pub until: Time,
}

/// What one side did and saw.
#[derive(Default)]
pub struct Side {
    /// Its connection, once there is one.
    pub conn: Option<ConnId>,
    /// `connect` was called, or the connection accepted.
    pub known: bool,
    /// It is established.
    pub open: bool,
    /// Bytes given to sends.
    pub queued: u64,
    /// Bytes acknowledged, as told by released sends.
    pub acked: u64,
    /// Bytes received.
    pub received: u64,
    /// Sends not yet released, in order.
    pub pending: VecDeque<Pending>,
    /// Tokens given so far.
    pub tokens: u64,
    /// Objs of the application's pool that pending sends hold.
    pub objs: usize,
    /// Sends released as aborted.
    pub aborted: u64,
    /// A send was refused; wait to be told.
    pub blocked: bool,
    /// Told that the other side finished.
    pub fin: bool,
    /// `shutdown` was called.
    pub shut: bool,
    /// Its foreign memory.
    pub guest: Option<Guest>,
    /// Which was taken away.
    pub revoked: bool,
    /// `close` or `abort` was called.
    pub left: bool,
    /// How it ended.
    pub closed: Option<Closed>,
    /// Data kept.
    pub held: VecDeque<Held>,
    /// Data to be sent back.
    pub backlog: VecDeque<Zbuf>,
    /// It stopped reading, until then.
    pub stopped: Option<Time>,
    /// It rests until then.
    pub resting: Option<Time>,
    /// It has rested.
    pub rested: bool,
    /// When anything last moved.
    pub moved: Time,
}

/// A flow under way.
pub struct Flow {
    /// Its plan.
    pub plan: FlowPlan,
    /// Its number.
    pub index: usize,
    /// Both ends.
    pub sides: [Side; 2],
    /// Its server may answer it with a cookie, which opens a connection again whose first segment comes again.
    pub cookies: bool,
    /// When both shall close.
    pub close_at: Option<Time>,
}

impl Flow {
    /// A flow that has not begun.
    #[must_use]
    pub fn new(index: usize, plan: FlowPlan) -> Self {
        Self { plan, index, sides: Default::default(), cookies: false, close_at: None }
    }

    /// What `side` sends.
    #[must_use]
    pub fn pattern(&self, side: usize) -> Pattern {
        // An echo carries its client's bytes both ways.
        let side = if self.plan.halves[SERVER].reader == Reader::Echoes { CLIENT } else { side };
        Pattern((self.index as u64 * 2 + side as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// Everything is queued and received on this side.
    #[must_use]
    pub fn complete(&self, side: usize) -> bool {
        let s = &self.sides[side];
        s.queued == self.plan.halves[side].total && s.received == self.plan.halves[1 - side].total
    }

    /// Nothing more will happen.
    #[must_use]
    pub fn over(&self) -> bool {
        match self.plan.opening {
            Opening::Refused => self.sides[CLIENT].closed.is_some(),
            _ => {
                let done = |s: &Side| s.known && s.closed.is_some() && s.held.is_empty();
                // The client may have given up before the server knew of it.
                let [c, s] = &self.sides;
                done(c) && (done(s) || !s.known && (self.cookies || !self.plan.ending.complete()))
            }
        }
    }

    /// When anything last moved on either side.
    #[must_use]
    pub fn moved(&self) -> Time {
        self.sides[0].moved.max(self.sides[1].moved)
    }
}
