//! The script of one reply: what the origin writes, where it stops and how it ends. Playing it
//! is `perform.rs`.

use std::time::Duration;

use bytes::Bytes;

use crate::fields::Fields;
use crate::gate::Gate;

/// What the origin answers. Unless told otherwise: 200, a `Date`, the body with its length, and
/// the connection stays open.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) date: bool,
    /// What happens before the head is written.
    pub(crate) overture: Vec<Act>,
    pub(crate) body: Vec<Act>,
    pub(crate) frame: Frame,
    pub(crate) trailers: Fields,
    pub(crate) cut: Option<Cut>,
    pub(crate) close: bool,
}

/// How the body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// By a content-length: this one, or the true one.
    Length(Option<u64>),
    Chunked,
    Close,
    /// No head is written at all: the pieces are all there is.
    Raw,
}

/// One step of the script.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Interim(u16, Fields),
    Piece(Bytes),
    Pattern {
        start: u64,
        len: u64,
        seed: u64,
    },
    Gate(Gate),
    /// A gate in front of which nothing is read either.
    Deaf(Gate),
    Pause(Duration),
    Stall,
    Echo,
}

/// The body ends early.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub after: u64,
    pub reset: bool,
}

impl Reply {
    /// This status and no body yet.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            fields: Fields::new(),
            date: true,
            overture: Vec::new(),
            body: Vec::new(),
            frame: Frame::Length(None),
            trailers: Fields::new(),
            cut: None,
            close: false,
        }
    }

    /// 200 with this body.
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::new(200).piece(body)
    }

    /// These bytes instead of a response; more `piece`s, gates and stalls may follow. The
    /// connection stays open unless `close` says otherwise.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Self {
        let mut reply = Self::new(0).piece(bytes);
        reply.frame = Frame::Raw;
        reply
    }

    /// No byte at all, ever, until the peer leaves.
    pub fn silence() -> Self {
        Self::raw("").stall()
    }

    /// The answer to a request for a range of this pattern: 206 with the range asked for, or 200
    /// with all of it.
    pub fn pattern_range(visit: &crate::Visit, len: u64, seed: u64) -> Self {
        let Some((first, last)) = visit.range().filter(|(first, _)| *first < len) else {
            return Self::new(200)
                .field("accept-ranges", "bytes")
                .pattern(len, seed);
        };
        let last = last.unwrap_or(len - 1).min(len - 1);
        let mut reply =
            Self::new(206).field("content-range", &format!("bytes {first}-{last}/{len}"));
        reply.body.push(Act::Pattern {
            start: first,
            len: last + 1 - first,
            seed,
        });
        reply
    }

    /// Another status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// One more field. A date, content-length or transfer-encoding given here replaces ours.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.add(name, value);
        self
    }

    /// No `Date`.
    pub fn without_date(mut self) -> Self {
        self.date = false;
        self
    }

    /// The next piece of the body; each is written at once, in chunked framing as one chunk.
    pub fn piece(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.body
            .push(Act::Piece(Bytes::copy_from_slice(bytes.as_ref())));
        self
    }

    /// The next piece of the body, many times the same without holding it many times.
    pub fn repeated(mut self, bytes: impl AsRef<[u8]>, count: u64) -> Self {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        self.body
            .extend((0..count).map(|_| Act::Piece(bytes.clone())));
        self
    }

    /// The next piece of the body: the pattern with this seed, made while it is sent.
    pub fn pattern(mut self, len: u64, seed: u64) -> Self {
        self.body.push(Act::Pattern {
            start: 0,
            len,
            seed,
        });
        self
    }

    /// Stops here, after the head and the pieces so far, until the gate is open.
    pub fn gate(mut self, gate: &Gate) -> Self {
        self.body.push(Act::Gate(gate.clone()));
        self
    }

    /// Stops here, after the head and the pieces so far, for a while.
    pub fn pause(mut self, time: Duration) -> Self {
        self.body.push(Act::Pause(time));
        self
    }

    /// Stops here, after the head and the pieces so far, until the peer leaves.
    pub fn stall(mut self) -> Self {
        self.body.push(Act::Stall);
        self
    }

    /// From here on sends back what it gets, until the peer leaves. For what follows a 101.
    pub fn echo(mut self) -> Self {
        self.body.push(Act::Echo);
        self
    }

    /// A 1xx response before the head.
    pub fn interim(mut self, status: u16, fields: &[(&str, &str)]) -> Self {
        let mut list = Fields::new();
        fields
            .iter()
            .for_each(|&(name, value)| list.add(name, value));
        self.overture.push(Act::Interim(status, list));
        self
    }

    /// Holds the head, and interim responses named after this, until the gate is open.
    pub fn hold_head(mut self, gate: &Gate) -> Self {
        self.overture.push(Act::Gate(gate.clone()));
        self
    }

    /// Holds the head until the gate is open and reads nothing meanwhile, so that an upload backs
    /// up. Every other wait reads on, to notice when the peer leaves.
    pub fn hold_unread(mut self, gate: &Gate) -> Self {
        self.overture.push(Act::Deaf(gate.clone()));
        self
    }

    /// Writes the head, and interim responses named after this, only after a while.
    pub fn pause_head(mut self, time: Duration) -> Self {
        self.overture.push(Act::Pause(time));
        self
    }

    /// Never writes the head.
    pub fn stall_head(mut self) -> Self {
        self.overture.push(Act::Stall);
        self
    }

    /// Frames the body in chunks.
    pub fn chunked(mut self) -> Self {
        self.frame = Frame::Chunked;
        self
    }

    /// Gives the body no framing: it ends with the connection.
    pub fn until_close(mut self) -> Self {
        self.frame = Frame::Close;
        self
    }

    /// Declares this length, whatever the body's true length. A body that falls short of it is
    /// ended by close.
    pub fn length(mut self, declared: u64) -> Self {
        self.frame = Frame::Length(Some(declared));
        self
    }

    /// A trailer field; frames the body in chunks.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.add(name, value);
        self.chunked()
    }

    /// Closes in order after this many body bytes, in the middle of what was promised.
    pub fn cut_after(mut self, bytes: u64) -> Self {
        self.cut = Some(Cut {
            after: bytes,
            reset: false,
        });
        self
    }

    /// Resets the connection after this many body bytes.
    pub fn reset_after(mut self, bytes: u64) -> Self {
        self.cut = Some(Cut {
            after: bytes,
            reset: true,
        });
        self
    }

    /// Closes after the reply, and says so in a response.
    pub fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// The body's true length.
    pub(crate) fn body_len(&self) -> u64 {
        self.body
            .iter()
            .map(|act| match act {
                Act::Piece(bytes) => bytes.len() as u64,
                Act::Pattern { len, .. } => *len,
                _ => 0,
            })
            .sum()
    }
}
