//! What was sent and received, what may be sent next, and whether what came is what it should be: the same for both kinds
//! of end.

use core::time::Duration;
use std::time::Instant;

use super::spec::{EndSpec, Side, Work};

/// The stream repeats after this many bytes: more than any window here.
pub(crate) const PERIOD: u64 = 8 << 20;

/// One period of the stream that `from` sends (splitmix64 over the word's number).
pub(crate) fn stream(from: Side) -> Vec<u8> {
    let salt = if from == Side::Client { 1 } else { 1 << 40 };
    let mut out = Vec::with_capacity(PERIOD as usize);
    for i in 0..PERIOD / 8 {
        let mut z = (i + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    out
}

/// The state of an end, without its socket.
pub(crate) struct Ledger {
    side: Side,
    work: Work,
    /// What shall be sent in all; less when time runs out.
    total: u64,
    expected: Vec<u8>,
    began: Option<Instant>,
    first: Option<Instant>,
    pub(crate) sent: u64,
    pub(crate) got: u64,
    /// The peer finished sending, then.
    pub(crate) fin: Option<Instant>,
    progress: (u64, Instant),
}

impl Ledger {
    pub(crate) fn new(spec: &EndSpec) -> Self {
        let (other, total) = match spec.side {
            Side::Client => (Side::Server, spec.work.to_server),
            Side::Server => (Side::Client, spec.work.to_client),
        };
        Self {
            side: spec.side,
            work: spec.work,
            total,
            expected: stream(other),
            began: None,
            first: None,
            sent: 0,
            got: 0,
            fin: None,
            progress: (0, Instant::now()),
        }
    }

    /// The connection is there.
    pub(crate) fn begin(&mut self) {
        self.began = Some(Instant::now());
    }

    /// Bytes that may be sent now.
    pub(crate) fn may_send(&mut self) -> u64 {
        let Some(began) = self.began else { return 0 };
        if self.work.limit_ms.is_some_and(|ms| began.elapsed() >= Duration::from_millis(ms)) {
            self.total = self.sent.min(self.total);
        }
        let left = self.total - self.sent;
        match (self.side, self.work.rpc) {
            (Side::Server, _) if self.work.half_close && self.fin.is_none() => 0,
            (Side::Client, Some(rpc)) => left.min((rpc.size * rpc.depth).saturating_sub(self.sent - self.got)),
            // Whole requests only are answered.
            (Side::Server, Some(rpc)) => left.min((self.got / rpc.size * rpc.size).saturating_sub(self.sent)),
            (_, None) => left,
        }
    }

    /// Whether all was sent, so that this side can finish.
    pub(crate) fn sent_all(&mut self) -> bool {
        let waits = self.side == Side::Server && self.work.half_close && self.fin.is_none();
        self.may_send() == 0 && self.began.is_some() && self.sent == self.total && !waits
    }

    /// Takes in what came.
    ///
    /// # Panics
    /// When it is not what was sent.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.first.get_or_insert_with(Instant::now);
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = (self.got % PERIOD) as usize;
            let n = rest.len().min(self.expected.len() - at);
            assert!(
                rest[..n] == self.expected[at..at + n],
                "wrong bytes between {} and {}",
                self.got,
                self.got + n as u64
            );
            self.got += n as u64;
            rest = &rest[n..];
        }
    }

    /// The peer finished sending.
    pub(crate) fn finished(&mut self) {
        self.fin.get_or_insert_with(Instant::now);
    }

    /// How long receiving took.
    pub(crate) fn seconds(&self) -> f64 {
        match (self.first, self.fin) {
            (Some(first), Some(fin)) => (fin - first).as_secs_f64(),
            _ => 0.0,
        }
    }

    /// False when nothing has moved for `patience`. `moved` is anything that grows with progress.
    pub(crate) fn is_moving(&mut self, moved: u64, patience: Duration) -> bool {
        if self.progress.0 != moved {
            self.progress = (moved, Instant::now());
        }
        self.progress.1.elapsed() < patience
    }

    /// # Panics
    /// When a connection that finished has not carried all that it should.
    pub(crate) fn check_finished(&self) {
        let expected = match self.side {
            Side::Client => self.work.to_client,
            Side::Server => self.work.to_server,
        };
        if self.work.limit_ms.is_none() {
            assert_eq!(self.got, expected, "bytes received");
        }
        assert_eq!(self.sent, self.total, "bytes sent");
    }
}
