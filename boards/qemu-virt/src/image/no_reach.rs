//! Instead of `luna_dpu::machine::Reach` in an image that leaves an SMMU off: devices reach all memory.

use luna_dpu::arena::Arena;
use luna_dpu::mmio::Mmio;
use luna_dpu::smmu::{MapError, SmmuError};

#[derive(Default)]
pub(super) struct Reach(());

impl Reach {
    pub(super) fn through(_: Mmio, _: &mut Arena) -> Result<Self, SmmuError> {
        Ok(Self(()))
    }

    /// # Safety
    /// None: the SMMU lets everything pass.
    pub(super) unsafe fn of(&mut self, _: &str, _: Option<u32>, memory: Arena) -> Result<Arena, SmmuError> {
        Ok(memory)
    }

    /// There is nothing to stray from.
    pub(super) fn lay_canary(&mut self, _: Option<Arena>) -> Result<(), MapError> {
        Err(MapError::OutOfRange)
    }

    pub(super) fn astray(&self, memory: Arena) -> Result<Arena, MapError> {
        Ok(memory)
    }

    pub(super) fn strayed(&mut self, _: u64) -> bool {
        false
    }
}
