//! Every packet script under `tests/scripts`, each a test of its own: `cargo test -p luna-tests --test scripts -- NAME` runs
//! those whose path contains NAME. At the end a table says how many there are for each RFC, and how they went. All of them
//! together must have gone every way from state to state that RFC 9293 has, and no other.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Failed, Trial};
use luna_core::tcp::{State, Transitions};
use luna_tests::script::{self, Source};
use luna_tests::sim::coverage::TRANSITIONS;

/// What the scripts came to.
#[derive(Default)]
struct Tally {
    /// By group: passed, failed.
    groups: BTreeMap<String, (usize, usize)>,
    /// How often connections went from one state to another.
    ways: BTreeMap<(State, State), u64>,
}

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let trials = files.iter().map(|path| trial(&root, path, &tally)).collect();
    let conclusion = libtest_mimic::run(&args, trials);
    if args.list {
        return ExitCode::SUCCESS;
    }
    let tally = tally.lock().unwrap_or_else(|e| e.into_inner());
    print_table(&tally.groups);
    // Some scripts alone need not go every way.
    let whole = conclusion.num_filtered_out == 0 && !conclusion.has_failed();
    if whole && !every_way(&tally.ways) {
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// Whether each way of [`TRANSITIONS`] was gone, and no other.
fn every_way(gone: &BTreeMap<(State, State), u64>) -> bool {
    let missing: Vec<_> = TRANSITIONS.iter().filter(|way| !gone.contains_key(way)).collect();
    let strange: Vec<_> = gone.keys().filter(|way| !TRANSITIONS.contains(way)).collect();
    println!("state transitions: {} of {} gone", TRANSITIONS.len() - missing.len(), TRANSITIONS.len());
    for (from, to) in &missing {
        println!("no script goes from {from:?} to {to:?}");
    }
    for (from, to) in &strange {
        println!("a script goes from {from:?} to {to:?}, which RFC 9293 does not know");
    }
    missing.is_empty() && strange.is_empty()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|e| panic!("{}: {e}", dir.display())).path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "pkt") {
            files.push(path);
        }
    }
}

fn trial(root: &Path, path: &Path, tally: &Arc<Mutex<Tally>>) -> Trial {
    let name = path.strip_prefix(root).unwrap_or(path).with_extension("").to_string_lossy().into_owned();
    let group = name.split('/').next().unwrap_or_default().to_owned();
    let (path, tally) = (path.to_owned(), tally.clone());
    Trial::test(name, move || {
        let result = run(&path);
        let mut tally = tally.lock().unwrap_or_else(|e| e.into_inner());
        let (passed, failed) = tally.groups.entry(group).or_default();
        *if result.is_ok() { passed } else { failed } += 1;
        for (from, to, n) in result.iter().flat_map(|ways| ways.iter()).filter(|(.., n)| *n > 0) {
            *tally.ways.entry((from, to)).or_default() += u64::from(n);
        }
        result.map(drop).map_err(Failed::from)
    })
}

fn run(path: &Path) -> Result<Transitions, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    if !text.starts_with("// ") {
        return Err(format!("{}: a script begins with a comment that says what it shows", path.display()));
    }
    // As people see it from the repository's root.
    let shown = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).ok().unwrap_or(path);
    let shown = shown.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(shown);
    script::run(&Source::new(Path::new("tests").join(shown).to_string_lossy(), text))
}

/// One line for each group; a group's RFC is the head of its name.
fn print_table(groups: &BTreeMap<String, (usize, usize)>) {
    let width = groups.keys().map(String::len).max().unwrap_or(0).max("packet scripts".len());
    println!("{:width$}  passed  failed", "packet scripts");
    for (group, (passed, failed)) in groups {
        println!("{group:width$}  {passed:6}  {failed:6}");
    }
    let (passed, failed) = groups.values().fold((0, 0), |sum, n| (sum.0 + n.0, sum.1 + n.1));
    println!("{:width$}  {passed:6}  {failed:6}", "all");
}
