//! The PL011 UART: what a console needs of it, which is to put bytes out. Firmware or QEMU has set the line up.

use core::fmt;

use crate::mmio::Registers;

const DR: usize = 0x00;
const FR: usize = 0x18;
/// The transmit FIFO is full.
const TXFF: u32 = 1 << 5;
/// Looks at a full FIFO before the byte is given up: a UART that is switched off must not stop a core.
const PATIENCE: u32 = 1_000_000;

/// A PL011.
#[derive(Debug)]
pub struct Pl011<R> {
    registers: R,
}

impl<R: Registers> Pl011<R> {
    /// The UART at `registers`.
    pub const fn new(registers: R) -> Self {
        Self { registers }
    }

    /// Puts one byte out, when there is room for it.
    pub fn put(&mut self, byte: u8) {
        for _ in 0..PATIENCE {
            if self.registers.read32(FR) & TXFF == 0 {
                return self.registers.write32(DR, u32::from(byte));
            }
        }
    }
}

impl<R: Registers> fmt::Write for Pl011<R> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            if byte == b'\n' {
                self.put(b'\r');
            }
            self.put(byte);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::cell::{Cell, RefCell};
    use core::fmt::Write;

    use super::*;

    /// Takes a byte every third look.
    #[derive(Default)]
    struct Slow {
        looks: Cell<u32>,
        line: RefCell<Vec<u8>>,
    }

    impl Registers for &Slow {
        fn read8(&self, _: usize) -> u8 {
            unreachable!()
        }
        fn read16(&self, _: usize) -> u16 {
            unreachable!()
        }
        fn read32(&self, offset: usize) -> u32 {
            assert_eq!(offset, FR);
            self.looks.set(self.looks.get() + 1);
            if self.looks.get().is_multiple_of(3) { 0 } else { TXFF }
        }
        fn write8(&self, _: usize, _: u8) {
            unreachable!()
        }
        fn write16(&self, _: usize, _: u16) {
            unreachable!()
        }
        fn write32(&self, offset: usize, value: u32) {
            assert_eq!((offset, self.looks.get() % 3), (DR, 0), "a byte for a full FIFO");
            self.line.borrow_mut().push(value as u8);
        }
    }

    #[test]
    fn waits_for_room_and_ends_lines_as_terminals_want() {
        let slow = Slow::default();
        writeln!(Pl011::new(&slow), "ab {}", 7).unwrap();
        assert_eq!(slow.line.borrow().as_slice(), b"ab 7\r\n");
    }
}
