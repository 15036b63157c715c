//! Callgrind's output file: costs by function and by address. Written with `--dump-instr=yes`, uncompressed.
//!
//! Costs are instructions and, where the caches were simulated, misses of the last level: `events:` says in which columns.
//!
//! The format (Valgrind manual, "Callgrind Format Specification"): `ob=`, `fl=`, `fn=` say where the cost lines behind them
//! belong, `fi=`/`fe=` only change the file, as inlined code does. A cost line is `0xADDRESS LINE COST`. `calls=` announces a
//! line with the *inclusive* cost of calls to the function named by `cfn=` in the object named by `cob=`.

use std::collections::HashMap;
use std::path::Path;

/// Why the file could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It could not be read.
    #[error("callgrind's output cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// A line is not as expected.
    #[error("callgrind's output, line {0}: not understood")]
    Line(usize),
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Costs {
    /// Instructions.
    pub instructions: u64,
    /// Misses of the last level of the simulated caches, instructions and data; 0 when none were simulated.
    pub misses: u64,
}

impl core::ops::AddAssign for Costs {
    fn add_assign(&mut self, other: Self) {
        self.instructions += other.instructions;
        self.misses += other.misses;
    }
}

/// Where instructions went.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    total: Costs,
    inclusive: HashMap<String, Costs>,
    by_address: HashMap<(String, u64), u64>,
}

/// Which columns of a cost line are which.
#[derive(Default)]
struct Columns {
    instructions: Option<usize>,
    misses: Vec<usize>,
}

impl Columns {
    fn read(events: &str) -> Self {
        let events: Vec<_> = events.split_ascii_whitespace().collect();
        let misses = ["ILmr", "DLmr", "DLmw"].iter().filter_map(|m| events.iter().position(|e| e == m)).collect();
        Self { instructions: events.iter().position(|e| *e == "Ir"), misses }
    }

    /// Address and costs of a cost line. Zeros at its end are left out.
    fn cost_line(&self, line: &str) -> Option<(u64, Costs)> {
        let mut words = line.split_ascii_whitespace();
        let address = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
        let _line = words.next()?;
        let counts = words.map(|w| w.parse().ok()).collect::<Option<Vec<u64>>>()?;
        let at = |i: usize| counts.get(i).copied().unwrap_or(0);
        let instructions = at(self.instructions?);
        Some((address, Costs { instructions, misses: self.misses.iter().map(|i| at(*i)).sum() }))
    }
}

/// Whether a demangled name ends with the path `suffix`, a hash behind it allowed.
pub(super) fn is_named(name: &str, suffix: &str) -> bool {
    let bare = match name.rsplit_once("::h") {
        Some((front, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => front,
        _ => name,
    };
    bare.strip_suffix(suffix).is_some_and(|front| front.is_empty() || front.ends_with("::"))
}

impl Profile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn read(file: &Path) -> Result<Self, ProfileError> {
        Self::parse(&std::fs::read_to_string(file)?)
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// [`ProfileError::Line`].
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let mut profile = Self::default();
        let (mut object, mut function) = (String::new(), String::new());
        let mut called_object = None;
        let mut called_start = false;
        let mut after_calls = false;
        let mut columns = Columns::default();
        for (i, line) in text.lines().enumerate() {
            if line.starts_with("0x") {
                let (address, cost) = columns.cost_line(line).ok_or(ProfileError::Line(i + 1))?;
                match profile.inclusive.get_mut(&function) {
                    Some(sum) => *sum += cost,
                    None => drop(profile.inclusive.insert(function.clone(), cost)),
                }
                // What libc does is charged to the instruction that called it: it has no lines of ours.
                let foreign = called_object.take().is_some_and(|o: String| o != object);
                if !after_calls || foreign && !called_start {
                    *profile.by_address.entry((object.clone(), address)).or_default() += cost.instructions;
                }
                if !after_calls {
                    profile.total += cost;
                }
                after_calls = false;
                continue;
            }
            if let Some(events) = line.strip_prefix("events:") {
                columns = Columns::read(events);
            }
            match line.split_once('=') {
                Some(("ob", name)) => name.clone_into(&mut object),
                Some(("fn", name)) => name.clone_into(&mut function),
                Some(("cob", name)) => called_object = Some(name.to_owned()),
                Some(("calls", _)) => after_calls = true,
                Some(("cfn", name)) => {
                    // libc's start-up calls the whole program back.
                    called_start = name.starts_with("__libc_start_main") || name == "(below main)";
                    // No object named: the same as the caller's.
                    called_object.get_or_insert_with(|| object.clone());
                }
                _ => {}
            }
        }
        if profile.total.instructions == 0 {
            return Err(ProfileError::Line(text.lines().count()));
        }
        Ok(profile)
    }

    /// All that was counted.
    #[must_use]
    pub fn total(&self) -> Costs {
        self.total
    }

    /// Costs of the functions whose name ends with that path, what they called included.
    #[must_use]
    pub fn inclusive_of(&self, path: &str) -> Costs {
        let mut sum = Costs::default();
        self.inclusive.iter().filter(|(name, _)| is_named(name, path)).for_each(|(_, cost)| sum += *cost);
        sum
    }

    /// Instructions at each address of an object, what they called in other objects included.
    pub fn addresses(&self, object: &str) -> impl Iterator<Item = (u64, u64)> {
        self.by_address.iter().filter(move |((o, _), _)| o == object).map(|((_, a), cost)| (*a, *cost))
    }
}

#[cfg(test)]
mod tests;
