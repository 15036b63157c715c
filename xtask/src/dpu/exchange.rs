//! RPCs from luna-host to an image: over DPDK's vhost port at the other end of QEMU's vhost-user link, with no kernel
//! between them; or from the kernel's TCP over a tap, while `ping` asks too.
//!
//! The image's memory is shared with luna-host, whose vhost port is the device that the image drives: what one sends is
//! copied once, by DPDK, into the objs that the other posted.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::Board;
use super::qemu::Machine;
use super::tap::{IMAGE, INTERFACE, Tap};
use crate::cargo::{cargo, target_dir};
use crate::process::Process;

/// DPDK's start-up and a memory region to clear; an image's boot.
const START: Duration = Duration::from_secs(60);
/// Seconds between two echo requests.
const PING_EVERY: &str = "0.1";

/// Who calls the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Peer {
    /// luna-host over DPDK
    Luna,
    /// The kernel's TCP
    Kernel,
}

/// One exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) board: Board,
    pub(super) peer: Peer,
    /// Cores of the image, each with a queue, against as many threads of luna-host.
    pub(super) cores: u16,
    /// The image's NIC is behind an SMMUv3, and luna-host asks QEMU for what its addresses mean.
    pub(super) smmu: bool,
    /// Payload bytes each way.
    pub(super) size: u32,
    /// Requests, all cores together.
    pub(super) rpcs: u32,
    /// Requests in flight, of each core.
    pub(super) depth: u16,
    /// Frames of a thousand that are lost on purpose, each way: half of them by the image and half by luna-host, all by the
    /// image when the kernel calls.
    pub(super) loss: u16,
    pub(super) patience: Duration,
}

/// An image, and what makes lines of its log when that is not text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Booted<'a> {
    pub(super) image: &'a Path,
    pub(super) decoder: Option<&'a Path>,
}

/// What both ends say.
#[derive(Debug)]
pub(super) struct Exchanged {
    pub(super) host: Host,
    pub(super) image: Image,
    /// Echo requests that were sent before the image's end, and answered.
    pub(super) pings: Option<(u32, u32)>,
    /// All that the image said.
    pub(super) log: Vec<String>,
}

/// The caller's report.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Host {
    pub(super) completed: u64,
    pub(super) errors: u64,
    pub(super) seconds: f64,
    pub(super) p50_us: f64,
    pub(super) retransmits: Option<u64>,
    pub(super) rtos: Option<u64>,
    pub(super) lost: u64,
    pub(super) details: String,
}

/// The image's, all cores together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) cores: u32,
    pub(super) served: u64,
    pub(super) lost: u64,
    pub(super) retransmits: u64,
    pub(super) rtos: u64,
    pub(super) copied: u64,
}

/// luna-host's end, built with DPDK.
pub(super) fn build_host() -> Result<PathBuf> {
    let args = ["build", "--quiet", "--release", "-p", "luna-tests", "--bin", "dpu_peer", "--features", "dpdk"];
    let status = cargo(&args).status()?;
    if !status.success() {
        bail!("the host's end does not build ({status})");
    }
    Ok(target_dir().join("release/dpu_peer"))
}

impl Exchange {
    /// Boots the image, lets the host call it, and checks what both say.
    pub(super) fn run(&self, image: Booted<'_>, host: &Path, mut note: impl FnMut(&str)) -> Result<Exchanged> {
        let done = match self.peer {
            Peer::Luna => self.over_vhost(image, host, &mut note)?,
            Peer::Kernel => self.over_tap(image, host, &mut note)?,
        };
        self.check(&done).with_context(|| {
            format!("the host counted {}\nthe image said:\n{}", done.host.details, done.log.join("\n"))
        })?;
        Ok(done)
    }

    /// What must hold.
    fn check(&self, done: &Exchanged) -> Result<()> {
        let (host, image) = (&done.host, &done.image);
        ensure!(host.completed >= u64::from(self.rpcs), "{} of {} requests were answered", host.completed, self.rpcs);
        ensure!(host.errors == 0, "{} requests failed", host.errors);
        ensure!(
            image.served >= host.completed,
            "the image counts {} requests, the host {}",
            image.served,
            host.completed
        );
        ensure!(image.cores == u32::from(self.cores), "{} of {} cores served", image.cores, self.cores);
        ensure!((image.lost > 0) == (self.loss > 0), "the image lost {} frames on purpose", image.lost);
        if self.peer == Peer::Luna {
            ensure!((host.lost > 0) == (self.loss > 0), "the host lost {} frames on purpose", host.lost);
        }
        if self.loss > 0 {
            ensure!(image.retransmits > 0, "frames were lost, and the image sent nothing again");
        }
        let translated = done.log.iter().any(|line| line.contains("SMMUv3: the network device"));
        ensure!(translated || !self.smmu, "the image did not switch its SMMU on");
        if let Some((sent, answered)) = done.pings {
            // Without loss too: an answer that meets a full transmit ring is dropped.
            ensure!(answered >= (sent * 8 / 10).max(1), "{answered} of {sent} echo requests were answered");
        }
        Ok(())
    }

