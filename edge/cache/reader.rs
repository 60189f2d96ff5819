//! A client's view of a fill: waits for the head, then streams the body from
//! its first byte, by reference.

use crate::engine::Engine;
use crate::entry::{Entry, Meta};
use crate::fill::Failure;
use crate::flow::{Flow, Phase};
use crate::policy::Why;
use bytes::Bytes;
use http::HeaderMap;
use std::fmt;
use std::sync::Arc;

/// What a reader learns once the head is there.
#[derive(Debug)]
pub enum Resolved {
    /// The head; the body streams from the reader.
    Live(Arc<Meta>, Reader),
    /// A stored response that was found to be still good.
    Stored(Arc<Entry>),
    /// The answer cannot be shared: fetch for yourself.
    Declined(Why),
    /// The answer is for other request fields, or purged since: look up again.
    Elsewhere,
    /// There is no answer.
    Failed(Failure),
}

/// The body broke before its end.
#[derive(Debug, Clone)]
pub enum Broken {
    /// The fetch failed.
    Fetch(Failure),
    /// This client read too slowly for the others.
    TooSlow,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Fetch(failure) => write!(f, "the fetch broke: {failure}"),
            Broken::TooSlow => f.write_str("read too slowly for a body that is not kept"),
        }
    }
}

impl std::error::Error for Broken {}

/// Reads along with a fill.
#[derive(Debug)]
pub struct Reader {
    flow: Arc<Flow>,
    engine: Arc<Engine>,
    at: u64,
    /// The newest purge mark when this reader came.
    known: u64,
    /// Whether the fill is for this reader's own request.
    leads: bool,
}

impl Reader {
    /// Joins a fill; `None` when its beginning is no longer there.
    pub(crate) fn join(flow: &Arc<Flow>, engine: &Arc<Engine>, leads: bool) -> Option<Reader> {
        flow.enter().then(|| Reader {
            flow: Arc::clone(flow),
            engine: Arc::clone(engine),
            at: 0,
            known: engine.latest_mark(),
            leads,
        })
    }

    /// Waits for the head. `request` are this reader's own request fields.
    pub async fn resolve(self, request: &HeaderMap) -> Resolved {
        loop {
            let flow = Arc::clone(&self.flow);
            let news = flow.news.notified();
            let phase = flow.inner.lock().phase.clone();
            match phase {
                Phase::Waiting => news.await,
                Phase::Live(meta) if self.may_have(&meta, request) => {
                    return Resolved::Live(meta, self);
                }
                Phase::Refreshed(entry) if self.may_have(&entry.meta, request) => {
                    return Resolved::Stored(entry);
                }
                Phase::Live(_) | Phase::Refreshed(_) => return Resolved::Elsewhere,
                Phase::Declined(why) => return Resolved::Declined(why),
                Phase::Failed(failure) => return Resolved::Failed(failure),
            }
        }
    }

    /// A follower must match the variant, and must not be given what was purged
    /// before it came. The client whose request it is takes what it gets.
    fn may_have(&self, meta: &Meta, request: &HeaderMap) -> bool {
        self.leads || (meta.variance.fits(request) && !self.engine.is_purged(meta, self.known))
    }

    /// The length of the whole body, where it is known.
    pub fn announced(&self) -> Option<u64> {
        self.flow.inner.lock().length()
    }

    /// Whether the object is being kept; otherwise it only passes through.
    pub fn is_kept(&self) -> bool {
        self.flow.inner.lock().is_kept()
    }

    /// Moves to an offset ahead, for a range. The bytes between are not read.
    pub fn skip_to(&mut self, at: u64) {
        if at > self.at {
            self.go(at);
        }
    }

    /// The next bytes, `None` at the end of a complete body.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            let flow = Arc::clone(&self.flow);
            let news = flow.news.notified();
            {
                let mut inner = flow.inner.lock();
                if inner.is_broken(self.at) {
                    return Err(Broken::TooSlow);
                }
                if let Some(bytes) = inner.at(self.at) {
                    let to = self.at + bytes.len() as u64;
                    flow.moved(&mut inner, self.at, Some(to));
                    self.at = to;
                    return Ok(Some(bytes));
                }
                match &inner.done {
                    Some(Ok(())) => return Ok(None),
                    Some(Err(failure)) => return Err(Broken::Fetch(Arc::clone(failure))),
                    None => {}
                }
            }
            news.await;
        }
    }

    fn go(&mut self, to: u64) {
        let flow = Arc::clone(&self.flow);
        let mut inner = flow.inner.lock();
        if !inner.is_broken(self.at) {
            flow.moved(&mut inner, self.at, Some(to));
            self.at = to;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let flow = Arc::clone(&self.flow);
        let mut inner = flow.inner.lock();
        flow.moved(&mut inner, self.at, None);
    }
}
