//! Where the instructions of an RPC go: by the phase of the work, and by source line. Inlined frames are told apart with
//! the line tables that release builds carry, read by `addr2line`.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use super::{MeasureError, Pair, is_gather, output};

/// A frame of the inlining at an address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Frame {
    function: String,
    file: String,
    line: u32,
}

/// Which functions make up which phase: the first frame, from the innermost outwards, whose file ends with the first word
/// and whose function has the second in its name, decides. Order matters within a frame only.
const PHASES: &[(&str, &str, &str)] = &[
    ("nic/mem.rs", "gather", "gather (the link)"),
    ("nic/mem.rs", "rx_burst", "nic: rx_burst"),
    ("nic/mem.rs", "post", "nic: rx_burst"),
    ("nic/mem.rs", "", "nic: tx"),
    ("wire/checksum.rs", "", "checksum"),
    ("wire/build.rs", "tcp_checksum", "checksum"),
    ("wire/build.rs", "pseudo_sum", "checksum"),
    ("stack/transmit.rs", "finish_checksum", "checksum"),
    ("wire/build.rs", "", "output: header emit"),
    ("wire/", "", "input: parse"),
    ("stack/flow.rs", "", "input: demux"),
    ("tcp/segments.rs", "", "tcp: segment records"),
    ("tcp/send_queue.rs", "gather", "output: fragments of the frame"),
    ("tcp/send_queue.rs", "push", "send: queue"),
    ("tcp/send_queue.rs", "pop_acked", "tcp: release of acked"),
    ("stack/deliver.rs", "release", "tcp: release of acked"),
    ("tcp/ack.rs", "", "tcp: ack"),
    ("tcp/rtt.rs", "", "tcp: ack"),
    ("tcp/congestion/", "", "tcp: ack"),
    ("tcp/input.rs", "", "tcp: input"),
    ("tcp/", "", "tcp: other"),
    ("stack/deliver.rs", "", "deliver"),
    ("stack/timers.rs", "", "timers"),
    ("stack/wheel.rs", "", "timers"),
    ("stack/output.rs", "", "output: decision and books"),
    ("stack/transmit.rs", "", "output: frame"),
    ("stack/cx.rs", "", "send: queue"),
    ("stack/demux.rs", "", "input: demux"),
    ("stack/mod.rs", "mark_dirty", "output: decision and books"),
    ("stack/mod.rs", "turn", "turn"),
    ("stack/mod.rs", "receive", "turn"),
    ("rpc/crc32c.rs", "", "rpc: header CRC"),
    ("rpc/send.rs", "", "rpc: send"),
    ("rpc/client.rs", "", "rpc: send"),
    ("rpc/server.rs", "", "rpc: send"),
    ("rpc/", "", "rpc: receive"),
    ("tests/src/", "", "application"),
];

/// Instructions per RPC by phase and by line, largest first, the gather included as a phase.
#[derive(Debug)]
pub struct Attribution {
    /// By phase.
    pub phases: Vec<(String, f64)>,
    /// By (file:line, function) of the innermost frame in the repository; the gather left out.
    pub lines: Vec<(String, f64)>,
    /// By function not inlined; the gather left out.
    pub functions: Vec<(String, f64)>,
}

fn phase_of(frames: &[Frame]) -> Option<&'static str> {
    frames.iter().find_map(|f| {
        let matches = |rule: &&(&str, &str, &str)| f.file.contains(rule.0) && f.function.contains(rule.1);
        let in_repository = f.file.contains("luna-core/src/") || f.file.contains("tests/src/");
        PHASES.iter().filter(|_| in_repository).find(matches).map(|rule| rule.2)
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
    let object = program.to_string_lossy();
    let rpcs = pair.report().rpcs as f64;
    let mut costs = HashMap::<u64, f64>::new();
    for (profile, sign) in pair.profiles.iter().zip([-1.0, 1.0]) {
        for (address, cost) in profile.addresses(&object) {
            *costs.entry(address).or_default() += sign * cost as f64 / rpcs;
        }
    }
    costs.retain(|_, cost| *cost != 0.0);
    let addresses = costs.keys().map(|a| format!("{a:#x}"));
    let text = output(Command::new("addr2line").args(["-a", "-i", "-f", "-C", "-e"]).arg(program).args(addresses))?;
    let frames = parse_addr2line(&String::from_utf8_lossy(&text));
    let mut maps = [const { None }; 3].map(|_: Option<()>| HashMap::<String, f64>::new());
    for (address, cost) in costs {
        let frames = frames.get(&address).map_or(&[][..], Vec::as_slice);
        let [phases, lines, functions] = &mut maps;
        *phases.entry(phase_of(frames).unwrap_or("elsewhere").to_owned()).or_default() += cost;
        if frames.iter().any(|f| is_gather(&f.function)) {
            continue;
        }
        let ours = frames.iter().find(|f| short(&f.file).starts_with("luna-core/") || f.file.contains("tests/src/"));
        let line = ours.or(frames.first()).map_or("?".to_owned(), |f| format!("{}:{}", short(&f.file), f.line));
        *lines.entry(line).or_default() += cost;
        let function = frames.last().map_or("?", |f| &f.function);
        *functions.entry(function.to_owned()).or_default() += cost;
    }
    let [phases, lines, functions] = maps.map(sorted);
    Ok(Attribution { phases, lines, functions })
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
        assert_eq!((phase_of(&frames[&0x10]), frames[&0x10][1].line), (Some("input: parse"), 7));
        assert_eq!(phase_of(&frames[&0x10][2..]), Some("turn"));
        assert_eq!(phase_of(&frames[&0x20]), None);
        assert_eq!(short(&frames[&0x10][1].file), "luna-core/src/wire/packet.rs");
    }
}
