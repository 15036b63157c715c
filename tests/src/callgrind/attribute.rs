//! Where the instructions of an RPC go: by the stage of the work, and by source line. Inlined frames are told apart with
//! the line tables that release builds carry, read by `addr2line`.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use super::{MeasureError, Pair, Profile, is_gather, output};

/// A frame of the inlining at an address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Frame {
    function: String,
    file: String,
    line: u32,
}

/// The stages of a frame's way, in its order, and what belongs to none of them.
pub const STAGES: [&str; 12] = [
    "driver rx",
    "parse",
    "demultiplex",
    "TCP in",
    "RPC",
    "application",
    "TCP out",
    "header",
    "driver tx",
    "checksum",
    "loop",
    "elsewhere",
];

/// The link's copies, which stand for hardware.
const GATHER: &str = "gather";
const ELSEWHERE: &str = "elsewhere";

/// Which functions make up which stage: the first frame, from the innermost outwards, that a rule matches decides. A rule is
/// part of the file's path, part of the function's name, and the stage; the first that matches a frame counts. What has no
/// rule (slabs, zbufs, time) belongs to whoever called it.
const RULES: &[(&str, &str, &str)] = &[
    ("nic/mem.rs", "gather", GATHER),
    ("nic/mem.rs", "rx_burst", "driver rx"),
    ("nic/mem.rs", "post", "driver rx"),
    ("nic/mem/lane.rs", "exchange", "driver rx"),
    ("nic/mem.rs", "", "driver tx"),
    ("nic/mem/lane.rs", "", "driver tx"),
    ("wire/checksum.rs", "", "checksum"),
    ("luna-core/src/wide_sum.rs", "", "checksum"),
    ("wire/build.rs", "tcp_checksum", "checksum"),
    ("wire/build.rs", "pseudo_sum", "checksum"),
    ("wire/packet.rs", "checksums_hold", "checksum"),
    ("stack/transmit.rs", "finish_checksum", "checksum"),
    ("wire/build.rs", "", "header"),
    ("wire/", "", "parse"),
    ("stack/flow.rs", "", "demultiplex"),
    ("stack/demux.rs", "", "demultiplex"),
    ("tcp/send_queue/gather.rs", "", "TCP out"),
    ("tcp/send_queue.rs", "push", "TCP out"),
    ("tcp/send_queue.rs", "link", "TCP out"),
    ("tcp/send_queue.rs", "", "TCP in"),
    ("stack/burst.rs", "", "TCP out"),
    ("stack/output.rs", "", "TCP out"),
    ("stack/transmit.rs", "", "TCP out"),
    ("stack/cx.rs", "", "TCP out"),
    ("stack/mod.rs", "mark_dirty", "TCP out"),
    ("tcp/input.rs", "", "TCP in"),
    ("tcp/input/", "", "TCP in"),
    ("tcp/ack.rs", "", "TCP in"),
    ("tcp/segments.rs", "", "TCP out"),
    ("tcp/congestion/", "", "TCP in"),
    ("stack/deliver.rs", "", "TCP in"),
    ("stack/timers.rs", "", "loop"),
    ("stack/wheel.rs", "", "loop"),
    ("stack/mod.rs", "turn", "loop"),
    ("stack/mod.rs", "receive", "loop"),
    ("luna-core/src/rpc/", "", "RPC"),
    ("crc32c.rs", "", "RPC"),
    ("tests/src/", "", "application"),
];

/// Instructions per RPC by stage, by line and by function, largest first; the gather left out.
#[derive(Debug)]
pub struct Attribution {
    /// By stage, in the order of [`STAGES`].
    pub stages: [(&'static str, f64); STAGES.len()],
    /// By file:line of the innermost frame in the repository.
    pub lines: Vec<(String, f64)>,
    /// By function not inlined.
    pub functions: Vec<(String, f64)>,
}

fn stage_of(frames: &[Frame]) -> Option<&'static str> {
    frames.iter().find_map(|f| {
        let matches = |rule: &&(&str, &str, &str)| f.file.contains(rule.0) && f.function.contains(rule.1);
        let in_repository = f.file.contains("luna-core/src/") || f.file.contains("tests/src/");
        RULES.iter().filter(|_| in_repository).find(matches).map(|rule| rule.2)
    })
}

fn parse_addr2line(text: &str) -> HashMap<u64, Vec<Frame>> {
    let mut all = HashMap::<u64, Vec<Frame>>::new();
    let mut current = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(address) = line.strip_prefix("0x").and_then(|h| u64::from_str_radix(h, 16).ok()) {
            current = Some(address);
            continue;
        }
        let place = lines.next().unwrap_or_default();
        let place = place.split_once(" (").map_or(place, |(p, _)| p);
        let (file, number) = place.rsplit_once(':').unwrap_or((place, "0"));
        let frame = Frame { function: line.to_owned(), file: file.to_owned(), line: number.parse().unwrap_or(0) };
        if let Some(address) = current {
            all.entry(address).or_default().push(frame);
        }
    }
    all
}

