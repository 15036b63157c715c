//! 2 MiB hugepages: reserved when too few are free, and given back by the last user.
//!
//! The state file under /run says what the number was before and is locked (shared) by every run that counts on the
//! pages; the last one out restores the number. A run that was killed leaves the file, and the next one restores.
//! A second file is the mutex around every change, so that two runs may start and end as they like.
//! Nothing is touched if somebody else has changed the number since.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::process;

#[cfg(test)]
mod tests;

/// Pages that the demo and the tests want free: two DPDK processes at a time, twice over.
pub(crate) const WANTED: u64 = 1024;
const KIB_PER_PAGE: u64 = 2048;
/// What must stay for everything else, in pages.
const SPARE: u64 = 512;

const SYSFS: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
const STATE: &str = "/run/luna-xtask.hugepages";
const MUTEX: &str = "/run/luna-xtask.lock";
const MOUNT_POINT: &str = "/dev/hugepages";

/// What has to be changed; `None` in both fields when all is well.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The number of pages before and after.
    pub(crate) pages: Option<(u64, u64)>,
    /// Where hugetlbfs is to be mounted.
    pub(crate) mount: Option<PathBuf>,
}

/// What was changed, and by that what is to be restored.
#[derive(Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
struct State {
    pages: Option<(u64, u64)>,
    mount: Option<PathBuf>,
    /// Reserved by `setup`: kept until `setup --undo`.
    keep: bool,
}

/// Looks at the machine.
pub(crate) fn plan() -> Result<Plan> {
    let sysfs = Path::new(SYSFS);
    if !sysfs.is_dir() {
        bail!("this kernel has no 2 MiB hugepages ({SYSFS} does not exist)");
    }
    let (total, free) = (read_number(&sysfs.join("nr_hugepages"))?, read_number(&sysfs.join("free_hugepages"))?);
    let mounts = fs::read_to_string("/proc/mounts").context("cannot read /proc/mounts")?;
    let mount = (!hugetlbfs_mounted(&mounts)).then(|| PathBuf::from(MOUNT_POINT));
    Ok(Plan { pages: shortfall(total, free), mount })
}

fn shortfall(total: u64, free: u64) -> Option<(u64, u64)> {
    (free < WANTED).then(|| (total, total + WANTED - free))
}

fn hugetlbfs_mounted(mounts: &str) -> bool {
    // "none /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0"; 1 GiB mounts do not serve.
    mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).any(|fields| {
        fields.get(2) == Some(&"hugetlbfs") && fields.get(3).is_some_and(|options| options.contains("pagesize=2M"))
    })
}

/// The pages are there while this lives.
#[derive(Debug)]
pub(crate) struct Reservation {
    /// `None` when we had nothing to change and may not write the state file.
    lock: Option<File>,
}

impl Reservation {
    /// Changes what is to be changed; the caller has said so before. `keep` makes it last beyond this process.
    pub(crate) fn make(keep: bool) -> Result<Self> {
        let mutex = match mutex() {
            Ok(mutex) => mutex,
            Err(_) if plan()? == Plan::default() => return Ok(Self { lock: None }),
            Err(error) => return Err(error.context("hugepages need root")),
        };
        let mut file = open_state()?;
        file.lock_shared().with_context(|| format!("cannot lock {STATE}"))?;
        let reservation = Self { lock: Some(file.try_clone()?) };
        let changed = change(&mut file, keep);
        // Before the reservation may drop, which takes the mutex too.
        drop(mutex);
        changed.map(|()| reservation)
    }
}

/// Looks again (another run may have come or gone since the caller spoke) and changes, noting how it was before.
fn change(file: &mut File, keep: bool) -> Result<()> {
    let Plan { pages, mount: point } = plan()?;
    let mut state = read_state(file)?;
    if let Some((before, after)) = pages {
        set_pages(before, after)?;
        state.pages = Some((original(state.pages, before), after));
    }
    state.keep |= keep;
    // Written before the mount, so that whatever fails below is undone as well.
    write_state(file, &state)?;
    if let Some(point) = point {
        mount(&point)?;
        state.mount = Some(point);
        write_state(file, &state)?;
    }
    Ok(())
}

