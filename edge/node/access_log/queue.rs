//! Lines on their way to the writer: one buffer with a bound, swapped whole for an empty one.
//!
//! Whoever fills an empty buffer wakes the writer, everybody else only appends. The writer then
//! gathers for a moment, so that a busy node has one wake per batch and not one per line.

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the writer gathers after it was woken.
const GATHER: Duration = Duration::from_millis(5);

/// A batch buffer that grew beyond this in a burst is given back.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// The writer waits here for work.
    work: Condvar,
    /// Whoever closes waits here for the writer.
    finished: Condvar,
    dropped: AtomicU64,
    bytes_max: usize,
}

#[derive(Default)]
struct Waiting {
    /// Whole lines.
    lines: Vec<u8>,
    reopen: bool,
    closing: bool,
    finished: bool,
}

/// What the writer is to do besides writing a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orders {
    /// Open the file again first.
    pub(super) reopen: bool,
    /// This was the last batch.
    pub(super) stop: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Queue {
        Queue {
            waiting: Mutex::default(),
            work: Condvar::new(),
            finished: Condvar::new(),
            dropped: AtomicU64::new(0),
            bytes_max,
        }
    }

    /// Appends one line, or drops it when there is no room.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting.lock();
        if waiting.closing || waiting.lines.len() + line.len() > self.bytes_max {
            drop(waiting);
            self.drop_lines(1);
            return;
        }
        let was_empty = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.work.notify_one();
        }
    }

    /// Waits for work and exchanges `batch`, whose content is done with, for the lines that wait.
    pub(super) fn take(&self, batch: &mut Vec<u8>) -> Orders {
        batch.clear();
        batch.shrink_to(KEPT_BYTES_MAX);
        let mut waiting = self.waiting.lock();
        while waiting.is_idle() {
            self.work.wait(&mut waiting);
        }
        if !waiting.reopen && !waiting.closing {
            self.work.wait_for(&mut waiting, GATHER);
        }
        std::mem::swap(&mut waiting.lines, batch);
        Orders {
            reopen: std::mem::take(&mut waiting.reopen),
            stop: waiting.closing,
        }
    }

    pub(super) fn reopen(&self) {
        self.waiting.lock().reopen = true;
        self.work.notify_one();
    }

    pub(super) fn drop_lines(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Takes no more lines and waits until the writer has finished; false when it took longer.
    pub(super) fn close(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut waiting = self.waiting.lock();
        waiting.closing = true;
        self.work.notify_one();
        while !waiting.finished {
            if self.finished.wait_until(&mut waiting, until).timed_out() {
                return waiting.finished;
            }
        }
        true
    }

    /// The writer has written the last batch, or gives up.
    pub(super) fn finished(&self) {
        self.waiting.lock().finished = true;
        self.finished.notify_all();
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.waiting.lock().lines.capacity()
    }
}

impl Waiting {
    fn is_idle(&self) -> bool {
        self.lines.is_empty() && !self.reopen && !self.closing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_finds_no_room_is_dropped_and_counted() {
        let queue = Queue::new(10);
        for line in ["1234\n", "56\n", "too long\n", "7\n", "8\n"] {
            queue.push(line.as_bytes());
        }
        assert_eq!(queue.dropped(), 2);
        let mut batch = Vec::new();
        queue.take(&mut batch);
        assert_eq!(batch, b"1234\n56\n7\n");
        queue.push(b"9\n");
        queue.take(&mut batch);
        assert_eq!(batch, b"9\n");
        assert_eq!(queue.dropped(), 2);
    }

    #[test]
    fn orders_are_given_once_and_with_the_lines_before_them() {
        let queue = Queue::new(10);
        let mut batch = Vec::new();
        queue.push(b"1\n");
        queue.reopen();
        let orders = |reopen, stop| Orders { reopen, stop };
        assert_eq!(queue.take(&mut batch), orders(true, false));
        assert_eq!(batch, b"1\n");
        queue.push(b"2\n");
        assert_eq!(queue.take(&mut batch), orders(false, false));
        queue.push(b"3\n");
        assert!(!queue.close(Duration::ZERO));
        assert_eq!(queue.take(&mut batch), orders(false, true));
        assert_eq!(batch, b"3\n");
        queue.push(b"4\n");
        assert_eq!(queue.dropped(), 1);
        queue.finished();
        assert!(queue.close(Duration::ZERO));
    }

    #[test]
    fn what_a_burst_needed_is_given_back() {
        let queue = Queue::new(8 * KEPT_BYTES_MAX);
        let mut batch = Vec::new();
        queue.push(&vec![b'x'; 4 * KEPT_BYTES_MAX]);
        queue.take(&mut batch);
        queue.push(b"1\n");
        queue.take(&mut batch);
        assert!(queue.capacity() <= KEPT_BYTES_MAX);
    }
}
