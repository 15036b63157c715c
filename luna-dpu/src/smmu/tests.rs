//! The driver against an SMMU in plain Rust that walks its tables.

use std::vec::Vec;

use super::device::*;
use super::fake::{Fake, Refused};
use super::*;
use crate::mmio::Registers;
use crate::virtio::ring::fake::area;

/// As QEMU 7.2 has it: stage 1, AArch64; 2^19 commands and events, 16 bits of stream; 44 bits, granules of 4, 16, 64 KiB.
const IDR: (u32, u32, u32) = (0x2 | 0x8, 19 << 21 | 19 << 16 | 16, 0x74);

const PAGE: u64 = 4096;
const BLOCK: u64 = 2 << 20;
const RAM: u64 = 1 << 40;

fn smmu() -> (Fake, Smmu<Fake>) {
    let fake = Fake::new(IDR.0, IDR.1, IDR.2);
    let smmu = Smmu::new(fake.clone(), &mut area(1 << 16), area(1 << 19)).ok().unwrap();
    (fake, smmu)
}

#[test]
fn without_an_smmu_addresses_are_physical_or_at_a_distance() {
    assert_eq!(Identity.map(RAM, PAGE), Ok(IoAddr(RAM)));
    assert_eq!(Offset(0x1000).map(RAM, PAGE), Ok(IoAddr(RAM + 0x1000)));
    assert_eq!(Offset(0u64.wrapping_sub(RAM)).map(RAM + PAGE, PAGE), Ok(IoAddr(PAGE)));
    for (pa, len, why) in [
        (1, PAGE, MapError::Misaligned),
        (PAGE, 10, MapError::Misaligned),
        (0, 0, MapError::OutOfRange),
        (u64::MAX - 4095, PAGE, MapError::OutOfRange),
        (1 << 48, PAGE, MapError::OutOfRange),
    ] {
        assert_eq!((Identity.map(pa, len), Offset(0).map(pa, len)), (Err(why), Err(why)));
    }
}

#[test]
fn nothing_is_reached_before_it_is_attached_and_mapped() {
    let (fake, mut smmu) = smmu();
    assert_eq!(fake.translate(8, 1 << 36), Err(Refused::Entry));
    let io = smmu.map(RAM, 4 * BLOCK).unwrap().0;
    assert_eq!(fake.translate(8, io), Err(Refused::Entry), "mapped, but not for it");
    fake.commands();
    smmu.attach(8).unwrap();
    assert_eq!(fake.commands(), [CMD_CFGI_ALL, CMD_TLBI_NSNH_ALL, CMD_SYNC], "it is told");
    assert_eq!(fake.translate(8, io), Ok(RAM));
    assert_eq!(fake.translate(9, io), Err(Refused::Entry), "its neighbour still not");
    assert_eq!(fake.translate(256, io), Err(Refused::Stream));
    assert_eq!(smmu.attach(256), Err(SmmuError::NoStream(256)));
}

#[test]
fn every_byte_of_a_mapping_is_where_it_should_be_and_nothing_around_it() {
    let (fake, mut smmu) = smmu();
    smmu.attach(8).unwrap();
    let mut mapped = Vec::new();
    // Blocks, pages, and both: with an end and a start inside a block.
    for (pa, len) in [
        (RAM, 4 * BLOCK),
        (RAM + 16 * BLOCK, PAGE),
        (RAM + 17 * BLOCK + 5 * PAGE, 3 * PAGE),
        (RAM + 20 * BLOCK - 2 * PAGE, 2 * BLOCK + 7 * PAGE),
        (RAM + 40 * BLOCK, 600 * BLOCK),
    ] {
        let io = smmu.map(pa, len).unwrap().0;
        assert_eq!((io ^ pa) & (BLOCK - 1), 0);
        mapped.push((io, pa, len));
    }
    for &(io, pa, len) in &mapped {
        let step = if len > 100 * BLOCK { 97 * PAGE } else { PAGE };
        for at in (0..len).step_by(step as usize) {
            assert_eq!(fake.translate(8, io + at + 8), Ok(pa + at + 8));
        }
        assert_eq!(fake.translate(8, io + len - 1), Ok(pa + len - 1));
        for outside in [io - 1, io + len] {
            assert_eq!(fake.translate(8, outside), Err(Refused::Translation), "{outside:#x}");
        }
    }
    for i in 0..mapped.len() {
        for j in 0..i {
            let ((a, _, n), (b, _, m)) = (mapped[i], mapped[j]);
            assert!(a + n <= b || b + m <= a);
        }
    }
    assert_eq!(fake.translate(8, 0), Err(Refused::Translation), "what a device that was told nothing uses");
    assert_eq!(fake.translate(8, 1 << 39), Err(Refused::Translation));
}

