//! In an image that only serves, what stands for the benchmark's client: a type that has no value, so that everything
//! about it compiles to nothing.

use luna_core::rpc::{ByteStream, CallId, Handler, Request, Response, RpcError, SessionCx};
use luna_core::zbuf::Pool;

use super::bench_types::{BenchError, BenchReport};
use super::settings::Settings;

/// No client.
pub(super) enum Bench {}

impl Bench {
    pub(super) const fn new(_: Settings, _: &'static Pool) -> Option<Self> {
        None
    }

    pub(super) fn fail(&mut self, _: BenchError) {
        match *self {}
    }

    pub(super) fn failure(&self) -> Option<BenchError> {
        match *self {}
    }

    pub(super) fn report(&self) -> BenchReport {
        match *self {}
    }

    pub(super) fn is_over(&self) -> bool {
        match *self {}
    }

    pub(super) fn begin(&mut self) {
        match *self {}
    }

    pub(super) fn fill<S: ByteStream>(&mut self, _: &mut SessionCx<'_, '_, S>) {
        match *self {}
    }
}

impl Handler for Bench {
    fn on_request<S: ByteStream>(&mut self, _: &mut SessionCx<'_, '_, S>, _: Request<'_>) {
        match *self {}
    }

    fn on_response<S: ByteStream>(
        &mut self,
        _: &mut SessionCx<'_, '_, S>,
        _: CallId,
        _: u64,
        _: Result<Response<'_>, RpcError>,
    ) {
        match *self {}
    }
}
