//! Plays the script of a reply onto a connection, and notices when the peer leaves meanwhile.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::fields::Fields;
use crate::pattern::pattern_from;
use crate::reply::{Act, Frame, Reply};
use crate::request::chunk;
use crate::visit::Visit;
use crate::wait::http_date;

/// What is to become of the connection after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Keep,
    Close,
    Reset,
}

/// One reply being played.
pub(crate) struct Stage<'a, S> {
    pub stream: &'a mut S,
    /// What the peer sent ahead: its next request, or the bytes to echo.
    pub early: &'a mut Vec<u8>,
    /// Counts body bytes written.
    pub sent: &'a AtomicU64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stage<'_, S> {
    /// Plays it to the end. An error means that the peer is gone.
    pub async fn play(&mut self, reply: &Reply, visit: &Visit) -> io::Result<After> {
        for act in &reply.overture {
            if let Act::Interim(status, fields) = act {
                let head = head(*status, fields);
                self.write(&head).await?;
            } else {
                self.wait(act).await?;
            }
        }
        let bodiless = visit.method == "HEAD" || matches!(reply.status, 204 | 304);
        let keep = visit.keeps_alive() && !reply.close;
        if reply.frame != Frame::Raw {
            let fields = final_fields(reply, keep);
            self.write(&head(reply.status, &fields)).await?;
        }
        if bodiless && reply.frame != Frame::Raw {
            return Ok(if keep { After::Keep } else { After::Close });
        }
        if let Some(after) = self.body(reply).await? {
            return Ok(after);
        }
        let short =
            matches!(reply.frame, Frame::Length(Some(declared)) if declared != reply.body_len());
        Ok(if !keep || short || reply.frame == Frame::Close {
            After::Close
        } else {
            After::Keep
        })
    }

    /// Writes the body; says how the connection ends when the script cuts it.
    async fn body(&mut self, reply: &Reply) -> io::Result<Option<After>> {
        let mut left = reply.cut.map_or(u64::MAX, |cut| cut.after);
        let chunked = reply.frame == Frame::Chunked;
        for act in &reply.body {
            match act {
                Act::Piece(bytes) => self.piece(bytes, chunked, &mut left).await?,
                Act::Pattern { start, len, seed } => {
                    let mut at = 0;
                    while at < *len && left > 0 {
                        let take = (len - at).min(1 << 16);
                        let bytes = pattern_from(start + at, take as usize, *seed);
                        self.piece(&bytes, chunked, &mut left).await?;
                        at += take;
                    }
                }
                other => self.wait(other).await?,
            }
            if left == 0
                && let Some(cut) = reply.cut
            {
                return Ok(Some(if cut.reset {
                    After::Reset
                } else {
                    After::Close
                }));
            }
        }
        if chunked {
            let mut end = b"0\r\n".to_vec();
            reply.trailers.write(&mut end);
            end.extend_from_slice(b"\r\n");
            self.write(&end).await?;
        }
        Ok(None)
    }

    /// One piece of the body, or as much of it as is left before the cut.
    async fn piece(&mut self, bytes: &[u8], chunked: bool, left: &mut u64) -> io::Result<()> {
        let count = usize::try_from(*left)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        if bytes.is_empty() || count == 0 {
            return Ok(());
        }
        if !chunked {
            self.write(&bytes[..count]).await?;
        } else {
            let framed = chunk(bytes);
            let size_line = framed.len() - bytes.len() - 2;
            let end = if count == bytes.len() {
                framed.len()
            } else {
                size_line + count
            };
            self.write(&framed[..end]).await?;
        }
        *left -= count as u64;
        self.sent.fetch_add(count as u64, Ordering::SeqCst);
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Waits at a gate, for a time or for ever; an error as soon as the peer leaves.
    async fn wait(&mut self, act: &Act) -> io::Result<()> {
        match act {
            Act::Echo => return self.echo().await,
            Act::Deaf(gate) => {
                gate.pass().await;
                return Ok(());
            }
            _ => {}
        }
        let until = async {
            match act {
                Act::Gate(gate) => gate.pass().await,
                Act::Pause(time) => tokio::time::sleep(*time).await,
                _ => std::future::pending().await,
            }
        };
        tokio::pin!(until);
        loop {
            tokio::select! {
                biased;
                () = &mut until => return Ok(()),
                read = self.stream.read_buf(self.early) => {
                    if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
    }

    async fn echo(&mut self) -> io::Result<()> {
        loop {
            let bytes = std::mem::take(self.early);
            self.write(&bytes).await?;
            if self.stream.read_buf(self.early).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The script's fields, with a date and the framing unless it brings its own.
fn final_fields(reply: &Reply, keep: bool) -> Fields {
    let mut fields = Fields::new();
    if reply.date && !reply.fields.has("date") {
        fields.add("Date", http_date(SystemTime::now()));
    }
    reply
        .fields
        .iter()
        .for_each(|(name, value)| fields.add(name, value));
    let unframed = matches!(reply.status, 101 | 204 | 304) || reply.frame == Frame::Close;
    let own = fields.has("content-length") || fields.has("transfer-encoding");
    match reply.frame {
        _ if own || unframed => {}
        Frame::Length(declared) => {
            fields.add(
                "Content-Length",
                declared.unwrap_or_else(|| reply.body_len()).to_string(),
            );
        }
        _ => fields.add("Transfer-Encoding", "chunked"),
    }
    if !keep && !fields.has("connection") {
        fields.add("Connection", "close");
    }
    fields
}

fn head(status: u16, fields: &Fields) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} {}\r\n", reason(status)).into_bytes();
    fields.write(&mut out);
    out.extend_from_slice(b"\r\n");
    out
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        404 => "Not Found",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Scripted",
    }
}
