//! The access log: one line per request, to standard output, to a file, or nowhere.
//!
//! A request only formats its line (`line`) and appends it to one bounded buffer (`queue`); a
//! thread of its own writes (`writer`). The rule: logging never makes a request wait for a disk.
//! Lines that find no room, or cannot be written, are dropped and counted.

mod line;
mod queue;
mod writer;

use crate::config::{self, Format};
use crate::http::front::Finished;
use line::Line;
use queue::Queue;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use writer::Writer;

/// Where requests leave their lines. Closed when dropped.
pub(crate) struct AccessLog {
    /// `None` when nothing is logged.
    open: Option<Open>,
}

struct Open {
    format: Format,
    queue: Arc<Queue>,
}

/// Bytes of lines that wait to be written: a second or more of any load one machine can serve.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The longest that closing waits for the last lines to be written.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

thread_local! {
    /// The line being made. Bounded by what a line can hold.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl AccessLog {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    /// The file cannot be opened, or the writer not be started; says which, and what to do.
    pub(crate) fn open(to: &config::AccessLog, format: Format) -> Result<AccessLog, String> {
        let writer = match to {
            config::AccessLog::Off => return Ok(AccessLog { open: None }),
            config::AccessLog::Stdout => Writer::stdout(),
            config::AccessLog::File(path) => Writer::file(path),
        }?;
        let queue = Arc::new(Queue::new(WAITING_BYTES_MAX));
        writer.start(Arc::clone(&queue))?;
        Ok(AccessLog {
            open: Some(Open { format, queue }),
        })
    }

    /// Is anything logged at all?
    pub(crate) fn is_on(&self) -> bool {
        self.open.is_some()
    }

    /// Leaves the line of one request. Never waits for the disk.
    pub(crate) fn write(&self, finished: &Finished<'_>) {
        if self.is_on() {
            self.leave(&Line::of(finished, SystemTime::now()));
        }
    }

    fn leave(&self, line: &Line<'_>) {
        let Some(open) = &self.open else {
            return;
        };
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            line.push(open.format, scratch);
            open.queue.push(scratch);
        });
    }

    /// Opens the file again by its name, after somebody has moved it away (logrotate, SIGHUP).
    /// Lines left from now on are in the new file. Does not wait.
    pub(crate) fn reopen(&self) {
        if let Some(open) = &self.open {
            open.queue.reopen();
        }
    }

    /// Lines that were not written, because they found no room or the disk refused them.
    pub(crate) fn dropped(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.queue.dropped())
    }

    /// Writes what waits and stops. Blocks until that is done, for two seconds at most. Lines left
    /// afterwards are dropped and counted.
    pub(crate) fn close(&self) {
        if let Some(open) = &self.open
            && !open.queue.close(CLOSE_WAIT)
        {
            log::error!("the access log could not be written to its end within {CLOSE_WAIT:?}");
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::line::Asked;
    use super::*;
    use std::path::Path;
    use std::time::Instant;

    fn line(target: &str) -> Line<'_> {
        Line {
            at: SystemTime::now(),
            client: [127, 0, 0, 1].into(),
            asked: Some(Asked {
                method: "GET",
                host: "example.com",
                target,
                protocol: "HTTP/1.1",
                referer: None,
                user_agent: Some(b"curl/8.5.0"),
            }),
            status: 200,
            bytes: 1024,
            complete: true,
            duration: Duration::from_micros(40),
            served: Duration::from_micros(20),
            origin: None,
            cache: "hit",
            cache_status: Some(b"edge; hit; ttl=30"),
            site: Some("example.com"),
            reason: None,
        }
    }

    fn open(path: &Path) -> AccessLog {
        AccessLog::open(&config::AccessLog::File(path.to_owned()), Format::Combined).unwrap()
    }

    fn targets(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let target = |line: &str| line.split(' ').nth(6).unwrap().to_owned();
        text.lines().map(target).collect()
    }

    #[test]
    fn lines_of_many_threads_arrive_whole_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let access = open(&path);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let access = &access;
                scope.spawn(move || {
                    for n in 0..5_000 {
                        access.leave(&line(&format!("/{thread}/{n:05}")));
                    }
                });
            }
        });
        access.close();
        assert_eq!(access.dropped(), 0);
        let targets = targets(&path);
        assert_eq!(targets.len(), 20_000);
        for thread in 0..4 {
            let start = format!("/{thread}/");
            let own: Vec<_> = targets
                .iter()
                .filter(|target| target.starts_with(&start))
                .collect();
            assert!(own.is_sorted() && own.len() == 5_000);
        }
    }

    #[test]
    fn after_reopening_lines_are_in_the_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (
            directory.path().join("access.log"),
            directory.path().join("old"),
        );
        let access = open(&path);
        access.leave(&line("/before"));
        let written = || std::fs::metadata(&path).is_ok_and(|file| file.len() > 0);
        let began = Instant::now();
        while !written() && began.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        std::fs::rename(&path, &moved).unwrap();
        access.reopen();
        access.leave(&line("/after"));
        access.close();
        assert_eq!(targets(&moved), ["/before"]);
        assert_eq!(targets(&path), ["/after"]);
    }

    #[test]
    fn a_file_that_was_there_is_continued() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        for target in ["/first", "/second"] {
            open(&path).leave(&line(target));
        }
        assert_eq!(targets(&path), ["/first", "/second"]);
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let access = open(Path::new("/dev/full"));
        for _ in 0..100 {
            access.leave(&line("/"));
        }
        access.close();
        assert_eq!(access.dropped(), 100);
        access.leave(&line("/too-late"));
        assert_eq!(access.dropped(), 101);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named_with_the_cure() {
        let to = config::AccessLog::File("/nowhere/access.log".into());
        let error = AccessLog::open(&to, Format::Json).err().unwrap();
        assert!(
            error.contains("/nowhere/access.log") && error.contains("[log] access"),
            "{error}"
        );
    }

    #[test]
    fn off_takes_lines_and_does_nothing() {
        let access = AccessLog::open(&config::AccessLog::Off, Format::Json).unwrap();
        assert!(!access.is_on());
        access.leave(&line("/"));
        access.reopen();
        access.close();
        assert_eq!(access.dropped(), 0);
    }

    #[test]
    fn a_line_in_steady_state_allocates_nothing() {
        let access = AccessLog {
            open: Some(Open {
                format: Format::Json,
                queue: Arc::new(Queue::new(1024 * 1024)),
            }),
        };
        let queue = &access.open.as_ref().unwrap().queue;
        let mut batch = Vec::new();
        let mut round = || {
            for _ in 0..100 {
                access.leave(&line("/a/path/of/usual/length?with=query"));
            }
            queue.take(&mut batch);
            let scratch = SCRATCH.with_borrow(Vec::capacity);
            (batch.capacity().min(queue.capacity()), scratch)
        };
        // The first two rounds find the capacity of the two buffers that swap places.
        round();
        round();
        let found = round();
        assert!((0..20).all(|_| round() == found));
        queue.finished();
    }

    /// `cargo test -p edge --lib --release access_log -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement, not a test"]
    fn what_a_line_costs() {
        let access = AccessLog::open(&config::AccessLog::File("/dev/null".into()), Format::Json);
        let access = access.unwrap();
        let began = Instant::now();
        for _ in 0..1_000_000 {
            access.leave(&line("/a/path/of/usual/length?with=query"));
        }
        let each = began.elapsed() / 1_000_000;
        println!("{each:?} per line, {} dropped", access.dropped());
    }
}
