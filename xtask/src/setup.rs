//! `cargo xtask setup`, and the same preparation at the start of `demo` and `test`: look, say what is about to be
//! installed or changed, do it.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::hugepages::{self, Reservation};
use crate::packages::{self, Requirement};

/// Options of `setup`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not ask before installing or changing
    #[arg(long)]
    yes: bool,
    /// Give back the hugepages that an earlier `setup` reserved (packages stay)
    #[arg(long)]
    undo: bool,
}

/// The machine is ready while this lives; afterwards hugepages are given back.
#[derive(Debug)]
pub(crate) struct Prepared {
    _hugepages: Reservation,
}

/// The verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.undo {
        if !hugepages::undo()? {
            eprintln!("nothing to give back");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let _kept = prepare_for(Lasting::UntilUndo, args.yes)?;
    eprintln!("ready: `cargo xtask demo`, `cargo xtask test`");
    Ok(ExitCode::SUCCESS)
}

/// For the other verbs: what they change lasts as long as the returned value.
pub(crate) fn prepare(yes: bool) -> Result<Prepared> {
    prepare_for(Lasting::WhileHeld, yes)
}

/// For verbs that need packages and nothing else: installs what of `wanted` is missing, after saying so.
pub(crate) fn install_missing(wanted: &[Requirement], yes: bool) -> Result<()> {
    let missing = packages::missing_of(wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = missing.iter().map(|m| format!("  {} ({})", m.package, m.reason)).collect();
    let list = list.join("\n");
    if !packages::is_debian_like() || !rustix::process::geteuid().is_root() {
        bail!(
            "what these Debian packages bring is missing; install it (on Debian, as root, this command does):\n{list}"
        );
    }
    eprintln!("About to install Debian packages:\n{list}");
    if !yes && !agreed()? {
        bail!("nothing was changed");
    }
    packages::install(&missing)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lasting {
    WhileHeld,
    UntilUndo,
}

fn prepare_for(lasting: Lasting, yes: bool) -> Result<Prepared> {
    if !cfg!(target_os = "linux") {
        bail!("Luna's host side needs Linux");
    }
    let (missing, plan) = (packages::missing(), hugepages::plan()?);
    let intentions = describe(&missing, &plan, lasting);
    if !rustix::process::geteuid().is_root() {
        let what = if intentions.is_empty() { String::new() } else { format!(":\n{}", intentions.join("\n")) };
        bail!(
            "network namespaces and DPDK ports need root: run it again as root, for instance `sudo -E env PATH=$PATH cargo xtask ...`{what}"
        );
    }
    if !missing.is_empty() && !packages::is_debian_like() {
        let list: Vec<String> = missing.iter().map(|m| format!("  {} ({})", m.package, m.reason)).collect();
        bail!(
            "this is neither Debian nor Ubuntu; install what these Debian packages bring, then run it again:\n{}",
            list.join("\n")
        );
    }
    if !intentions.is_empty() {
        eprintln!("About to change on this machine:\n{}", intentions.join("\n"));
        if !yes && !agreed()? {
            bail!("nothing was changed");
        }
    }
    if !missing.is_empty() {
        packages::install(&missing)?;
    }
    Ok(Prepared { _hugepages: Reservation::make(lasting == Lasting::UntilUndo)? })
}

fn describe(missing: &[Requirement], plan: &hugepages::Plan, lasting: Lasting) -> Vec<String> {
    let mut lines: Vec<String> =
        missing.iter().map(|m| format!("  install Debian package {:<13} {}", m.package, m.reason)).collect();
    let until = match lasting {
        Lasting::WhileHeld => "given back at the end",
        Lasting::UntilUndo => "until `cargo xtask setup --undo`",
    };
    if let Some((before, after)) = plan.pages {
        lines.push(format!("  2 MiB hugepages: {before} -> {after} ({} MiB more; {until})", (after - before) * 2));
    }
    if let Some(point) = &plan.mount {
        lines.push(format!("  mount hugetlbfs on {} ({until})", point.display()));
    }
    lines
}

/// Asks on a terminal; without one (continuous integration) having said it must do.
fn agreed() -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(true);
    }
    eprint!("Go on? [Y/n] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    crate::interrupt::check()?;
    read?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "" | "y" | "yes"))
}
