//! The file: found on the machine, put, got back, and compared by SHA-256 at every station. `sha256sum` computes our
//! side of the comparison, so that Luna is not its own witness.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::link::{Link, Side};
use super::luna::{self, Health, Luna, Transfer};
use super::report::mib_per_second;
use crate::cargo;
use crate::netns::VethPair;
use crate::process::{self, Process};
use crate::progress::Progress;

#[cfg(test)]
mod tests;

/// What the demo promises at least.
const LEAST: u64 = 64 << 20;

/// A real file and its digest.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// How it went over one link.
#[derive(Clone, Debug)]
pub(crate) struct Transferred {
    pub(crate) link: Link,
    pub(crate) put: Transfer,
    pub(crate) get: Transfer,
    /// Every digest equals the sample's.
    pub(crate) intact: bool,
    /// Put, get and server together.
    pub(crate) health: Health,
    /// Echo requests to the same address meanwhile: sent, answered by the kernel.
    pub(crate) pings: Option<(u64, u64)>,
}

impl Transferred {
    /// For the progress line.
    pub(crate) fn summary(&self) -> String {
        let Self { put, get, intact, pings, .. } = self;
        let verdict = if *intact { "SHA-256 equal" } else { "SHA-256 DIFFERS" };
        let pings = pings.map_or(String::new(), |(sent, answered)| format!(", ping {answered}/{sent}"));
        format!("{verdict}, put {:.0}, get {:.0} MiB/s{pings}", mib_per_second(put), mib_per_second(get))
    }
}

/// The compiler's own shared library.
pub(crate) fn find_file() -> Result<Sample> {
    let dir = cargo::sysroot()?.join("lib");
    let path = largest(&dir, LEAST)?;
    let sample = Sample { bytes: fs::metadata(&path)?.len(), sha256: sha256(&path)?, path };
    eprintln!("the file: {} ({} MiB), SHA-256 {}", sample.path.display(), sample.bytes >> 20, sample.sha256);
    Ok(sample)
}

fn largest(dir: &Path, least: u64) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let files = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok().filter(fs::Metadata::is_file)?.len(), entry.path())));
    // The compiler first, any other large library where it is linked statically.
    let is_driver =
        |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("librustc_driver"));
    let best = files.filter(|(bytes, _)| *bytes >= least).max_by_key(|(bytes, path)| (is_driver(path), *bytes));
    Ok(best.with_context(|| format!("no file of at least {} MiB in {}", least >> 20, dir.display()))?.1)
}

/// Puts the sample and gets it back over `link`.
pub(crate) fn run(
    luna: &Luna,
    veth: &VethPair,
    link: Link,
    sample: &Sample,
    attempt: u32,
    progress: &mut Progress,
) -> Result<Transferred> {
    let tag = format!("{link:?}-file-{attempt}");
    let name = sample.path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
    let server = luna.serve(veth, link, &tag)?;
    let ping = if link == Link::AfXdp { Some(Ping::start(veth)?) } else { None };
    let (put, put_told) = luna.put(veth, link, &server, &name, &sample.path, progress)?;
    let received = luna.work().join(format!("{tag}-received"));
    let (get, get_told) = luna.get(veth, link, &server, &name, &received, progress)?;
    let pings = ping.map(Ping::finish).transpose()?;
    progress.note("comparing SHA-256");
    let stored = sha256(&server.root.join(&name))?;
    let digests =
        [&put.sha256_local, &put.sha256_remote, &get.sha256_local, &get.sha256_remote, &stored, &sha256(&received)?];
    let intact = digests.iter().all(|digest| **digest == sample.sha256)
        && put.bytes == sample.bytes
        && get.bytes == sample.bytes;
    let served = luna.stop(server, &tag)?;
    fs::remove_file(received)?;
    Ok(Transferred { link, intact, health: luna::health(&[&put_told, &get_told], &served), put, get, pings })
}

fn sha256(path: &Path) -> Result<String> {
    let text = process::output("sha256sum", &["--", &path.to_string_lossy()])?;
    // A name with special characters puts a backslash in front of the digest.
    let digest = text.split_whitespace().next().unwrap_or_default().trim_start_matches('\\');
    ensure!(digest.len() == 64, "sha256sum printed \"{}\"", text.trim());
    Ok(digest.to_owned())
}

/// `ping` from the client's namespace while Luna traffic runs: the kernel answers, because only Luna's ports are
/// redirected.
struct Ping {
    process: Process,
}

impl Ping {
    fn start(veth: &VethPair) -> Result<Self> {
        let end = Link::AfXdp.end(veth, Side::Client).context("AF_XDP runs in namespaces")?;
        let mut command = end.command("ping");
        command.args(["-n", "-i", "0.2", veth.server.address]);
        let mut process = Process::spawn("ping", command)?;
        process
            .wait_for_line("bytes from", core::time::Duration::from_secs(5))
            .context("the kernel does not answer ping")?;
        Ok(Self { process })
    }

    fn finish(mut self) -> Result<(u64, u64)> {
        self.process.finish()?;
        counts(&self.process.stdout()).context("ping printed no summary")
    }
}

/// "12 packets transmitted, 12 received, 0% packet loss, time 2203ms"
fn counts(output: &str) -> Option<(u64, u64)> {
    let line = output.lines().find(|line| line.contains(" packets transmitted, "))?;
    let mut numbers = line.split(", ").map(|part| part.split(' ').next().and_then(|number| number.parse().ok()));
    Some((numbers.next()??, numbers.next()??))
}
