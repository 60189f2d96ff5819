//! A request body on its way from the client to whoever reads it.
//!
//! The connection loop takes the framing off and sends pieces through a short
//! channel, so a slow reader holds the client back. A body that breaks arrives
//! as an error, never as an end. The first poll tells the loop that somebody
//! wants the body, which is when `100 Continue` is due.

use super::chunked::{Decoder, Piece};
use super::head::Framing;
use super::reply::{BoxError, Streamed};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{Notify, mpsc};

/// Pieces between connection and reader.
const PIECES: usize = 2;

/// The largest piece, and the size of a read.
const PIECE_BYTES: usize = 64 * 1024;

/// What is read and thrown away of a body that nobody wants, so that the
/// connection can be kept.
const UNWANTED_BYTES_MAX: u64 = 256 * 1024;

/// Why a request body broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoilt {
    /// Its framing is malformed, and how.
    Malformed(&'static str),
    /// Larger than allowed.
    TooLarge,
    /// No byte came for too long.
    TimedOut,
    /// The client left in the middle.
    Left,
}

impl fmt::Display for Spoilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Spoilt::Malformed(how) => how,
            Spoilt::TooLarge => "the request body is too large",
            Spoilt::TimedOut => "the request body did not come in time",
            Spoilt::Left => "the client left before the end of its request",
        })
    }
}

impl std::error::Error for Spoilt {}

/// The reading end.
struct Upload {
    pieces: mpsc::Receiver<Result<Frame<Bytes>, Spoilt>>,
    wanted: Arc<Notify>,
    left: Option<u64>,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.wanted.notify_one();
        let piece = std::task::ready!(self.pieces.poll_recv(context));
        Poll::Ready(match piece {
            Some(Ok(frame)) => {
                if let (Some(left), Some(bytes)) = (&mut self.left, frame.data_ref()) {
                    *left = left.saturating_sub(bytes.len() as u64);
                }
                Some(Ok(frame))
            }
            Some(Err(spoilt)) => Some(Err(Box::new(spoilt))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The sending end.
pub(crate) struct Pump {
    pieces: mpsc::Sender<Result<Frame<Bytes>, Spoilt>>,
    pub(crate) wanted: Arc<Notify>,
    framing: Framing,
    bytes_max: u64,
    idle: Duration,
}

/// A body with this framing, and the pump that feeds it.
pub(crate) fn channel(framing: Framing, bytes_max: u64, idle: Duration) -> (Pump, Streamed) {
    let (sender, receiver) = mpsc::channel(PIECES);
    let wanted = Arc::new(Notify::new());
    let upload = Upload {
        pieces: receiver,
        wanted: Arc::clone(&wanted),
        left: match framing {
            Framing::Length(bytes) => Some(bytes),
            Framing::None | Framing::Chunked => None,
        },
    };
    let pump = Pump {
        pieces: sender,
        wanted,
        framing,
        bytes_max,
        idle,
    };
    (pump, Streamed::new(upload))
}

impl Pump {
    /// Reads the whole body. `true` when the connection stands right behind it.
    pub(crate) async fn run(
        self,
        io: &mut (impl AsyncRead + Unpin),
        buffer: &mut BytesMut,
    ) -> bool {
        let outcome = match self.framing {
            Framing::None => Ok(true),
            Framing::Length(bytes) => self.sized(io, buffer, bytes).await,
            Framing::Chunked => self.chunked(io, buffer).await,
        };
        match outcome {
            Ok(complete) => complete,
            Err(spoilt) => {
                // Fails only when nobody reads, and then nobody needs to know.
                let _ = self.pieces.send(Err(spoilt)).await;
                false
            }
        }
    }

    async fn sized(
        &self,
        io: &mut (impl AsyncRead + Unpin),
        buffer: &mut BytesMut,
        mut left: u64,
    ) -> Result<bool, Spoilt> {
        let mut unwanted = 0;
        while left > 0 {
            if buffer.is_empty() {
                self.read(io, buffer).await?;
            }
            let take = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let piece = buffer.split_to(take).freeze();
            left -= take as u64;
            if !self.give(piece, &mut unwanted).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn chunked(
        &self,
        io: &mut (impl AsyncRead + Unpin),
        buffer: &mut BytesMut,
    ) -> Result<bool, Spoilt> {
        let mut decoder = Decoder::new();
        let mut total = 0;
        let mut unwanted = 0;
        loop {
            match decoder.next(buffer).map_err(Spoilt::Malformed)? {
                Piece::Data(piece) => {
                    total += piece.len() as u64;
                    if total > self.bytes_max {
                        return Err(Spoilt::TooLarge);
                    }
                    if !self.give(piece, &mut unwanted).await {
                        return Ok(false);
                    }
                }
                Piece::Partial => self.read(io, buffer).await?,
                Piece::End => {
                    if let Some(trailers) = decoder.take_trailers() {
                        // Nobody may be left to want them.
                        let _ = self.pieces.send(Ok(Frame::trailers(trailers))).await;
                    }
                    return Ok(true);
                }
            }
        }
    }

    /// Hands a piece over. `false` when nobody wants it and too much has come.
    async fn give(&self, piece: Bytes, unwanted: &mut u64) -> bool {
        let bytes = piece.len() as u64;
        if self.pieces.send(Ok(Frame::data(piece))).await.is_err() {
            *unwanted += bytes;
        }
        *unwanted <= UNWANTED_BYTES_MAX
    }

    async fn read(
        &self,
        io: &mut (impl AsyncRead + Unpin),
        buffer: &mut BytesMut,
    ) -> Result<(), Spoilt> {
        buffer.reserve(PIECE_BYTES.min(self.bytes_max as usize).max(512));
        match tokio::time::timeout(self.idle, io.read_buf(buffer)).await {
            Err(_) => Err(Spoilt::TimedOut),
            Ok(Ok(0) | Err(_)) => Err(Spoilt::Left),
            Ok(Ok(_)) => Ok(()),
        }
    }
}
