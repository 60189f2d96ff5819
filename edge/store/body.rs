//! Bodies handed to readers.
//!
//! A body from a file is read on the blocking pool, one batch ahead of its
//! reader, and each 64 KiB is compared with its sum before any byte of it is
//! given out: bad bytes become an error, never data. The open file keeps a
//! reader going when the object is overwritten or deleted meanwhile.

use std::fs::File;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use rustix::buffer::spare_capacity;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::id::Id;
use crate::store::Shared;
use crate::sums::CHUNK_BYTES;

/// The error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A streamed body.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// Bytes per trip to the blocking pool: four sums' worth.
const BATCH_BYTES: u64 = 4 * CHUNK_BYTES as u64;

/// A body that is in memory already.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Reads a stretch of a file and verifies it.
pub(crate) struct Reader {
    pub file: File,
    pub id: Id,
    /// Size of the whole file.
    pub size: u64,
    /// The sums of the chunks that hold `at..end`.
    pub sums: Vec<u32>,
    /// The chunk the first of them belongs to.
    pub first_chunk: u64,
    /// The next offset to give out.
    pub at: u64,
    pub end: u64,
    pub shared: Arc<Shared>,
}

impl Reader {
    /// The next batch; blocks. Not to be called at the end.
    pub fn read(&mut self) -> Result<Bytes, Error> {
        let batch = self.read_verified()?;
        self.at += batch.len() as u64;
        let tally = &self.shared.tally;
        tally.bytes_out.fetch_add(batch.len() as u64, Relaxed);
        Ok(batch)
    }

    fn read_verified(&self) -> Result<Bytes, Error> {
        let chunk_bytes = CHUNK_BYTES as u64;
        let chunk = self.at / chunk_bytes;
        let start = chunk * chunk_bytes;
        let stop = self.end.min(start + BATCH_BYTES);
        let whole = stop.next_multiple_of(chunk_bytes).min(self.size);

        let bytes = self.read_at(start, (whole - start) as usize)?;
        let first = (chunk - self.first_chunk) as usize;
        for (n, part) in bytes.chunks(CHUNK_BYTES).enumerate() {
            if self.sums.get(first + n) != Some(&crc32c::crc32c(part)) {
                let at = start + (n * CHUNK_BYTES) as u64;
                return Err(self.damaged(format!("wrong checksum after offset {at}")));
            }
        }
        let from = (self.at - start) as usize;
        Ok(Bytes::from(bytes).slice(from..(stop - start) as usize))
    }

    fn read_at(&self, start: u64, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = start + bytes.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(self.damaged(format!("it ends at offset {at}"))),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => {
                    let path = self.shared.blobs.path(self.id);
                    return Err(Error::io("reading", &path)(e.into()));
                }
            }
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    fn damaged(&self, why: String) -> Error {
        let path = self.shared.blobs.path(self.id);
        Error::damaged(path.display().to_string(), why)
    }

    /// The body: `first` was read already.
    pub fn into_body(self, first: Bytes, runtime: Handle) -> Body {
        let left = first.len() as u64 + (self.end - self.at);
        FileBody {
            ready: Some(first),
            ahead: Ahead::Idle(self),
            left,
            runtime,
        }
        .boxed_unsync()
    }
}

struct FileBody {
    /// The next batch, verified.
    ready: Option<Bytes>,
    ahead: Ahead,
    /// Bytes not given out yet.
    left: u64,
    /// Kept because whoever polls may sit on a thread without one.
    runtime: Handle,
}

enum Ahead {
    Idle(Reader),
    Reading(JoinHandle<Result<(Reader, Bytes), Error>>),
    /// At the end, or broken.
    Done,
}

impl FileBody {
    /// Starts reading the next batch, if there is one and nothing is going on.
    fn read_ahead(&mut self) {
        self.ahead = match std::mem::replace(&mut self.ahead, Ahead::Done) {
            Ahead::Idle(reader) if reader.at < reader.end => {
                let mut reader = reader;
                Ahead::Reading(self.runtime.spawn_blocking(move || {
                    let batch = reader.read().inspect_err(|e| reader.shared.note(e))?;
                    Ok((reader, batch))
                }))
            }
            Ahead::Idle(_) => Ahead::Done,
            other => other,
        };
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.ready.is_none() {
            this.read_ahead();
            let Ahead::Reading(reading) = &mut this.ahead else {
                return Poll::Ready(None);
            };
            let read = ready!(Pin::new(reading).poll(cx));
            this.ahead = Ahead::Done;
            match read {
                Ok(Ok((reader, batch))) => {
                    this.ahead = Ahead::Idle(reader);
                    this.ready = Some(batch);
                }
                Ok(Err(e)) => return Poll::Ready(Some(Err(e.into()))),
                Err(_) => return Poll::Ready(Some(Err(Error::Closed.into()))),
            }
        }
        let Some(batch) = this.ready.take() else {
            return Poll::Ready(None);
        };
        this.left = this.left.saturating_sub(batch.len() as u64);
        this.read_ahead();
        Poll::Ready(Some(Ok(Frame::data(batch))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
