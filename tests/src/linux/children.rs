//! Child processes: ends, relay and capture, each this same binary with a role, in a namespace. They say "ready", then
//! perhaps "report JSON", and end when their input is closed; they are killed when dropped, and die with the parent.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) const ROLE: &str = "LUNA_LINUX_ROLE";
const SPEC: &str = "LUNA_LINUX_SPEC";
/// How long a child may take to say what is expected of it.
const PATIENCE: Duration = Duration::from_secs(150);

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on an interrupt unwinds the driver, so that namespaces go.
pub(crate) fn catch_interrupts() {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(flag)).expect("a handler for a signal that may have one");
    }
}

/// Whether the user wants to stop.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// In a child: what it was told.
pub(crate) fn spec<T: DeserializeOwned>() -> T {
    serde_json::from_str(&std::env::var(SPEC).expect("a role comes with its task")).expect("the parent wrote it")
}

/// In a child: the kernel kills it with its parent.
pub(crate) fn die_with_parent() {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).expect("prctl");
}

/// In a child: becomes true when the parent closes the input.
pub(crate) fn end_of_input() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        set.store(true, Ordering::Relaxed);
    });
    flag
}

/// A running child.
pub(crate) struct Role {
    name: String,
    child: Child,
    lines: Receiver<String>,
}

impl Role {
    pub(crate) fn start<T: Serialize>(role: &str, namespace: &str, task: &T) -> Self {
        let mut child = Command::new("ip")
            .args(["netns", "exec", namespace])
            .arg(std::env::current_exe().expect("this program"))
            .env(ROLE, role)
            .env("RUST_BACKTRACE", "0")
            .env(SPEC, serde_json::to_string(task).expect("plain data"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip (package iproute2)");
        let (send, lines) = channel();
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let also = send.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        std::thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                let _ = also.send(line);
            }
        });
        Self { name: format!("{role} in {namespace}"), child, lines }
    }

    /// The rest of the next line that begins with `word`; what comes before is printed.
    pub(crate) fn wait_for(&mut self, word: &str) -> Result<String, String> {
        let start = Instant::now();
        loop {
            match self.lines.recv_timeout(Duration::from_millis(50)) {
                Ok(line) => match line.strip_prefix(word) {
                    Some(rest) => return Ok(rest.trim().to_owned()),
                    None => println!("    {}: {line}", self.name),
                },
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("{} ended ({:?}) before it said {word}", self.name, self.child.wait()));
                }
                Err(RecvTimeoutError::Timeout) if interrupted() => return Err("interrupted".to_owned()),
                Err(RecvTimeoutError::Timeout) if start.elapsed() > PATIENCE => {
                    return Err(format!("{} did not say {word} within {PATIENCE:?}", self.name));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Closes its input and waits for a good end.
    pub(crate) fn end(mut self) -> Result<(), String> {
        drop(self.child.stdin.take());
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait().map_err(|e| e.to_string())? {
                Some(status) => break status,
                None if start.elapsed() > PATIENCE => return Err(format!("{} does not end", self.name)),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(100)) {
            println!("    {}: {line}", self.name);
        }
        if status.success() { Ok(()) } else { Err(format!("{}: {status}", self.name)) }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // Why it ended early, if it did.
        while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(20)) {
            println!("    {}: {line}", self.name);
        }
    }
}
