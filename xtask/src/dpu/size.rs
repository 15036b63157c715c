//! `cargo xtask dpu size`: what an image takes, what a request costs on an emulated core, and that nothing on the packet
//! path is an atomic read-modify-write, from the image's own instructions.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::elf::SHF_WRITE;
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SectionKind, SymbolKind};

use super::qemu::Machine;

/// Most bytes of code and read-only data that are wanted.
const GOAL: u64 = 192 << 10;
/// Most that there may be: no image grows unseen.
const BUDGET: u64 = 380 << 10;
/// Instructions in a tick: a nanosecond each under `-icount shift=0`, at 62.5 MHz.
const PER_TICK: u64 = 16;

/// Functions off the packet path that may use atomics, none of them ever inlined: the console's lock, the way out, the
/// end of a core, memory that is handed out once; and a zone without a free obj, which looks whether other threads gave
/// some back.
const MAY: &[&str] = &[
    "luna_dpu::machine::console::Console::",
    "luna_dpu::machine::exit::",
    "qemu_virt::image::cores::ended",
    "luna_dpu::tables::Tables",
    "spin::once::",
    "luna_core::zbuf::pool::Pool::take_elsewhere",
];

/// Prints the table of an image (its bytes), and what requests cost in `pair`, the image that measures them; fails when a
/// goal is missed.
pub(super) fn run(image: &[u8], pair: &Path) -> Result<()> {
    let file = object::File::parse(image)?;
    println!("section            bytes");
    for section in file.sections().filter(|s| s.size() > 0 && s.address() > 0) {
        println!("{:<14} {:>9}", section.name()?, section.size());
    }
    let (constant, variable) = memory(&file);
    println!("code and read-only data {constant} bytes (goal {GOAL}, budget {BUDGET}), static RAM {variable} bytes");
    let atomic = atomics(&file)?;
    println!("atomic read-modify-writes: {} instructions, in:", atomic.values().sum::<u32>());
    for (name, count) in &atomic {
        println!("  {count:>3} {name}");
    }
    for (size, depth) in [(4096, 1), (4096, 16), (65536, 1)] {
        let each = instructions(pair, size, depth)?;
        println!("{size} byte requests, {depth} in flight: {each} instructions each, both ends");
    }
    packet_path(image)?;
    small(image)?;
    if constant > GOAL {
        bail!(
            "code and read-only data are {constant} bytes, more than the goal of {GOAL}: boards/README.md says what takes them"
        );
    }
    Ok(())
}

/// Bytes that are only read, and bytes that are written.
fn memory(file: &object::File<'_>) -> (u64, u64) {
    let (mut constant, mut variable) = (0, 0);
    for section in file.sections().filter(|s| s.size() > 0 && s.address() > 0) {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        if sh_flags & u64::from(SHF_WRITE) == 0 {
            constant += section.size();
        } else {
            variable += section.size();
        }
    }
    (constant, variable)
}

/// Fails when the image (its bytes) is larger than its budget.
pub(super) fn small(image: &[u8]) -> Result<()> {
    let (constant, _) = memory(&object::File::parse(image)?);
    if constant > BUDGET {
        bail!("code and read-only data are {constant} bytes, more than {BUDGET}");
    }
    Ok(())
}

/// Fails when something on the packet path is an atomic read-modify-write, which a lock is made of, or when there is a heap.
pub(super) fn packet_path(image: &[u8]) -> Result<()> {
    let file = object::File::parse(image)?;
    let atomic = atomics(&file)?;
    // The console's lock: without it the search does not find what is there.
    if !atomic.keys().any(|name| name.contains(MAY[0])) {
        bail!("no atomics at all, not even the console's: the search is broken");
    }
    let forbidden: Vec<_> = atomic.keys().filter(|name| !MAY.iter().any(|may| name.contains(may))).collect();
    if !forbidden.is_empty() {
        bail!("atomic read-modify-writes where there should be none: {forbidden:?}");
    }
    for symbol in file.symbols() {
        let name = symbol.name()?;
        if name.contains("__rust_alloc") || name.contains("__rust_realloc") {
            bail!("the image has a heap: {name}");
        }
    }
    Ok(())
}

