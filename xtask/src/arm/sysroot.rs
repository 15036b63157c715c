//! What an ARM machine has installed, unpacked into a directory: libc, DPDK and what they need, from Debian, by an apt
//! whose state is its own. The machine's packages, and what it thinks its architecture is, stay as they are.

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages::is_debian_like;
use crate::process::Process;
use crate::progress::Progress;

/// DPDK's development files and drivers, and what a C program is linked with.
const WANTED: [&str; 4] = ["libdpdk-dev", "dpdk", "libc6-dev", "libgcc-12-dev"];
const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The release that the names above are of.
const RELEASE: &str = "bookworm";
const PATIENCE: Duration = Duration::from_secs(1200);

/// The sysroot under `dir`, unpacked now unless it was before.
pub(crate) fn prepare(dir: &Path) -> Result<PathBuf> {
    let sysroot = dir.join("sysroot");
    // Renamed into place when it is whole.
    if sysroot.join("usr/lib/aarch64-linux-gnu/pkgconfig/libdpdk.pc").is_file() {
        return Ok(sysroot);
    }
    if !is_debian_like() || !Path::new(KEYRING).is_file() {
        bail!("arm64 packages are fetched with Debian's apt and its keys ({KEYRING}), which are not here");
    }
    let (work, unpacked) = (dir.join("apt"), dir.join("sysroot.new"));
    for old in [&work, &unpacked] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
    }
    for new in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(work.join(new))?;
    }
    fs::create_dir_all(&unpacked)?;
    fs::write(work.join("state/status"), "")?;
    fs::write(work.join("sources.list"), format!("deb [arch=arm64 signed-by={KEYRING}] {MIRROR} {RELEASE} main\n"))?;
    fs::write(work.join("apt.conf"), configuration(&work))?;
    let mut progress = Progress::start("Debian's arm64 packages (75 MiB, unpacked 390 MiB)");
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["-q", "--yes"]).args(args).env("APT_CONFIG", work.join("apt.conf"));
        command
    };
    run(apt(&["update"]), &mut progress)?;
    run(apt(&[&["install", "--download-only"], &WANTED[..]].concat()), &mut progress)?;
    for entry in fs::read_dir(work.join("cache/archives"))? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            let mut command = Command::new("dpkg");
            command.arg("--extract").arg(&package).arg(&unpacked);
            run(command, &mut progress)?;
        }
    }
    fs::remove_dir_all(&work)?;
    fs::rename(&unpacked, &sysroot)?;
    progress.finish("unpacked");
    Ok(sysroot)
}

/// apt's settings: a state of its own, another architecture; proxies and the like stay the machine's.
fn configuration(work: &Path) -> String {
    let work = work.display();
    format!(
        "APT::Architecture \"arm64\";\nAPT::Architectures {{ \"arm64\"; }};\nAPT::Install-Recommends \"false\";\n\
         APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\nDir::State \"{work}/state\";\n\
         Dir::State::status \"{work}/state/status\";\nDir::Cache \"{work}/cache\";\n\
         Dir::Etc::sourcelist \"{work}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n"
    )
}

fn run(command: Command, progress: &mut Progress) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut process = Process::spawn_merged(name.clone(), command)?;
    let status = process.wait(Some(PATIENCE), |line| progress.note(&line.text))?;
    if !status.success() {
        bail!("{name} ended with {status}:\n{}", process.tail(15));
    }
    Ok(())
}