fn short(file: &str) -> &str {
    let roots = ["luna-core/src/", "tests/src/", ".crates.io-", "/library/"];
    roots.iter().find_map(|root| file.find(root).map(|at| &file[at..])).unwrap_or(file)
}

fn sorted(map: HashMap<String, f64>) -> Vec<(String, f64)> {
    let mut list: Vec<_> = map.into_iter().filter(|(_, n)| n.abs() >= 0.05).collect();
    list.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    list
}

/// Attributes the difference of two runs of `program`.
///
/// # Errors
/// `addr2line` (Debian: binutils) is missing or failed.
pub fn attribute(pair: &Pair, program: &Path) -> Result<Attribution, MeasureError> {
    let [short, long] = &pair.profiles;
    let rpcs = pair.report().rpcs as f64;
    attribute_sum(&[(short, -1.0 / rpcs), (long, 1.0 / rpcs)], program)
}

/// Attributes the sum of several runs of `program`, each times a factor.
///
/// # Errors
/// `addr2line` (Debian: binutils) is missing or failed.
pub fn attribute_sum(profiles: &[(&Profile, f64)], program: &Path) -> Result<Attribution, MeasureError> {
    let object = program.to_string_lossy();
    let mut costs = HashMap::<u64, f64>::new();
    for (profile, factor) in profiles {
        for (address, cost) in profile.addresses(&object) {
            *costs.entry(address).or_default() += factor * cost as f64;
        }
    }
    costs.retain(|_, cost| *cost != 0.0);
    let addresses = costs.keys().map(|a| format!("{a:#x}"));
    let text = output(Command::new("addr2line").args(["-a", "-i", "-f", "-C", "-e"]).arg(program).args(addresses))?;
    let frames = parse_addr2line(&String::from_utf8_lossy(&text));
    let mut maps = [HashMap::<String, f64>::new(), HashMap::new()];
    let mut stages = STAGES.map(|name| (name, 0.0));
    for (address, cost) in costs {
        let frames = frames.get(&address).map_or(&[][..], Vec::as_slice);
        let [lines, functions] = &mut maps;
        if frames.iter().any(|f| is_gather(&f.function)) {
            continue;
        }
        let stage = stage_of(frames).unwrap_or(ELSEWHERE);
        stages.iter_mut().filter(|(name, _)| *name == stage).for_each(|(_, sum)| *sum += cost);
        let ours = frames.iter().find(|f| short(&f.file).starts_with("luna-core/") || f.file.contains("tests/src/"));
        let line = ours.or(frames.first()).map_or("?".to_owned(), |f| format!("{}:{}", short(&f.file), f.line));
        *lines.entry(line).or_default() += cost;
        let function = frames.last().map_or("?", |f| &f.function);
        *functions.entry(function.to_owned()).or_default() += cost;
    }
    let [lines, functions] = maps.map(sorted);
    Ok(Attribution { stages, lines, functions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inlined_frames_decide_from_the_inside() {
        let text = "0x0000000000000010\nread_volatile\n/rustc/x/library/core/src/ptr/mod.rs:5\n\
                    parse_frame\n/home/u/luna/luna-core/src/wire/packet.rs:7 (discriminator 2)\n\
                    luna_core::stack::Stack::turn\n/home/u/luna/luna-core/src/stack/mod.rs:9\n0x20\n??\n??:0\n";
        let frames = parse_addr2line(text);
        assert_eq!(frames[&0x10].len(), 3);
        assert_eq!((stage_of(&frames[&0x10]), frames[&0x10][1].line), (Some("parse"), 7));
        assert_eq!(stage_of(&frames[&0x10][2..]), Some("loop"));
        assert_eq!(stage_of(&frames[&0x20]), None);
        assert!(RULES.iter().all(|rule| rule.2 == GATHER || STAGES.contains(&rule.2)), "every rule's stage is counted");
        assert_eq!(short(&frames[&0x10][1].file), "luna-core/src/wire/packet.rs");
    }
}
