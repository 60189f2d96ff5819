//! The process of a node: started, read from, waited for. Knows the lines by which the binary says
//! where it listens and that it is ready.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::wait::eventually;

/// What it takes to start the process, again and again.
pub(crate) struct Launch {
    pub bin: PathBuf,
    pub env: Vec<(String, String)>,
    pub args: Vec<String>,
    pub bare: bool,
}

/// A started process and what it said.
pub(crate) struct Process {
    pub child: Child,
    pub stdout: Output,
    pub stderr: Output,
    pub listeners: Vec<(String, SocketAddr)>,
}

/// How long a node may take to become ready, to stop, or to log an awaited line.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// No more of an output than this is kept.
const OUTPUT_BYTES_MAX: usize = 64 << 20;

/// What a process wrote so far, shared with the thread that reads it.
pub(crate) struct Output(Arc<Mutex<String>>);

impl Output {
    /// Gathers it on a thread of its own, so that the node never blocks on a full pipe.
    fn gather(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = text.clone();
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(pipe.read_until(b'\n', &mut line), Ok(count) if count > 0) {
                let mut text = into.lock().unwrap_or_else(PoisonError::into_inner);
                if text.len() < OUTPUT_BYTES_MAX {
                    text.push_str(&String::from_utf8_lossy(&line));
                }
                line.clear();
            }
        });
        Self(text)
    }

    /// All of it so far.
    pub fn text(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a line that contains this, and returns it.
    #[track_caller]
    pub fn wait_for_line(&self, part: &str) -> String {
        let find = || {
            self.text()
                .lines()
                .find(|line| line.contains(part))
                .map(str::to_owned)
        };
        eventually(PATIENCE, || find().is_some());
        find().unwrap_or_else(|| panic!("no line with {part:?} came; there is:\n{}", self.text()))
    }

    /// Has its pipe been closed and read to the end?
    fn has_ended(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Launch {
    #[track_caller]
    pub fn start(&self, directory: &Path, config: &Path) -> Process {
        let mut command = Command::new(&self.bin);
        if !self.bare {
            command.args(["run", "--config"]).arg(config);
        }
        let mut child = command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.bin.display()));
        let stdout = Output::gather(child.stdout.take().expect("it is piped"));
        let stderr = Output::gather(child.stderr.take().expect("it is piped"));
        let mut process = Process {
            child,
            stdout,
            stderr,
            listeners: Vec::new(),
        };
        process.wait_until_ready();
        process
    }
}

impl Process {
    #[track_caller]
    fn wait_until_ready(&mut self) {
        let mut status = None;
        let is_ready = |text: &str| text.lines().any(|line| line == "edge: ready");
        eventually(PATIENCE, || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some() || is_ready(&self.stderr.text())
        });
        if status.is_some() {
            // Its last words may still be on their way through the pipe.
            eventually(Duration::from_secs(1), || self.stderr.has_ended());
        }
        let text = self.stderr.text();
        if status.is_some() || !is_ready(&text) {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let how = status.map_or("never became ready".to_owned(), |status| {
                format!("ended with {status}")
            });
            panic!("the node {how}; it wrote:\n{text}");
        }
        self.listeners = text.lines().filter_map(listener).collect();
    }
}

/// `edge: listening http 127.0.0.1:41234`
fn listener(line: &str) -> Option<(String, SocketAddr)> {
    let (kind, address) = line.strip_prefix("edge: listening ")?.split_once(' ')?;
    Some((kind.to_owned(), address.trim().parse().ok()?))
}
