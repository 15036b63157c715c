//! The `luna` command as processes: started in its namespace, waited for, asked for its JSON, and what it leaves behind.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::link::{Link, Side};

/// A process that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("LUNA_BIN") {
        return path.into();
    }
    // target/PROFILE/deps/ports-HASH
    let exe = std::env::current_exe().unwrap();
    exe.ancestors().nth(2).unwrap().join("luna")
}

/// A directory for one case, removed with everything in it.
pub(crate) struct Work(PathBuf);

impl Work {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("luna-ports-{}-{number}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Sockets in it now.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        use std::os::unix::fs::FileTypeExt;
        let entries = fs::read_dir(&self.0).unwrap().map(Result::unwrap);
        entries.filter(|e| e.file_type().unwrap().is_socket()).map(|e| e.path()).collect()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process with its output in files; killed if the case ends before it does.
pub(crate) struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    shown: String,
}

/// A process that has ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) pid: u32,
}

impl Process {
    /// Starts it in `namespace`, whose `ip netns exec` becomes the program itself and keeps its process id.
    pub(crate) fn start(work: &Work, namespace: Option<&str>, program: &[String]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (work.path(&format!("{number}.out")), work.path(&format!("{number}.err")));
        let inside = namespace.map(|name| ["ip", "netns", "exec", name].map(str::to_owned));
        let line: Vec<String> = inside.into_iter().flatten().chain(program.iter().cloned()).collect();
        let child = Command::new(&line[0])
            .args(&line[1..])
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", line[0]));
        Self { child, out, err, shown: line.join(" ") }
    }

    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    fn errors(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Waits until it says `word`.
    pub(crate) fn wait_for(&mut self, word: &str) {
        let start = Instant::now();
        while !self.output().contains(word) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{}: {ended:?} before \"{word}\": {}", self.shown, self.errors());
            assert!(start.elapsed() < LIMIT, "{}: no \"{word}\": {}", self.shown, self.errors());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }

    pub(crate) fn end(mut self) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < LIMIT, "{} does not end: {}", self.shown, self.errors());
            std::thread::sleep(Duration::from_millis(10));
        };
        let ended = Ended { status, out: self.output(), err: self.errors(), pid: self.child.id() };
        ended.left_nothing();
        ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Its JSON, the last line, after a good end.
    pub(crate) fn json(&self) -> Value {
        assert!(self.status.success(), "{}: {}", self.status, self.err);
        let last = self.out.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.out, self.err))
    }

    /// The sentence that it ended badly with.
    pub(crate) fn sentence(&self) -> String {
        let Self { status, out, err, .. } = self;
        assert!(matches!(status.code(), Some(1 | 2)), "{status}: {out}\n{err}");
        let lines: Vec<&str> = err.lines().collect();
        assert!(lines.len() == 1 && lines[0].starts_with("luna: "), "not one sentence: {err}");
        assert!(!out.contains('{'), "a result besides the error: {out}");
        println!("    {}", lines[0]);
        lines[0].to_owned()
    }

    fn left_nothing(&self) {
        let dir = format!("/var/run/dpdk/luna-{}", self.pid);
        assert!(!Path::new(&dir).exists(), "{dir} was left behind");
    }
}

/// A luna command line of one side of `link`.
pub(crate) fn arguments(link: &Link, side: Side, verb: &str, more: &[&str]) -> Vec<String> {
    let head = [binary().display().to_string(), verb.to_owned()];
    let to = match side {
        Side::Server => ["--listen".to_owned(), link.endpoint()],
        Side::Client => ["--connect".to_owned(), link.endpoint()],
    };
    let more = more.iter().map(|&arg| arg.to_owned());
    head.into_iter().chain(link.transport(side)).chain(to).chain(["--json".to_owned()]).chain(more).collect()
}

/// Starts a server with blobs in `root`, and waits until it listens.
pub(crate) fn serve(link: &Link, root: &Path, more: &[&str]) -> Process {
    let more = [&["--root", root.to_str().unwrap()], more].concat();
    let line = arguments(link, Side::Server, "serve", &more);
    let mut process = Process::start(&link.work, link.namespace(Side::Server), &line);
    process.wait_for("luna serve: ready on");
    process
}

/// Stops a server as a user does; what it counted.
pub(crate) fn stop(link: &Link, server: Process) -> Value {
    server.interrupt();
    let told = server.end().json();
    assert_eq!(link.work.sockets(), Vec::<PathBuf>::new(), "left behind");
    told
}

/// Runs a client to its end.
pub(crate) fn client(link: &Link, verb: &str, more: &[&str]) -> Ended {
    let line = arguments(link, Side::Client, verb, more);
    Process::start(&link.work, link.namespace(Side::Client), &line).end()
}
