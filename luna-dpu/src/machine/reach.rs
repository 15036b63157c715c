//! What devices reach: what was mapped for them, where an SMMU is in their way; else all memory.

use super::stray::Canary;
use crate::arena::Arena;
use crate::mmio::Mmio;
use crate::say;
use crate::smmu::{self, MapError, Smmu, SmmuError};

/// Events that are said each.
const SAID: u32 = 4;

/// The SMMU, if there is one, and what it refused: one core looks after it.
#[derive(Default)]
pub struct Reach {
    smmu: Option<Smmu<Mmio>>,
    canary: Option<Canary>,
}

impl Reach {
    /// Switches the SMMU at `registers` on, with [`smmu::MEMORY`] bytes of `arena`: devices behind it reach nothing from now
    /// on.
    ///
    /// # Errors
    /// [`SmmuError`].
    pub fn through(registers: Mmio, arena: &mut Arena) -> Result<Self, SmmuError> {
        let mut memory = arena.split(smmu::MEMORY, 4096).ok_or(SmmuError::NoMemory)?;
        Ok(Self { smmu: Some(Smmu::take(registers, &mut memory)?), canary: None })
    }

    /// `memory`, which the device `who` reaches: through the SMMU when that knows it as `stream`, else where it is.
    ///
    /// # Errors
    /// [`SmmuError`].
    ///
    /// # Safety
    /// The device goes through the SMMU exactly when `stream` is its number there; no other device is told of the memory.
    pub unsafe fn of(&mut self, who: &str, stream: Option<u32>, memory: Arena) -> Result<Arena, SmmuError> {
        let (Some(smmu), Some(stream)) = (&mut self.smmu, stream) else { return Ok(memory) };
        let (there, len) = (memory.io_addr().0, memory.left());
        // SAFETY: by contract.
        let memory = unsafe { memory.through(smmu) }.map_err(SmmuError::Map)?;
        smmu.attach(stream)?;
        let io = memory.io_addr().0;
        say!("SMMUv3: the {who} device (stream {stream:#x}) reaches {} KiB at {there:#x} as {io:#x}", len >> 10);
        Ok(memory)
    }

    /// From now on, [`Reach::astray`] sends devices to `memory`, which [`Reach::strayed`] looks at.
    ///
    /// # Errors
    /// [`MapError::NoMemory`].
    pub fn lay_canary(&mut self, memory: Option<Arena>) -> Result<(), MapError> {
        self.canary = Some(memory.and_then(Canary::new).ok_or(MapError::NoMemory)?);
        Ok(())
    }

    /// `memory`, for which devices are sent to where they must not, if that is wanted.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn astray(&self, memory: Arena) -> Result<Arena, MapError> {
        match &self.canary {
            Some(canary) => canary.instead_of(memory),
            None => Ok(memory),
        }
    }

    /// Whether a device reached for memory that is not its own, `frames` having arrived so far; then it was said. Costs a
    /// look at memory.
    #[inline]
    pub fn strayed(&mut self, frames: u64) -> bool {
        (self.smmu.as_ref().is_some_and(Smmu::has_events) || frames > 0 && self.canary.is_some()) && self.look()
    }

    #[cold]
    fn look(&mut self) -> bool {
        let mut refused = 0;
        if let Some(smmu) = &mut self.smmu {
            smmu.poll_events(|event| {
                refused += 1;
                if refused <= SAID {
                    say!("{event}");
                }
            });
        }
        if refused > 0 {
            say!("the SMMU refused {refused} accesses of a device");
        }
        if let Some(canary) = &self.canary {
            match canary.changed() {
                0 if refused > 0 => say!("all {} bytes where the device was sent are as they were", canary.len()),
                0 => {}
                changed => {
                    say!("a device wrote {changed} bytes where it must not");
                    return true;
                }
            }
        }
        refused > 0
    }
}
