//! Short sleeps of a core that has nothing to do, so that others get its time: hyperthreads on hardware, QEMU's other
//! threads on a machine that is emulated.
//!
//! The virtual timer's interrupt ends the sleep. It is pending for the core, which is what `wfi` waits for, and never
//! taken: interrupts stay masked, and stopping the timer takes it back.

use core::arch::asm;

use arm_gic::gicv3::registers::{Gicd, GicdCtlr, GicrSgi};
use arm_gic::gicv3::{GicCpuInterface, GicDistributor, GicRedistributor};
use arm_gic::{IntId, gicv3::Group};
use luna_core::time::Duration;
use safe_mmio::UniqueMmioPointer;

use super::{counter, level};
use crate::mmio::Mmio;

/// The virtual timer's interrupt (Base System Architecture: INTID 27).
const TIMER: IntId = IntId::ppi(11);
/// Timer runs, its interrupt is not masked; it is stopped.
const ON: u64 = 1;
const OFF: u64 = 0;

/// What lets this core sleep.
#[derive(Debug)]
pub struct Nap(());

impl Nap {
    /// Sets up the timer's interrupt at a GICv3: `distributor` is the machine's, `redistributor` this core's two frames.
    /// `None` at other levels than EL1, where the interrupt would be somebody else's, or when the registers are no GIC's.
    #[cold]
    #[must_use]
    pub fn new(distributor: &Mmio, redistributor: &Mmio) -> Option<Self> {
        if level() != 1 || distributor.len() < size_of::<Gicd>() || redistributor.len() < size_of::<GicrSgi>() {
            return None;
        }
        // SAFETY: mapped registers, by `Mmio`'s contract. Cores may do this at the same time: all set the same bits.
        let distributor = unsafe { UniqueMmioPointer::new(distributor.base().cast::<Gicd>()) };
        let mut distributor = GicDistributor::new(distributor);
        distributor.modify_control(GicdCtlr::ARE_NS, true);
        distributor.modify_control(GicdCtlr::EnableGrp1NS, true);
        // SAFETY: likewise; the frames are this core's alone.
        let redistributor = unsafe { UniqueMmioPointer::new(redistributor.base().cast::<GicrSgi>()) };
        let mut redistributor = GicRedistributor::new(redistributor);
        // An error says that it is awake.
        let _ = redistributor.mark_core_awake();
        redistributor.set_group(TIMER, Group::Group1NS).ok()?;
        redistributor.set_interrupt_priority(TIMER, 0x80).ok()?;
        redistributor.enable_interrupt(TIMER, true).ok()?;
        GicCpuInterface::enable_system_register_el1();
        GicCpuInterface::set_priority_mask(0xff);
        GicCpuInterface::enable_group1(true);
        Some(Self(()))
    }

    /// Sleeps for `ticks` of [`counter`], or shorter: anything may end it.
    pub fn take(&self, ticks: u64) {
        let until = counter().wrapping_add(ticks);
        // SAFETY: the timer is this core's and used for nothing else; its interrupt is masked at the core (`daif`, from the
        // start), so that nothing is taken. Once it is stopped it is not pending any more.
        unsafe {
            asm!(
                "msr cntv_cval_el0, {until}",
                "msr cntv_ctl_el0, {on}",
                "isb",
                "wfi",
                "msr cntv_ctl_el0, {off}",
                "isb",
                until = in(reg) until,
                on = in(reg) ON,
                off = in(reg) OFF,
                options(nomem, nostack, preserves_flags)
            );
        }
    }
}

/// Idle turns behind the last frame before a core sleeps.
const SPINS: u32 = 16;
/// How often it looks at its queue then: 20,000 times a second.
const NAPS_PER_SECOND: u64 = 20_000;

/// What a core does with turns that have nothing to do: spins for a few, then sleeps where it can.
#[derive(Debug)]
pub struct Idler {
    nap: Option<Nap>,
    hz: u64,
    /// Frames that had arrived when the last one did, and idle turns since.
    frames: u64,
    spins: u32,
}

impl Idler {
    /// With a counter of `hz`; without a [`Nap`] it only spins.
    #[must_use]
    pub const fn new(nap: Option<Nap>, hz: u64) -> Self {
        Self { nap, hz, frames: 0, spins: 0 }
    }

    /// A turn had nothing to do: `frames` have arrived so far, and the next timer is due in `next`. Whether it slept.
    #[inline]
    pub fn idle(&mut self, frames: u64, next: Duration) -> bool {
        if frames != self.frames {
            self.frames = frames;
            self.spins = 0;
        }
        self.spins = self.spins.saturating_add(1);
        match &self.nap {
            Some(nap) if self.spins > SPINS => {
                let most = self.hz / NAPS_PER_SECOND;
                nap.take(most.min(next.as_nanos().saturating_mul(self.hz / 1_000_000) / 1000));
                true
            }
            _ => {
                core::hint::spin_loop();
                false
            }
        }
    }
}
