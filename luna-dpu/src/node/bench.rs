//! The benchmark's client: one connection that keeps `depth` requests in flight until `count` were answered, each
//! response compared with its request.

use luna_core::rpc::{
    ByteStream, CallError, CallId, FragVec, Handler, Request, Response, RpcError, SessionCx, Status, StreamError,
};
use luna_core::time::{Duration, Instant};
use luna_core::zbuf::{Frag, Pool};

use super::bench_types::{BenchError, BenchReport, ECHO};
use super::pattern;
use super::settings::Settings;

/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Its state.
pub(super) struct Bench {
    settings: Settings,
    payload: &'static Pool,
    common: FragVec,
    /// Requests begun, which also names them; each one's payload is of its name.
    begun: u64,
    completed: u32,
    /// When each request in flight was sent, by its number modulo the depth.
    sent: heapless::Vec<(u64, Instant), { super::settings::MAX_DEPTH as usize }>,
    /// Slots whose request found no room.
    waiting: heapless::Vec<u8, { super::settings::MAX_DEPTH as usize }>,
    first: Option<Instant>,
    report: BenchReport,
    failure: Option<BenchError>,
}

impl Bench {
    pub(super) fn new(settings: Settings, payload: &'static Pool) -> Option<Self> {
        Some(Self {
            settings,
            payload,
            common: FragVec::new(),
            begun: 0,
            completed: 0,
            sent: heapless::Vec::new(),
            waiting: heapless::Vec::new(),
            first: None,
            report: BenchReport { fastest: Duration::from_secs(1 << 30), ..BenchReport::default() },
            failure: None,
        })
    }

    pub(super) fn failure(&self) -> Option<BenchError> {
        self.failure
    }

    pub(super) fn report(&self) -> BenchReport {
        self.report
    }

    pub(super) fn fail(&mut self, e: BenchError) {
        self.failure.get_or_insert(e);
    }

    pub(super) fn is_over(&self) -> bool {
        self.failure.is_some() || self.completed >= self.settings.count
    }

    /// All slots want to send.
    pub(super) fn begin(&mut self) {
        for slot in 0..self.settings.depth.min(self.settings.count.min(u32::from(u16::MAX)) as u16) {
            // Both have room for the greatest depth.
            let _ = self.waiting.push(slot as u8);
            let _ = self.sent.push((0, Instant::ZERO));
        }
    }

    /// Sends what waits.
    pub(super) fn fill<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>) {
        while let Some(slot) = self.waiting.pop() {
            if !self.send(cx, slot) {
                let _ = self.waiting.push(slot);
                return;
            }
        }
    }

    /// Payload of request `seed`; false without memory.
    fn payload(&self, seed: u64, out: &mut FragVec) -> bool {
        let mut done = 0;
        while done < self.settings.size {
            let len = self.payload.data_capacity().min(self.settings.size - done);
            let Some(mut obj) = self.payload.alloc_len(len) else { return false };
            pattern::fill(&mut obj, seed, done as usize);
            if out.push(Frag::from(obj.freeze())).is_err() {
                return false;
            }
            done += len;
        }
        true
    }

    /// One more request; false when it has to wait.
    fn send<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, slot: u8) -> bool {
        if self.failure.is_some() || self.begun >= u64::from(self.settings.count) {
            return true;
        }
        let mut iov = FragVec::new();
        let seed = self.begun;
        let ready = if self.settings.verify {
            self.payload(seed, &mut iov)
        } else {
            if self.common.is_empty() {
                let mut common = FragVec::new();
                self.payload(0, &mut common);
                self.common = common;
            }
            self.common.iter().all(|frag| iov.push(frag.clone()).is_ok()) && !iov.is_empty()
        };
        if !ready {
            return false;
        }
        let now = cx.now();
        match cx.call(ECHO, &[], &mut iov, Some(DEADLINE), u64::from(slot)) {
            Ok(_) => {
                self.begun += 1;
                self.first.get_or_insert(now);
                if let Some(sent) = self.sent.get_mut(usize::from(slot)) {
                    *sent = (seed, now);
                }
                true
            }
            Err(CallError::Stream(StreamError::Full) | CallError::NoObj | CallError::TooManyInFlight) => false,
            Err(e) => {
                self.fail(BenchError::NotSent(e));
                true
            }
        }
    }
}

impl Handler for Bench {
    fn on_request<S: ByteStream>(&mut self, cx: &mut SessionCx<'_, '_, S>, _: Request<'_>) {
        // The session answers in our stead should this fail.
        let _ = cx.reply_status(Status::NO_METHOD);
    }

    fn on_response<S: ByteStream>(
        &mut self,
        cx: &mut SessionCx<'_, '_, S>,
        _: CallId,
        user: u64,
        result: Result<Response<'_>, RpcError>,
    ) {
        let Some(&(seed, sent)) = self.sent.get(user as usize) else { return };
        match result {
            Err(e) => return self.fail(BenchError::Call(e)),
            Ok(r) if !r.status.is_ok() => return self.fail(BenchError::Refused(r.status)),
            Ok(r) => {
                let mut at = 0;
                let right = r.payload.pieces().all(|bytes| {
                    let right = !self.settings.verify || pattern::matches(bytes, seed, at);
                    at += bytes.len();
                    right
                });
                if !right || at != self.settings.size as usize {
                    return self.fail(BenchError::Mismatch(seed));
                }
            }
        }
        let now = cx.now();
        let took = now.since(sent);
        self.completed += 1;
        self.report.completed = self.completed;
        self.report.fastest = self.report.fastest.min(took);
        self.report.slowest = self.report.slowest.max(took);
        self.report.elapsed = now.since(self.first.unwrap_or(now));
        if !self.send(cx, user as u8) {
            let _ = self.waiting.push(user as u8);
        }
    }
}
