//! `cargo xtask dpu size`: what an image takes, what a request costs on an emulated core, and that nothing on the packet
//! path is an atomic read-modify-write, from the image's own instructions.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

use super::account::Account;
use super::qemu::Machine;
use crate::cargo;

/// Most bytes of code and read-only data of the small image.
const GOAL: u64 = 192 << 10;
/// Most of the image that has everything but a client: none grows unseen.
const BUDGET: u64 = 400 << 10;
/// Instructions in a tick: a nanosecond each under `-icount shift=0`, at 62.5 MHz.
const PER_TICK: u64 = 16;

/// Functions off the packet path that may use atomics, none of them ever inlined: the console's lock, the way out, the
/// end of a core, cores that come together for a device's reset, memory that is handed out once; and a zone without a free obj, which looks whether other threads gave
/// some back.
const MAY: &[&str] = &[
    "luna_dpu::machine::console::Console::",
    "luna_dpu::machine::exit::",
    "luna_dpu::meeting::Meeting::meet",
    "qemu_virt::image::cores::ended",
    "luna_dpu::tables::Tables",
    "spin::once::",
    "luna_core::zbuf::pool::Pool::take_elsewhere",
];

/// Prints what the small image and the whole one take (paths of both), and what requests cost in `pairs`, the images of the
/// same parts that measure them; fails when a goal is missed.
pub(super) fn run(images: [&Path; 2], pairs: [&Path; 2]) -> Result<()> {
    let [small, whole] = [std::fs::read(images[0])?, std::fs::read(images[1])?];
    let (s, w) = (Account::of(&small)?, Account::of(&whole)?);
    println!("{:<48} {:>12} {:>12}", "bytes", "small image", "whole image");
    let row = |name: &str, small: u64, whole: u64| println!("{name:<48} {small:>12} {whole:>12}");
    for ((name, small), (_, whole)) in s.components().zip(w.components()) {
        row(&format!("code: {name}"), small, whole);
    }
    row("read-only data", s.data, w.data);
    row("code and read-only data", s.constant(), w.constant());
    row("static RAM", s.ram, w.ram);
    for (name, size) in &w.sections {
        let in_small = s.sections.iter().find(|(n, _)| n == name).map_or(0, |(_, size)| *size);
        row(&format!("  section {name}"), in_small, *size);
    }
    let reached = if s.constant() <= GOAL { "reached" } else { "MISSED" };
    println!("goal for the small image: {GOAL} bytes of code and read-only data: {reached}");
    for (image, bytes) in [("small", &small), ("whole", &whole)] {
        let atomic = atomics(&object::File::parse(bytes.as_slice())?)?;
        println!("atomic read-modify-writes in the {image} image: {} instructions, in:", atomic.values().sum::<u32>());
        for (name, count) in &atomic {
            println!("  {count:>3} {name}");
        }
    }
    let x86 = x86_counts()?;
    println!("{:<48} {:>12} {:>12} {:>12}", "instructions per RPC, both ends", "small image", "whole image", "x86-64");
    let mut told = Vec::new();
    for (title, size, depth) in [("4 KiB", 4096, 1), ("4 KiB", 4096, 16), ("64 KiB", 65536, 1)] {
        let (small, whole) = (instructions(pairs[0], size, depth)?, instructions(pairs[1], size, depth)?);
        let scenario = format!("{title}, MTU 1500, checksums offloaded, depth {depth}");
        let host = x86.get(&scenario).and_then(|s| s["total"].as_f64());
        let host = host.map_or("-".into(), |n| format!("{n:.0}"));
        println!("{:<48} {:>12} {:>12} {host:>12}", format!("{title}, {depth} in flight"), small.each, whole.each);
        told = vec![("small", small.tables), ("whole", whole.tables)];
    }
    println!(
        "aarch64: by the virtual counter, with the in-memory link's copies; x86-64: the budgets of callgrind's counts, without"
    );
    for (image, line) in told.iter().flat_map(|(image, lines)| lines.iter().map(move |line| (image, line))) {
        println!("{image} image: {line}");
    }
    for image in [&small, &whole] {
        packet_path(image)?;
    }
    within(&small, GOAL)?;
    within(&whole, BUDGET)
}

/// Fails when the small image (its bytes) is larger than its goal, which is its budget: it is there to be reached.
pub(super) fn small(image: &[u8]) -> Result<()> {
    within(image, GOAL)
}

/// Fails when the image (its bytes) that has everything but a client is larger than its budget.
pub(super) fn serves(image: &[u8]) -> Result<()> {
    within(image, BUDGET)
}

fn within(image: &[u8], most: u64) -> Result<()> {
    let constant = Account::of(image)?.constant();
    if constant > most {
        bail!(
            "code and read-only data are {constant} bytes, more than {most}: `cargo xtask dpu size` says what takes them"
        );
    }
    Ok(())
}

/// What is allowed on x86-64, by scenario: within a per mille of what callgrind counts there.
fn x86_counts() -> Result<serde_json::Map<String, serde_json::Value>> {
    let path = cargo::root().join("tests/benches/instructions.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what was expected", path.display()))
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

/// What an image of a pair says.
struct Counted {
    /// Instructions per request.
    each: u64,
    /// What tables and connections take.
    tables: Vec<String>,
}

/// Requests between two nodes on one emulated core, by its counter.
fn instructions(image: &Path, size: u32, depth: u16) -> Result<Counted> {
    let words = format!("verify=off size={size} depth={depth} count=2000");
    let qemu = Machine::virt().args(&["-icount", "shift=0"]).append(&words);
    let mut process = qemu.boot(image)?;
    let mut found = None;
    let mut tables = Vec::new();
    let status = process.wait(Some(Duration::from_secs(200)), |line| {
        if let Some(rest) = line.text.strip_prefix("pair: ") {
            let numbers: Vec<u64> = rest.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
            if let [requests, _, ticks, _] = numbers[..] {
                found = Some(ticks * PER_TICK / requests);
            }
        } else if line.text.starts_with("a co") {
            tables.push(line.text.clone());
        }
    })?;
    let each = found
        .filter(|_| status.success())
        .with_context(|| format!("no count from the image:\n{}", process.tail(10)))?;
    Ok(Counted { each, tables })
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
                let name = name.map_or("?".into(), |(_, _, n)| {
                    // One way of mangling has `<a::Type>::method`, the other `a::Type::method`.
                    format!("{:#}", rustc_demangle::demangle(n)).replace(['<', '>'], "")
                });
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