#[test]
fn mapping_ends_when_memory_for_tables_or_addresses_do() {
    let fake = Fake::new(IDR.0, IDR.1, IDR.2);
    // A root and two more tables.
    let mut smmu = Smmu::new(fake.clone(), &mut area(1 << 16), area(3 * 4096)).ok().unwrap();
    smmu.attach(8).unwrap();
    let io = smmu.map(RAM, BLOCK).unwrap().0;
    assert!(smmu.map(RAM + BLOCK, PAGE).is_ok());
    assert_eq!(smmu.map(RAM + 2 * BLOCK, PAGE), Err(MapError::NoMemory), "its own 2 MiB, a third table");
    assert_eq!(fake.translate(8, io), Ok(RAM), "what was mapped stays");
    assert_eq!(smmu.map(RAM, 1 << 40), Err(MapError::OutOfRange));
    assert_eq!(smmu.map(RAM + 1, PAGE), Err(MapError::Misaligned));
}

#[test]
fn events_are_read_once_each_and_a_wild_index_is_bounded() {
    let (fake, mut smmu) = smmu();
    let mut seen = Vec::new();
    for n in 0..200u64 {
        assert!(!smmu.has_events());
        fake.tell(0x10, 8, n << 12);
        assert!(smmu.has_events());
        smmu.poll_events(|e| seen.push(e));
    }
    let expected: Vec<SmmuEvent> = (0..200).map(|n| SmmuEvent { kind: 0x10, stream: 8, address: n << 12 }).collect();
    assert_eq!(seen, expected);
    fake.tell(0x13, 9, 0x1000);
    fake.write32(reg::EVENTQ_PROD, u32::MAX);
    let mut seen = Vec::new();
    smmu.poll_events(|e| seen.push(e));
    assert_eq!(seen, [SmmuEvent { kind: 0x13, stream: 9, address: 0x1000 }], "what is there, and nothing twice");
    assert_eq!(fake.read32(reg::EVENTQ_CONS), 1 << 31 | 127, "that some were lost is known");
}

#[test]
fn what_is_refused_is_said_in_words() {
    let event = SmmuEvent { kind: 0x10, stream: 8, address: 0x4000 };
    assert_eq!(std::format!("{event}"), "SMMUv3: stream 0x8 refused at 0x4000: nothing is mapped there (event 0x10)");
}

#[test]
fn what_cannot_work_is_refused() {
    let failed = |fake: Fake, memory| Smmu::new(fake, &mut area(memory), area(1 << 16)).err().unwrap();
    let with = |idr0, idr1, idr5| failed(Fake::new(idr0, idr1, idr5), 1 << 16);
    assert_eq!(with(u32::MAX, u32::MAX, u32::MAX), SmmuError::Absent);
    assert!(matches!(with(0x8, IDR.1, IDR.2), SmmuError::Unfit(..)), "stage 2 only");
    assert!(matches!(with(0x2, IDR.1, IDR.2), SmmuError::Unfit(..)), "32-bit tables only");
    assert!(matches!(with(IDR.0, 5 << 21 | 19 << 16 | 16, IDR.2), SmmuError::Unfit(..)), "a short queue");
    assert!(matches!(with(IDR.0, 19 << 21 | 19 << 16 | 7, IDR.2), SmmuError::Unfit(..)), "few streams");
    assert!(matches!(with(IDR.0, IDR.1, 0x64), SmmuError::Unfit(..)), "no 4 KiB granules");
    assert_eq!(failed(Fake::new(IDR.0, IDR.1, IDR.2), 8192), SmmuError::NoMemory);
    let stuck = Fake::new(IDR.0, IDR.1, IDR.2);
    stuck.stick();
    assert_eq!(failed(stuck, 1 << 16), SmmuError::Stuck);
    let (fake, mut smmu) = smmu();
    fake.stick();
    assert_eq!(smmu.attach(8), Err(SmmuError::Stuck), "commands are waited for, not for ever");
}
