//! Runs the binary to its end: for commands such as `edge check`. A command that does not end is
//! killed and fails the test.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A command that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// All it wrote to standard output.
    pub stdout: String,
    /// All it wrote to standard error.
    pub stderr: String,
}

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the binary in the current directory.
#[track_caller]
pub fn run<A: AsRef<OsStr>>(bin: &str, args: impl IntoIterator<Item = A>) -> Finished {
    run_in(Path::new("."), bin, args)
}

/// Runs the binary in this directory, without standard input.
#[track_caller]
pub fn run_in<A: AsRef<OsStr>>(
    directory: &Path,
    bin: &str,
    args: impl IntoIterator<Item = A>,
) -> Finished {
    let bin = std::path::absolute(bin).expect("the current directory exists");
    let child = Command::new(&bin)
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", bin.display()));
    let pid = rustix::process::Pid::from_child(&child);
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = wait.recv_timeout(PATIENCE) else {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        panic!("{} did not end within {PATIENCE:?}", bin.display());
    };
    let output = output.expect("the output of a child can be read");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