/// Requests between two nodes on one emulated core, by its counter.
fn instructions(image: &Path, size: u32, depth: u16) -> Result<u64> {
    let words = format!("verify=off size={size} depth={depth} count=2000");
    let qemu = Machine::virt().args(&["-icount", "shift=0"]).append(&words);
    let mut process = qemu.boot(image)?;
    let mut found = None;
    let status = process.wait(Some(Duration::from_secs(200)), |line| {
        if let Some(rest) = line.text.strip_prefix("pair: ") {
            let numbers: Vec<u64> = rest.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
            if let [requests, _, ticks, _] = numbers[..] {
                found = Some(ticks * PER_TICK / requests);
            }
        } else if line.text.starts_with("a co") && size == 4096 && depth == 1 {
            println!("{}", line.text);
        }
    })?;
    found.filter(|_| status.success()).with_context(|| format!("no count from the image:\n{}", process.tail(10)))
}

/// Atomic read-modify-write instructions, by function.
fn atomics(file: &object::File<'_>) -> Result<BTreeMap<String, u32>> {
    let mut functions: Vec<(u64, u64, &str)> = Vec::new();
    for symbol in file.symbols().filter(|s| s.kind() == SymbolKind::Text && s.size() > 0) {
        functions.push((symbol.address(), symbol.size(), symbol.name()?));
    }
    let mut found = BTreeMap::new();
    for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
        let (words, _) = section.data()?.as_chunks::<4>();
        for (i, word) in words.iter().enumerate() {
            if is_read_modify_write(u32::from_le_bytes(*word)) {
                let at = section.address() + 4 * i as u64;
                let name = functions.iter().find(|(start, len, _)| (*start..start + len).contains(&at));
                let name = name.map_or("?".into(), |(_, _, n)| format!("{:#}", rustc_demangle::demangle(n)));
                *found.entry(name).or_default() += 1;
            }
        }
    }
    Ok(found)
}

/// Arm ARM, C4.1 (loads and stores): exclusives, compare-and-swap, and the atomic operations of FEAT_LSE. Plain acquire
/// loads and release stores are none.
const fn is_read_modify_write(word: u32) -> bool {
    let exclusive = word & 0x3f00_0000 == 0x0800_0000;
    let ordered = word & 1 << 23 != 0;
    let pair_or_cas = word & 1 << 21 != 0;
    let lse = word & 0x3b20_0c00 == 0x3820_0000;
    let ldapr = word & 0x3fff_fc00 == 0x38bf_c000;
    exclusive && (!ordered || pair_or_cas) || lse && !ldapr
}

#[cfg(test)]
mod tests {
    use super::is_read_modify_write;

    #[test]
    fn instructions_are_told_apart() {
        let atomic = [
            0xc85f_7c00, // ldxr x0, [x0]
            0xc85f_fc00, // ldaxr x0, [x0]
            0xc801_7c02, // stxr w1, x2, [x0]
            0x0801_fc02, // stlxrb w1, w2, [x0]
            0xc8a1_7c02, // cas x1, x2, [x0]
            0xc8e1_fc02, // casal x1, x2, [x0]
            0xf821_0002, // ldadd x1, x2, [x0]
            0xf8e1_8002, // swpal x1, x2, [x0]
            0x38e1_3002, // ldsetalb w1, w2, [x0]
        ];
        assert!(atomic.into_iter().all(is_read_modify_write));
        let plain = [
            0xc8df_fc00, // ldar x0, [x0]
            0xc89f_fc01, // stlr x1, [x0]
            0xf8bf_c001, // ldapr x1, [x0]
            0xf940_0000, // ldr x0, [x0]
            0xf900_0001, // str x1, [x0]
            0xf862_6820, // ldr x0, [x1, x2]
            0xa940_0400, // ldp x0, x1, [x0]
            0xd503_33bf, // dmb osh... a barrier
            0xd65f_03c0, // ret
        ];
        assert!(!plain.into_iter().any(is_read_modify_write));
    }
}
