//! Launches the binary as a node of its own: a config and data in a temporary directory, ports
//! picked by the kernel. Contract with the binary: it prints on standard error one line per
//! listener, `edge: listening http 127.0.0.1:41234`, then `edge: ready`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::command::{Finished, run_in};
use crate::connection::Connection;
use crate::metrics::Metrics;
use crate::process::{Launch, PATIENCE, Process};
use crate::request::Request;
use crate::response::Response;
use crate::setup::NodeBuilder;
use crate::wait::eventually;

/// A running node. Killed when dropped, its directory removed.
pub struct Node {
    launch: Launch,
    directory: TempDir,
    process: Option<Process>,
}

impl Node {
    /// A node from this binary: `env!("CARGO_BIN_EXE_edge")`.
    pub fn with(bin: impl AsRef<Path>) -> NodeBuilder {
        NodeBuilder::new(bin.as_ref())
    }

    /// Where the first http listener is.
    #[track_caller]
    pub fn http(&self) -> SocketAddr {
        self.address("http")
    }

    /// Where the first https listener is.
    #[track_caller]
    pub fn https(&self) -> SocketAddr {
        self.address("https")
    }

    /// Where the admin listener is.
    #[track_caller]
    pub fn admin(&self) -> SocketAddr {
        self.address("admin")
    }

    /// Where the first listener of this kind is. Panics if there is none.
    #[track_caller]
    pub fn address(&self, kind: &str) -> SocketAddr {
        *self
            .addresses(kind)
            .first()
            .unwrap_or_else(|| panic!("the node has no {kind} listener"))
    }

    /// Where all listeners of this kind are.
    pub fn addresses(&self, kind: &str) -> Vec<SocketAddr> {
        let listeners = &self.process().listeners;
        listeners
            .iter()
            .filter(|(known, _)| known == kind)
            .map(|&(_, address)| address)
            .collect()
    }

    /// Writes the config and starts the process: the end of a builder.
    #[track_caller]
    pub(crate) fn launch(launch: Launch, directory: TempDir, config: &str) -> Self {
        let mut node = Self {
            launch,
            directory,
            process: None,
        };
        node.write_config(config);
        node.start();
        node
    }

    /// GETs this path from the first http listener.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.send(&Request::get(path))
    }

    /// Sends a request to the first http listener over a new connection.
    #[track_caller]
    pub fn send(&self, request: &Request) -> Response {
        request.send(self.http())
    }

    /// Opens a connection to the first http listener.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(self.http())
    }

    /// GETs this path from the admin listener.
    #[track_caller]
    pub fn admin_get(&self, path: &str) -> Response {
        let admin = self.admin();
        Request::get(path).host(&admin.to_string()).send(admin)
    }

    /// POSTs this JSON, a text or a `serde_json::Value`, to the admin listener.
    #[track_caller]
    pub fn admin_post(&self, path: &str, json: impl ToString) -> Response {
        let admin = self.admin();
        let request = Request::post(path, json.to_string()).host(&admin.to_string());
        request
            .field("Content-Type", "application/json")
            .send(admin)
    }

    /// All metrics, as they are now.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics::parse(&self.admin_get("/metrics").expect(200).text())
    }

    /// The sum of all series of this metric that carry at least these labels.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.metrics().sum(name, labels)
    }

    /// Runs a command of the same binary against this node: `--admin URL` is added at the end.
    #[track_caller]
    pub fn command(&self, args: &[&str]) -> Finished {
        let admin = format!("http://{}", self.admin());
        let args = args.iter().copied().chain(["--admin", &admin]);
        run_in(self.directory(), &self.launch.bin.to_string_lossy(), args)
    }

    /// The directory of the config, also the node's current directory. Its data is in `data`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The config file.
    pub fn config_path(&self) -> PathBuf {
        self.directory().join("edge.toml")
    }

    /// The config as it stands in the file.
    pub fn config_text(&self) -> String {
        std::fs::read_to_string(self.config_path()).expect("the config can be read")
    }

    /// Replaces the config file; nothing happens before `reload` or a restart.
    pub fn write_config(&self, text: &str) {
        std::fs::write(self.config_path(), text).expect("the config can be written");
    }

    /// Changes the config file; nothing happens before `reload` or a restart.
    pub fn edit_config(&self, change: impl FnOnce(String) -> String) {
        self.write_config(&change(self.config_text()));
    }

    /// Asks for the config to be read again: SIGHUP.
    pub fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Asks the node to stop, SIGTERM, and waits until it has.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_exit()
    }

    /// Sends SIGTERM and does not wait.
    pub fn begin_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until the process has ended by itself or by a signal sent before.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let process = self.process.as_mut().expect("the node was started");
        let mut status = None;
        let ended = eventually(PATIENCE, || {
            status = process.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        assert!(
            ended,
            "the node did not end within {PATIENCE:?}; it wrote:\n{}",
            self.stderr()
        );
        status.expect("it has just ended")
    }

    /// Kills it at once: SIGKILL.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }

    /// Starts it again, after `stop` or `kill`, with the same directory. Kernel-picked ports
    /// change, and the outputs begin anew.
    #[track_caller]
    pub fn start(&mut self) {
        self.kill();
        self.process = Some(self.launch.start(self.directory(), &self.config_path()));
    }

    /// Is the process still running?
    pub fn is_running(&mut self) -> bool {
        let process = self.process.as_mut().expect("the node was started");
        matches!(process.child.try_wait(), Ok(None))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process().child.id()
    }

    /// Resident memory now.
    pub fn rss_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most resident memory there ever was.
    pub fn peak_rss_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// How many files and sockets it has open.
    pub fn open_files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid());
        std::fs::read_dir(path)
            .expect("the node is running")
            .count()
    }

    /// What it wrote to standard error since it was started.
    pub fn stderr(&self) -> String {
        self.process().stderr.text()
    }

    /// What it wrote to standard output since it was started.
    pub fn stdout(&self) -> String {
        self.process().stdout.text()
    }

    /// Waits for a line on standard error that contains this, and returns it.
    #[track_caller]
    pub fn wait_for_stderr(&self, part: &str) -> String {
        self.process().stderr.wait_for_line(part)
    }

    /// Waits for a line on standard output that contains this, and returns it.
    #[track_caller]
    pub fn wait_for_stdout(&self, part: &str) -> String {
        self.process().stdout.wait_for_line(part)
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the node was started")
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process().child);
        kill_process(pid, signal).expect("the node is running");
    }

    fn status_bytes(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the node is running");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .expect("the kernel knows it");
        let kilobytes: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number of kB");
        kilobytes * 1024
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking()
            && let Some(process) = &self.process
        {
            let text = process.stderr.text();
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!(
                "--- the node's last lines on stderr ---\n{}\n---",
                last.join("\n")
            );
        }
    }
}
