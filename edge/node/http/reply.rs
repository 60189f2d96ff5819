//! A request as `serve` gets it and a reply as it gives it, blind to the
//! protocol they travel in.

use super::head::Head;
use super::sites::Site;
use super::tls::Session;
use bytes::Bytes;
use edge_cache::{Fragments, Meta, Reader};
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Any error, boxed.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The house's word for a body on its way.
pub(crate) type Streamed = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// A judged request.
pub(crate) struct Request {
    pub(crate) head: Arc<Head>,
    /// `None` when the head says there is none.
    pub(crate) body: Option<Streamed>,
    pub(crate) peer: Peer,
    /// Where interim replies (1xx) go.
    pub(crate) interim: Interim,
}

/// Takes interim replies on their way to the client; more than a few at once
/// are dropped.
pub(crate) type Interim = tokio::sync::mpsc::Sender<http::Response<()>>;

/// Who speaks to us, and how.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// What was agreed on when the connection was secured.
    pub(crate) tls: Option<Arc<Session>>,
}

/// What is sent back.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// Fields shared with a stored response, without copying them.
    pub(crate) stored: Option<Arc<Meta>>,
    /// The reply's own fields; each name here hides the stored one.
    pub(crate) fields: HeaderMap,
    pub(crate) body: Body,
    /// Length of the representation where the body is not sent (HEAD).
    pub(crate) length: Option<u64>,
    pub(crate) facts: Facts,
}

/// What log and metrics want to know.
#[derive(Clone, Default)]
pub(crate) struct Facts {
    pub(crate) site: Option<Arc<Site>>,
    /// Who asks, behind proxies we trust.
    pub(crate) client: Option<IpAddr>,
    pub(crate) outcome: Outcome,
    /// Time until the origin's head was there.
    pub(crate) origin: Option<Duration>,
    /// One word about what went wrong or why it passed.
    pub(crate) reason: Option<&'static str>,
}

/// How a request was answered, as metrics count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Outcome {
    /// From the cache.
    Hit,
    /// Fetched for this request, through a fill.
    Miss,
    /// Read along with somebody else's fill.
    Collapsed,
    /// Stored, found good by the origin.
    Revalidated,
    /// Around the cache.
    Pass,
    /// Answered by the node itself.
    #[default]
    Own,
    /// The origin failed.
    Error,
}

impl Outcome {
    pub(crate) const ALL: [Outcome; 7] = [
        Outcome::Hit,
        Outcome::Miss,
        Outcome::Collapsed,
        Outcome::Revalidated,
        Outcome::Pass,
        Outcome::Own,
        Outcome::Error,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Outcome::Hit => "hit",
            Outcome::Miss => "miss",
            Outcome::Collapsed => "collapsed",
            Outcome::Revalidated => "revalidated",
            Outcome::Pass => "pass",
            Outcome::Own => "own",
            Outcome::Error => "error",
        }
    }
}

/// A reply's body.
pub(crate) enum Body {
    Empty,
    Bytes(Bytes),
    /// A part of a stored body: `at..end`.
    Stored {
        body: Arc<Fragments>,
        at: u64,
        end: u64,
    },
    /// A part of a body that is still arriving: `at..end`, to its end if `None`.
    Live {
        reader: Reader,
        at: u64,
        end: Option<u64>,
    },
    /// Straight from whoever answers, with the trailers once they have come.
    Streamed(Streamed, Option<HeaderMap>),
    /// Another protocol takes over: bytes both ways.
    Tunnel(edge_origin::Tunnel),
}

impl Body {
    /// A body straight from whoever answers.
    pub(crate) fn streamed(body: Streamed) -> Body {
        Body::Streamed(body, None)
    }

    /// How many bytes are still to come, where that is known.
    pub(crate) fn bytes_left(&self) -> Option<u64> {
        match self {
            Body::Empty | Body::Tunnel(_) => Some(0),
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::Stored { at, end, .. } => Some(end - at),
            Body::Live { at, end, .. } => end.map(|end| end.saturating_sub(*at)),
            Body::Streamed(body, _) => body.size_hint().exact(),
        }
    }

    /// The next bytes; `None` at the end. An error means that the body broke,
    /// and must never look like an end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        match self {
            Body::Empty | Body::Tunnel(_) => Ok(None),
            Body::Bytes(bytes) => {
                let all = std::mem::take(bytes);
                Ok((!all.is_empty()).then_some(all))
            }
            Body::Stored { body, at, end } => {
                let Some(mut bytes) = (at < end).then(|| body.from(*at)).flatten() else {
                    return Ok(None);
                };
                cut(&mut bytes, *end - *at);
                *at += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Body::Live { reader, at, end } => {
                if end.is_some_and(|end| *at >= end) {
                    return Ok(None);
                }
                reader.skip_to(*at);
                let next = reader.next().await.map_err(Box::new)?;
                let Some(mut bytes) = next else {
                    return match end {
                        Some(_) => Err("the body ended before its announced length".into()),
                        None => Ok(None),
                    };
                };
                if let Some(end) = end {
                    cut(&mut bytes, *end - *at);
                }
                *at += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Body::Streamed(body, trailers) => loop {
                match body.frame().await {
                    None => return Ok(None),
                    Some(Err(error)) => return Err(error),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                        Ok(_) => {}
                        Err(frame) => *trailers = frame.into_trailers().ok(),
                    },
                }
            },
        }
    }
}

impl Body {
    /// The trailers, once `next` has come to the end.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        match self {
            Body::Streamed(_, trailers) => trailers.take(),
            _ => None,
        }
    }
}

fn cut(bytes: &mut Bytes, most: u64) {
    if bytes.len() as u64 > most {
        bytes.truncate(most as usize);
    }
}

impl Reply {
    /// A reply with nothing but a status.
    pub(crate) fn new(status: StatusCode) -> Reply {
        Reply {
            status,
            stored: None,
            fields: HeaderMap::new(),
            body: Body::Empty,
            length: None,
            facts: Facts::default(),
        }
    }

    /// The body is not sent, but its length is told (RFC 9110, section 9.3.2).
    pub(crate) fn without_body(&mut self) {
        if let Some(bytes) = self.body.bytes_left()
            && !matches!(self.body, Body::Empty)
        {
            self.length = Some(bytes);
        }
        self.body = Body::Empty;
    }
}
