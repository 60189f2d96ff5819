//! Reads a response's body from an HTTP/1 line: by length, by chunks, or until the end. Pieces are
//! handed on as they come, however small; nothing waits for a buffer to fill.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::AsyncReadExt;

use crate::chunked::{Decoder, Piece};
use crate::head::{Delimited, Judged};
use crate::line::Line;

/// The most bytes read at a time.
const READ_MAX: usize = 64 * 1024;

/// What is first read of a body of unknown length, which may be a trickle of small events. It
/// doubles whenever a read fills it.
const READ_FIRST: usize = 8 * 1024;

/// With less room than this a buffer is not worth another read.
const READ_MIN: usize = 2 * 1024;

/// A body that is being read.
pub(crate) struct Download {
    left: Left,
    buffer: BytesMut,
    read: usize,
}

enum Left {
    Length(u64),
    Chunked(Decoder),
    Close,
    Done,
}

/// What was read.
pub(crate) enum Part {
    Data(Bytes),
    /// The end, with these trailers.
    End(HeaderMap),
}

/// Why the rest of a body cannot be read.
pub(crate) enum Broken {
    /// The connection ended first.
    Cut(String),
    /// It is malformed.
    Malformed(&'static str),
}

impl Download {
    /// `ahead` is what came along with the head.
    pub(crate) fn new(judged: &Judged, ahead: BytesMut) -> Self {
        let left = match (judged.delimited, judged.length) {
            (Delimited::Nothing, _) | (Delimited::Length, Some(0)) => Left::Done,
            (_, Some(length)) => Left::Length(length),
            (Delimited::Chunked, None) => Left::Chunked(Decoder::new()),
            (_, None) => Left::Close,
        };
        Self {
            left,
            buffer: ahead,
            read: READ_FIRST,
        }
    }

    /// The whole body, if its length is known and all of it is here.
    pub(crate) fn whole(&mut self) -> Option<Bytes> {
        match self.left {
            Left::Done => Some(Bytes::new()),
            Left::Length(length) if self.buffer.len() as u64 >= length => {
                self.left = Left::Done;
                let rest = match self.buffer.len() as u64 == length {
                    true => BytesMut::new(),
                    false => self.buffer.split_off(length as usize),
                };
                Some(std::mem::replace(&mut self.buffer, rest).freeze())
            }
            _ => None,
        }
    }

    /// The next part. Dropped and asked again, nothing is lost.
    pub(crate) fn poll(
        &mut self,
        line: &mut Line,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Part, Broken>> {
        loop {
            if let Some(part) = self.take().map_err(Broken::Malformed)? {
                return Poll::Ready(Ok(part));
            }
            let most = match self.left {
                Left::Length(left) => usize::try_from(left).map_or(READ_MAX, |n| n.min(READ_MAX)),
                _ => self.read,
            };
            if self.buffer.capacity() - self.buffer.len() < most.min(READ_MIN) {
                self.buffer.reserve(most);
            }
            let room = self.buffer.capacity() - self.buffer.len();
            match ready!(pin!(line.read_buf(&mut self.buffer)).poll(cx)) {
                Ok(0) => return Poll::Ready(self.ended()),
                Ok(count) if count == room => self.read = (self.read * 2).min(READ_MAX),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(Broken::Cut(error.to_string()))),
            }
        }
    }

    /// All of the body has been handed on.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.left, Left::Done)
    }

    /// All of it was read, and not a byte more.
    pub(crate) fn is_clean(&self) -> bool {
        self.is_done() && self.buffer.is_empty()
    }

    /// What is in the buffer already.
    fn take(&mut self) -> Result<Option<Part>, &'static str> {
        match &mut self.left {
            Left::Done => Ok(Some(Part::End(HeaderMap::new()))),
            Left::Chunked(decoder) => match decoder.next(&mut self.buffer)? {
                Piece::Data(data) => Ok(Some(Part::Data(data))),
                Piece::Partial => Ok(None),
                Piece::End(trailers) => {
                    self.left = Left::Done;
                    Ok(Some(Part::End(trailers)))
                }
            },
            _ if self.buffer.is_empty() => Ok(None),
            Left::Close => Ok(Some(Part::Data(self.buffer.split().freeze()))),
            Left::Length(left) => {
                let here = self.buffer.len();
                let take = usize::try_from(*left).map_or(here, |left| left.min(here));
                *left -= take as u64;
                if *left == 0 {
                    self.left = Left::Done;
                }
                Ok(Some(Part::Data(self.buffer.split_to(take).freeze())))
            }
        }
    }

    fn ended(&mut self) -> Result<Part, Broken> {
        match &self.left {
            Left::Done | Left::Close => {
                self.left = Left::Done;
                Ok(Part::End(HeaderMap::new()))
            }
            Left::Length(left) => Err(Broken::Cut(format!("{left} bytes are missing"))),
            Left::Chunked(_) => Err(Broken::Cut("the last chunk is missing".to_owned())),
        }
    }
}
