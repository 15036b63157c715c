//! `xtask-defmt IMAGE PROGRAM [ARGUMENT]...`: runs a program (an emulator) whose standard output is what an image's UART
//! carries, defmt frames, and prints them as lines, with the symbols of IMAGE:
//!
//! ```text
//!     0.001234 INFO  core 0: served 4 requests (luna-dpu/src/machine/tell.rs:24)
//! ```
//!
//! Seconds since the image's counter began, level, text, where in the source. Ends as the program does.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use defmt_decoder::{DecodeError, Frame, Location, Locations, StreamDecoder, Table};
use rustix::process::{Signal, set_parent_process_death_signal};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(image), Some(program)) = (args.next(), args.next()) else {
        eprintln!("xtask-defmt IMAGE PROGRAM [ARGUMENT]...");
        return ExitCode::from(2);
    };
    let mut command = Command::new(program);
    command.args(args);
    match run(Path::new(&image), command) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::from(2)
        }
    }
}

fn run(image: &Path, mut command: Command) -> Result<ExitCode> {
    let elf = std::fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let Some(table) = Table::parse(&elf)? else { bail!("{} has no defmt symbols", image.display()) };
    let locations = table.get_locations(&elf)?;
    if locations.is_empty() && !table.is_empty() {
        bail!("{} does not say where its log lines are: build it with debug information", image.display());
    }
    command.stdout(Stdio::piped());
    // SAFETY: one system call between fork and exec, which allocates nothing.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
    let mut child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let mut decoder = table.new_stream_decoder();
    let mut out = std::io::stdout().lock();
    let mut bytes = [0; 4096];
    if let Some(mut uart) = child.stdout.take() {
        loop {
            let len = uart.read(&mut bytes)?;
            if len == 0 {
                break;
            }
            decoder.received(&bytes[..len]);
            print(decoder.as_mut(), &locations, &mut out)?;
        }
    }
    let status = child.wait()?;
    Ok(status.code().map_or(ExitCode::FAILURE, |code| ExitCode::from(code as u8)))
}

/// Prints what is complete.
fn print(decoder: &mut dyn StreamDecoder, locations: &Locations, out: &mut impl Write) -> Result<()> {
    loop {
        match decoder.decode() {
            Ok(frame) => writeln!(out, "{}", line(&frame, locations))?,
            Err(DecodeError::UnexpectedEof) => return Ok(out.flush()?),
            // Frames are apart by zeros: the next one can be read again.
            Err(DecodeError::Malformed) => writeln!(out, "(bytes that are no defmt frame)")?,
        }
    }
}

fn line(frame: &Frame<'_>, locations: &Locations) -> String {
    let time = frame.display_timestamp().map(|t| t.to_string()).unwrap_or_default();
    let level = frame.level().map_or("-", |level| level.as_str()).to_uppercase();
    let place = |location: &Location| {
        let file = location.file.strip_prefix(root()).unwrap_or(&location.file);
        format!(" ({}:{})", file.display(), location.line)
    };
    let place = locations.get(&frame.index()).map(place).unwrap_or_default();
    // A frame is a line.
    let text = frame.display_message().to_string().replace('\n', " ");
    format!("{time:>12} {level:<5} {text}{place}")
}

/// The workspace: places in it are shown from there.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}
