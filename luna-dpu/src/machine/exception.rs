//! Exceptions: nothing here takes an interrupt or expects a fault, so that every one is the end, and says where and why.

use core::arch::asm;

use aarch64_rt::{ExceptionHandlers, RegisterStateRef};

use super::exit::{EXIT_PANIC, exit};

/// The handlers, for `aarch64_rt::exception_handlers!`.
#[derive(Debug)]
pub struct Exceptions;

impl ExceptionHandlers for Exceptions {
    extern "C" fn sync_current(state: RegisterStateRef<'_>) {
        end("synchronous exception", &state)
    }
    extern "C" fn irq_current(state: RegisterStateRef<'_>) {
        end("IRQ", &state)
    }
    extern "C" fn fiq_current(state: RegisterStateRef<'_>) {
        end("FIQ", &state)
    }
    extern "C" fn serror_current(state: RegisterStateRef<'_>) {
        end("SError", &state)
    }
    extern "C" fn sync_lower(state: RegisterStateRef<'_>) {
        end("synchronous exception of a lower level", &state)
    }
    extern "C" fn irq_lower(state: RegisterStateRef<'_>) {
        end("IRQ of a lower level", &state)
    }
    extern "C" fn fiq_lower(state: RegisterStateRef<'_>) {
        end("FIQ of a lower level", &state)
    }
    extern "C" fn serror_lower(state: RegisterStateRef<'_>) {
        end("SError of a lower level", &state)
    }
}

/// What the syndrome's class says (Arm ARM, ESR_ELx.EC).
fn class(esr: u64) -> &'static str {
    match esr >> 26 & 0x3f {
        0x00 => "unknown instruction",
        0x07 => "floating point is off",
        0x0e => "illegal execution state",
        0x16 => "HVC",
        0x17 => "SMC",
        0x18 => "system register",
        0x20 | 0x21 => "instruction abort",
        0x22 => "misaligned program counter",
        0x24 | 0x25 => "data abort",
        0x26 => "misaligned stack pointer",
        0x2f => "SError",
        0x3c => "breakpoint",
        _ => "other",
    }
}

fn end(what: &str, state: &RegisterStateRef<'_>) -> ! {
    let (esr, far): (u64, u64);
    // SAFETY: reads the syndrome and fault address of the level that took the exception.
    unsafe {
        match super::level() {
            2 => {
                asm!("mrs {}, esr_el2", "mrs {}, far_el2", out(reg) esr, out(reg) far, options(nomem, nostack));
            }
            3 => {
                asm!("mrs {}, esr_el3", "mrs {}, far_el3", out(reg) esr, out(reg) far, options(nomem, nostack));
            }
            _ => {
                asm!("mrs {}, esr_el1", "mrs {}, far_el1", out(reg) esr, out(reg) far, options(nomem, nostack));
            }
        }
    }
    let console = super::console();
    console.last_line(format_args!(
        "core {:#x}: {what}: {} (ESR {esr:#x}) at {:#x}, address {far:#x}, SPSR {:#x}",
        super::core_id(),
        class(esr),
        state.elr,
        state.spsr
    ));
    for (i, value) in state.registers.iter().enumerate() {
        console.last_line(format_args!("  x{i:<2} {value:#018x}"));
    }
    exit(EXIT_PANIC)
}
