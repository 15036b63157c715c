//! In a build without packed rings, what stands for one: a type that has no value, so that every ring is a split one.

use super::{Buffer, Fault, Returned};
use crate::dma::DmaPiece;

pub(super) const fn driver_at(_: u16) -> usize {
    0
}

pub(super) const fn device_at(_: u16) -> usize {
    0
}

pub(super) const fn memory(_: u16) -> usize {
    0
}

/// No ring.
pub(super) enum Packed {}

impl Packed {
    pub(super) const fn new(_: &DmaPiece, _: u16, _: bool) -> Option<Self> {
        None
    }

    pub(super) fn describe(&mut self, _: u16, _: Buffer) {
        match *self {}
    }

    pub(super) fn end(&mut self, _: u16) {
        match *self {}
    }

    pub(super) fn publish(&mut self) -> bool {
        match *self {}
    }

    pub(super) fn next(&mut self) -> Result<Option<Returned>, Fault> {
        match *self {}
    }

    pub(super) fn advance(&mut self, _: u16) {
        match *self {}
    }
}
