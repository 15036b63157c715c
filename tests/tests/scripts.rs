//! Every packet script under `tests/scripts`, each a test of its own: `cargo test -p luna-tests --test scripts -- NAME` runs
//! those whose path contains NAME. At the end a table says how many there are for each RFC, and how they went.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Failed, Trial};
use luna_tests::script::{self, Source};

/// By group: passed, failed.
type Tally = BTreeMap<String, (usize, usize)>;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let tally = Arc::new(Mutex::new(Tally::new()));
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let trials = files.iter().map(|path| trial(&root, path, &tally)).collect();
    let conclusion = libtest_mimic::run(&args, trials);
    if !args.list {
        print_table(&tally.lock().unwrap_or_else(|e| e.into_inner()));
    }
    conclusion.exit_code()
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
        let (passed, failed) = tally.entry(group).or_default();
        *if result.is_ok() { passed } else { failed } += 1;
        result.map_err(Failed::from)
    })
}

fn run(path: &Path) -> Result<(), String> {
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
fn print_table(tally: &Tally) {
    let width = tally.keys().map(String::len).max().unwrap_or(0).max("packet scripts".len());
    println!("{:width$}  passed  failed", "packet scripts");
    for (group, (passed, failed)) in tally {
        println!("{group:width$}  {passed:6}  {failed:6}");
    }
    let (passed, failed) = tally.values().fold((0, 0), |sum, n| (sum.0 + n.0, sum.1 + n.1));
    println!("{:width$}  {passed:6}  {failed:6}", "all");
}
