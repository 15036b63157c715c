//! The command as a user runs it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// `luna` with arguments.
pub(crate) fn luna(args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("luna"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs to the end.
pub(crate) fn output(args: &[&str]) -> Output {
    luna(args).output().unwrap()
}

/// Runs to a good end; the JSON that it printed.
pub(crate) fn json(args: &[&str]) -> Value {
    let out = output(args);
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{args:?}: {stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {stdout}"))
}

/// Runs to a bad end; exit code and what was said on standard error.
pub(crate) fn failure(args: &[&str]) -> (i32, String) {
    let out = output(args);
    assert!(!out.status.success(), "{args:?} succeeded");
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    (out.status.code().unwrap(), stderr)
}

/// `luna serve --stack kernel` on a port of its own choice.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: String,
}

impl Server {
    pub(crate) fn start(root: &Path, more: &[&str]) -> Self {
        let args = [&["serve", "--stack", "kernel", "--listen", "127.0.0.1:0", "--json"], more].concat();
        Self::try_start(root, &args).expect("the server starts")
    }

    /// With these arguments and a directory for blobs; `None` when it ends at once.
    pub(crate) fn try_start(root: &Path, args: &[&str]) -> Option<Self> {
        let args = [args, &["--root", root.to_str().unwrap()]].concat();
        let mut child = luna(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let mut byte = [0];
        // Byte by byte: what follows belongs to `stop`.
        while child.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0].into());
        }
        if line.is_empty() {
            child.wait().unwrap();
            return None;
        }
        let addr = line.strip_prefix("luna serve: ready on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Some(Self { child, addr })
    }

    pub(crate) fn signal(&self, signal: i32) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([format!("-{signal}"), pid]).status().unwrap().success());
    }

    /// Ends it as a user does; its statistics.
    pub(crate) fn stop(mut self) -> Value {
        self.signal(2);
        let mut last = String::new();
        for line in BufReader::new(self.child.stdout.take().unwrap()).lines() {
            last = line.unwrap();
        }
        assert!(self.child.wait().unwrap().success());
        serde_json::from_str(&last).unwrap_or_else(|e| panic!("{e}: {last}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already where a test stopped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file with content that compresses badly.
pub(crate) fn file(path: &Path, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    luna_host::pattern::fill(&mut bytes, len as u64);
    std::fs::write(path, &bytes).unwrap();
    bytes
}