    fn image_loss(&self) -> u16 {
        if self.peer == Peer::Luna { self.loss.div_ceil(2) } else { self.loss }
    }

    fn words(&self) -> String {
        format!("net.addr={IMAGE}/24 net.detect=off until=1 loss={} cores={}", self.image_loss(), self.cores)
    }

    /// The host's end as a command, to which its link is to be added.
    fn host_args(&self, command: &mut Command) {
        let of = |name: &str, value: u64| [name.to_owned(), value.to_string()];
        command
            .args(of("--size", self.size.into()))
            .args(of("--count", self.rpcs.into()))
            .args(of("--depth", self.depth.into()))
            .args(of("--patience", self.patience.as_secs()));
    }

    fn over_vhost(&self, image: Booted<'_>, host: &Path, note: &mut dyn FnMut(&str)) -> Result<Exchanged> {
        let (cores, loss) = (self.cores, self.loss - self.image_loss());
        let dir = tempfile::tempdir().context("cannot make a directory")?;
        let socket = dir.path().join("vhost.sock");
        let mut command = Command::new(host);
        command.arg("--vhost").arg(&socket).args(["--threads", &cores.to_string(), "--loss", &loss.to_string()]);
        command.args(["--tcp", "datacenter"]);
        if self.smmu {
            command.arg("--iommu");
        }
        self.host_args(&mut command);
        let mut caller = Process::spawn("luna-host", command)?;
        caller.wait_for_line("ready", START)?;
        let several = if cores > 1 { format!(",mq=on,vectors={}", 2 * cores + 2) } else { String::new() };
        let device = "virtio-net-pci,netdev=n0,mac=02:00:00:00:00:02,packed=on,disable-legacy=on,romfile=";
        let (machine, behind) = if self.smmu {
            ("virt,gic-version=3,iommu=smmuv3,memory-backend=mem", ",iommu_platform=on")
        } else {
            ("memory-backend=mem", "")
        };
        let mut qemu = Machine::of(self.board)
            .args(&["-object", "memory-backend-memfd,id=mem,size=256M,share=on", "-machine", machine])
            .args(&["-chardev", &format!("socket,id=c0,path={}", socket.display())])
            .args(&["-smp", &cores.to_string(), "-netdev", &format!("vhost-user,id=n0,chardev=c0,queues={cores}")])
            .args(&["-device", &format!("{device}{several}{behind}")])
            .append(&format!("{} tcp=datacenter peer=10.0.0.1@02:00:00:00:00:01", self.words()))
            .decoded_by(image.decoder)
            .boot(image.image)?;
        self.gather(&mut qemu, &mut caller, None, note)
    }

    fn over_tap(&self, image: Booted<'_>, host: &Path, note: &mut dyn FnMut(&str)) -> Result<Exchanged> {
        let tap = Tap::make()?;
        let device = match self.board {
            Board::QemuVirt => {
                ["-device", "virtio-net-pci,netdev=n0,mac=02:00:00:00:00:02,packed=on,disable-legacy=on,romfile="]
            }
            Board::SbsaRef => ["-device", "e1000e,netdev=n0,mac=02:00:00:00:00:02"],
        };
        let mut qemu = Machine::of(self.board)
            .args(&["-netdev", &format!("tap,id=n0,ifname={INTERFACE},script=no,downscript=no")])
            .args(&device)
            .append(&self.words())
            .decoded_by(image.decoder)
            .boot_by(|program| tap.command(program), image.image)?;
        qemu.wait_for_line("core 0:", START)?;
        let mut ping = tap.command("ping");
        ping.args(["-n", "-i", PING_EVERY, IMAGE]);
        let mut ping = Process::spawn("ping", ping)?;
        let mut command = tap.command(host);
        command.args(["--kernel", &format!("{IMAGE}:7480")]);
        self.host_args(&mut command);
        let mut caller = Process::spawn("the kernel's client", command)?;
        self.gather(&mut qemu, &mut caller, Some(&mut ping), note)
        // The tap outlives them all.
    }

