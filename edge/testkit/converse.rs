//! One connection of the origin: reads each request, has it answered, plays the reply, and ends
//! the connection the way the script wants it.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fields::head_end;
use crate::framing::{Decoder, Framing};
use crate::origin::{Bodies, Shared, lock};
use crate::perform::{After, Stage};
use crate::visit::Visit;

/// One connection, request after request.
pub(crate) async fn converse<S>(
    mut stream: S,
    tcp: fn(&S) -> &TcpStream,
    shared: &Shared,
    connection: usize,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = Vec::new();
    loop {
        let (visit, whole) = match receive(&mut stream, &mut buffer, shared, connection).await {
            Ok(Some(received)) => received,
            Ok(None) | Err(Lost::Gone) => return,
            Err(Lost::Fault(why)) => return lock(&shared.faults).push(why),
        };
        let handler = lock(&shared.handler).clone();
        let reply = handler(&visit);
        let mut stage = Stage {
            stream: &mut stream,
            early: &mut buffer,
            sent: &shared.sent,
        };
        let Ok(after) = stage.play(&reply, &visit).await else {
            shared.abandoned.fetch_add(1, Ordering::SeqCst);
            return;
        };
        shared.finished.fetch_add(1, Ordering::SeqCst);
        match after {
            After::Keep if whole => {}
            After::Keep | After::Close => return goodbye(&mut stream).await,
            After::Reset => {
                // A reset discards what the kernel has not sent yet: give it a moment.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let _ = tcp(&stream).set_zero_linger();
                return;
            }
        }
    }
}

/// Why a request did not come.
enum Lost {
    Gone,
    Fault(String),
}

impl From<io::Error> for Lost {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Reads and records the next request; says whether its body was read whole.
async fn receive<S>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    shared: &Shared,
    connection: usize,
) -> Result<Option<(Visit, bool)>, Lost>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let end = loop {
        if let Some(end) = head_end(buffer) {
            break end;
        }
        if stream.read_buf(buffer).await? == 0 {
            let clean = buffer.is_empty();
            return if clean {
                Ok(None)
            } else {
                Err(Lost::Fault("closed inside a request head".into()))
            };
        }
    };
    let head: Vec<u8> = buffer.drain(..end).collect();
    let (visit, framing) = Visit::parse(&head, connection).map_err(Lost::Fault)?;
    let (mut visit, index) = shared.record(visit);
    if shared.bodies == Bodies::Ignore && framing != Framing::Nothing {
        return Ok(Some((visit, false)));
    }
    if visit.fields.lists("expect", "100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        stream.flush().await?;
    }
    let mut body = Decoder::new(framing, shared.bodies == Bodies::Keep);
    loop {
        let done = body.feed(buffer).map_err(Lost::Fault)?;
        if done {
            visit.body = Bytes::from(std::mem::take(&mut body.kept));
            visit.trailers = std::mem::take(&mut body.trailers);
        }
        (visit.body_len, visit.body_crc, visit.body_complete) = (body.len, body.crc, done);
        shared.update(index, &visit);
        if done {
            return Ok(Some((visit, true)));
        }
        buffer.reserve(1 << 16);
        if stream.read_buf(buffer).await? == 0 {
            // A client that gives up an upload: seen in `body_complete`, not a fault.
            return Err(Lost::Gone);
        }
    }
}

/// How long an orderly close waits for the peer to read what was written.
const GOODBYE: Duration = Duration::from_secs(2);

/// Closes in order: says so, then lets the peer read on before the socket goes, since closing
/// over unread bytes would reset the connection and destroy what was written.
async fn goodbye<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let _ = stream.shutdown().await;
    let mut sink = vec![0; 1 << 16];
    let drain = async { while matches!(stream.read(&mut sink).await, Ok(count) if count > 0) {} };
    let _ = tokio::time::timeout(GOODBYE, drain).await;
}