/// What to restore: an earlier run's number, if its change still stands.
fn original(earlier: Option<(u64, u64)>, before: u64) -> u64 {
    match earlier {
        Some((first, last)) if last == before => first,
        _ => before,
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Some(file) = &mut self.lock else { return };
        let Ok(_mutex) = mutex() else { return };
        // Refused while another run holds its share: that one restores.
        if file.try_lock().is_err() {
            return;
        }
        let restored = read_state(file).and_then(|state| if state.keep { Ok(()) } else { restore(file, &state) });
        if let Err(error) = restored {
            eprintln!("warning: hugepages were not given back: {error:#}");
        }
    }
}

/// Gives back what `setup` reserved; says whether there was anything.
pub(crate) fn undo() -> Result<bool> {
    if !Path::new(STATE).exists() {
        return Ok(false);
    }
    let _mutex = mutex()?;
    let mut file = open_state()?;
    if file.try_lock().is_err() {
        bail!("another run of xtask is using the hugepages");
    }
    let state = read_state(&mut file)?;
    restore(&mut file, &state)?;
    Ok(state.pages.is_some() || state.mount.is_some())
}

/// Held while numbers, mounts or the state file change.
fn mutex() -> Result<File> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(MUTEX);
    let file = opened.with_context(|| format!("cannot write {MUTEX}"))?;
    file.lock().with_context(|| format!("cannot lock {MUTEX}"))?;
    Ok(file)
}

fn open_state() -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(STATE);
    opened.with_context(|| format!("cannot write {STATE}"))
}

fn restore(file: &mut File, state: &State) -> Result<()> {
    if let Some((before, after)) = state.pages {
        let path = Path::new(SYSFS).join("nr_hugepages");
        if read_number(&path)? == after {
            fs::write(&path, before.to_string()).context("cannot restore the number of hugepages")?;
            eprintln!("hugepages: back from {after} to {before}");
        } else {
            eprintln!("hugepages: somebody else has changed their number since, left as it is");
        }
    }
    if let Some(point) = &state.mount {
        process::output("umount", &[&point.to_string_lossy()])?;
        eprintln!("hugetlbfs: unmounted from {}", point.display());
    }
    write_state(file, &State::default())
}

fn set_pages(before: u64, after: u64) -> Result<()> {
    let available = meminfo_available(&fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?)?;
    let more = after.saturating_sub(before);
    if available < (more + SPARE) * KIB_PER_PAGE {
        bail!(
            "{} MiB of memory are available; {} MiB are needed for hugepages and the tests",
            available / 1024,
            (more + SPARE) * 2
        );
    }
    let path = Path::new(SYSFS).join("nr_hugepages");
    fs::write(&path, after.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    let got = read_number(&path)?;
    if got < after {
        fs::write(&path, before.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
        bail!(
            "the kernel gave {got} of {after} hugepages (memory is fragmented); reboot, or free memory, and try again"
        );
    }
    Ok(())
}

fn mount(point: &Path) -> Result<()> {
    fs::create_dir_all(point).with_context(|| format!("cannot make {}", point.display()))?;
    process::output("mount", &["-t", "hugetlbfs", "-o", "pagesize=2M", "none", &point.to_string_lossy()])?;
    Ok(())
}

fn meminfo_available(meminfo: &str) -> Result<u64> {
    let field = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let number = field.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    number.context("/proc/meminfo has no MemAvailable")
}

fn read_number(path: &Path) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.trim().parse().with_context(|| format!("{} holds no number", path.display()))
}

fn read_state(file: &mut File) -> Result<State> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    if text.trim().is_empty() {
        return Ok(State::default());
    }
    serde_json::from_str(&text).with_context(|| format!("{STATE} is damaged; remove it"))
}

fn write_state(file: &mut File, state: &State) -> Result<()> {
    let text = if *state == State::default() { String::new() } else { serde_json::to_string(state)? };
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {STATE}"))
}
