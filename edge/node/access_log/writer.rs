//! The thread that writes batches of lines, and what it does when it cannot: drop, count, and say
//! so once a minute. A half line that a full disk left behind is ended before the next one begins.

use super::queue::Queue;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a log that loses lines complains about it.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// How long to wait for a standard output that somebody made non-blocking.
const BLOCKED: Duration = Duration::from_millis(5);

pub(super) struct Writer {
    to: File,
    /// `None` for standard output, which has no name to be opened by again.
    path: Option<PathBuf>,
    /// The last write broke off within a line.
    torn: bool,
    /// When it last complained, and how many lines had been dropped then.
    complained: Option<Instant>,
    reported: u64,
    error: Option<io::Error>,
}

impl Writer {
    pub(super) fn stdout() -> Result<Writer, String> {
        let to = io::stdout().as_fd().try_clone_to_owned();
        let to = to.map_err(|error| {
            format!(
                "the access log cannot be written to standard output: {error}; \
                 give [log] access a file, or \"off\""
            )
        })?;
        Ok(Writer::to(to.into(), None))
    }

    pub(super) fn file(path: &Path) -> Result<Writer, String> {
        let to = open(path).map_err(|error| {
            format!(
                "the access log {} cannot be opened: {error}; make its folder one this user may \
                 write to, or change [log] access",
                path.display()
            )
        })?;
        Ok(Writer::to(to, Some(path.to_owned())))
    }

    fn to(to: File, path: Option<PathBuf>) -> Writer {
        Writer {
            to,
            path,
            torn: false,
            complained: None,
            reported: 0,
            error: None,
        }
    }

    /// Writes what comes through `queue`, on a thread of its own, until it is closed.
    pub(super) fn start(self, queue: Arc<Queue>) -> Result<(), String> {
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || self.run(&queue))
            .map(drop)
            .map_err(|error| format!("the access log's thread cannot be started: {error}"))
    }

    fn run(mut self, queue: &Queue) {
        let mut batch = Vec::new();
        loop {
            let orders = queue.take(&mut batch);
            if orders.reopen {
                self.reopen();
            }
            queue.drop_lines(self.write(&batch));
            self.complain(queue.dropped());
            if orders.stop {
                return queue.finished();
            }
        }
    }

    /// The old file is kept when the new one cannot be opened.
    fn reopen(&mut self) {
        let Some(path) = &self.path else {
            return;
        };
        match open(path) {
            Ok(file) => {
                self.to = file;
                self.torn = false;
            }
            Err(error) => log::error!(
                "the access log {} cannot be opened again: {error}; lines still go to the old file",
                path.display()
            ),
        }
    }

    /// Writes a batch; returns how many of its lines are lost.
    fn write(&mut self, batch: &[u8]) -> u64 {
        if self.torn && !batch.is_empty() {
            match self.write_all(b"\n") {
                Ok(()) => self.torn = false,
                Err((_, error)) => return self.lost(batch, error),
            }
        }
        match self.write_all(batch) {
            Ok(()) => 0,
            Err((written, error)) => {
                self.torn = written > 0 && batch[written - 1] != b'\n';
                self.lost(&batch[written..], error)
            }
        }
    }

    /// The error comes with how much was written before it.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut at = 0;
        while at < bytes.len() {
            match self.to.write(&bytes[at..]) {
                Ok(0) => return Err((at, io::ErrorKind::WriteZero.into())),
                Ok(n) => at += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(BLOCKED);
                }
                Err(error) => return Err((at, error)),
            }
        }
        Ok(())
    }

    fn lost(&mut self, rest: &[u8], error: io::Error) -> u64 {
        self.error = Some(error);
        rest.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    fn complain(&mut self, dropped: u64) {
        let recently = |at: Instant| at.elapsed() < COMPLAIN_EVERY;
        if dropped == self.reported || self.complained.is_some_and(recently) {
            return;
        }
        let lost = dropped - self.reported;
        let name = match &self.path {
            Some(path) => path.display().to_string(),
            None => "on standard output".to_owned(),
        };
        match self.error.take() {
            Some(error) => log::error!("the access log {name} lost {lost} lines: {error}"),
            None => log::error!("the access log {name} lost {lost} lines: it cannot keep up"),
        }
        self.reported = dropped;
        self.complained = Some(Instant::now());
    }
}

/// Addresses of clients are not for everybody on the machine.
fn open(path: &Path) -> io::Result<File> {
    File::options()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_ended_before_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let mut writer = Writer::file(&path).unwrap();
        assert_eq!(writer.write(b"whole\nhal"), 0);
        let full = File::options().append(true).open("/dev/full").unwrap();
        let file = std::mem::replace(&mut writer.to, full);
        writer.torn = true;
        assert_eq!(writer.write(b"f\nlost\n"), 2);
        assert!(writer.torn);
        writer.to = file;
        assert_eq!(writer.write(b"whole again\n"), 0);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "whole\nhal\nwhole again\n");
    }

    #[test]
    fn it_complains_once_a_minute_and_about_what_is_new() {
        let mut writer = Writer::to(File::open("/dev/null").unwrap(), None);
        writer.complain(0);
        assert!(writer.complained.is_none());
        writer.complain(3);
        assert_eq!(writer.reported, 3);
        writer.complain(9);
        assert_eq!(writer.reported, 3);
    }

    #[test]
    fn the_log_is_not_for_everybody() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        Writer::file(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0);
    }
}