    /// Waits for both ends.
    fn gather(
        &self,
        qemu: &mut Process,
        caller: &mut Process,
        ping: Option<&mut Process>,
        note: &mut dyn FnMut(&str),
    ) -> Result<Exchanged> {
        let until = Instant::now() + self.patience + START;
        let called = caller.wait_success(self.patience + START).map(|()| caller.stdout());
        let pings = ping.map(pinged).transpose();
        // A caller that fails leaves an image that waits for ever.
        let left =
            if called.is_ok() { until.saturating_duration_since(Instant::now()).max(START / 6) } else { START / 30 };
        let ended = qemu.wait(Some(left), |line| note(&line.text));
        let log: Vec<String> = qemu.stdout().lines().map(str::to_owned).collect();
        let said = || format!("the image said:\n{}", log.join("\n"));
        let called = called.with_context(said)?;
        let status = ended?;
        ensure!(status.success(), "the image ended with {status}; {}", said());
        let report = called.lines().find(|line| line.starts_with('{')).context("no report of the host's end")?;
        Ok(Exchanged { host: serde_json::from_str(report)?, image: Image::of(&log), pings: pings?, log })
    }
}

/// Ends it and reads how many requests it sent and how many answers it got.
fn pinged(ping: &mut Process) -> Result<(u32, u32)> {
    ping.finish()?;
    let text = ping.stdout();
    read_ping(&text).with_context(|| format!("ping said:\n{text}"))
}

/// The last request that was answered (those behind it met an image at its end), and how many were.
fn read_ping(text: &str) -> Option<(u32, u32)> {
    // "64 bytes from 10.0.0.2: icmp_seq=3 ttl=64 time=0.5 ms"
    let answers = text.lines().filter(|line| line.contains(" bytes from "));
    let number = |line: &str| line.split_once("icmp_seq=")?.1.split(' ').next()?.parse::<u32>().ok();
    let numbers: Vec<u32> = answers.filter_map(number).collect();
    Some((*numbers.iter().max()?, numbers.len() as u32))
}

impl Image {
    /// Sums up what the cores say in the end.
    fn of(log: &[String]) -> Self {
        let mut all = Self::default();
        for line in log {
            // Behind time and level, where there are such.
            let Some((_, said)) = line.split_once("core ").and_then(|(_, rest)| rest.split_once(": ")) else {
                continue;
            };
            let said = said.trim_start();
            let number = |before: &str| -> Option<u64> {
                let rest = &said[said.find(before)? + before.len()..];
                rest.split([' ', ',']).next()?.parse().ok()
            };
            if said.starts_with("served ") {
                all.cores += 1;
                all.served += number("served ").unwrap_or(0);
            } else if said.starts_with("frames in ") {
                all.lost += number("lost on purpose ").unwrap_or(0);
                all.retransmits += number("retransmits ").unwrap_or(0);
                all.copied += number("copied ").unwrap_or(0);
            } else if said.starts_with("rtos ") {
                all.rtos += number("rtos ").unwrap_or(0);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::{Image, read_ping};

    #[test]
    fn what_cores_say_is_summed_up() {
        let log = "luna on qemu-virt: EL1\ncore 0: 1 KiB left of its 2 KiB\ncore 1: served 20 requests\n\
                   core 1: frames in 7 out 8, lost on purpose 3, retransmits 2, payload bytes copied 9, refused (0, 0)\n\
                   core 1:   retransmits 2\ncore 1:   rtos 1\ncore 0: served 30 requests\n\
                   core 0: frames in 7 out 8, lost on purpose 4, retransmits 5, payload bytes copied 1, refused (0, 0)\n\
                   core 0:   rtos 6";
        let log: Vec<String> = log.lines().map(str::to_owned).collect();
        let image = Image { cores: 2, served: 50, lost: 7, retransmits: 7, rtos: 7, copied: 10 };
        assert_eq!(Image::of(&log), image);
    }

    #[test]
    fn ping_is_read() {
        let text = "PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data.\n\
                    64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=0.5 ms\n\
                    64 bytes from 10.0.0.2: icmp_seq=3 ttl=64 time=0.4 ms\n\n--- 10.0.0.2 ping statistics ---\n\
                    5 packets transmitted, 2 received, 60% packet loss, time 1ms\n";
        assert_eq!(read_ping(text), Some((3, 2)));
        assert_eq!(read_ping("ping: connect: Network is unreachable"), None);
    }
}
