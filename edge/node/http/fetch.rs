//! Asks whoever answers for a route, and carries a fill to its end.
//!
//! A fill is its own task: the client that caused it may leave, and the others
//! go on reading. What turns out not to be shareable is handed, head and body,
//! to the client that asked.

use super::forward;
use super::reply::{BoxError, Interim, Streamed};
use super::sites::Source;
use crate::node::Node;
use edge_cache::{Decision, Failure, Fill, Now, Verdict, validators};
use edge_origin::Delimited;
use http::{HeaderMap, Method, Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The longest a fill may take in all. Stalls end far sooner, by the origin's
/// own deadlines; this ends what drips for ever.
const FILL_MAX: Duration = Duration::from_secs(60 * 60);

/// What an origin, or the store, answered.
pub(crate) struct Answer {
    pub(crate) response: Response<Streamed>,
    /// The end of the body can be told from a lost connection.
    pub(crate) framed: bool,
    /// The node's own purge tags.
    tags: Vec<String>,
    /// Time until the head was there.
    pub(crate) took: Duration,
}

impl Answer {
    /// The length of the body where it is known.
    pub(crate) fn body_bytes(&self) -> Option<u64> {
        self.response.body().size_hint().exact()
    }
}

/// Asks the source of a route.
pub(crate) async fn ask(
    node: &Node,
    source: &Source,
    request: Request<Streamed>,
) -> Result<Answer, edge_origin::Error> {
    let began = Instant::now();
    match source {
        Source::Http(origin) => {
            let response = node.origins.send(origin, request).await?;
            let framed = !matches!(response.extensions().get(), Some(Delimited::Close));
            Ok(Answer {
                response,
                framed,
                tags: Vec::new(),
                took: began.elapsed(),
            })
        }
        Source::Store { bucket } => {
            let (parts, _) = request.into_parts();
            let mut response = node.store.answer(bucket, &parts).await;
            let tags = response
                .extensions_mut()
                .remove::<edge_store::Tags>()
                .map(|tags| tags.0.into_iter().map(|tag| own_tag(&tag)).collect())
                .unwrap_or_default();
            Ok(Answer {
                response,
                framed: true,
                tags,
                took: began.elapsed(),
            })
        }
    }
}

/// A tag of the node's own, which no outside origin can write: a field value
/// cannot hold NUL.
pub(crate) fn own_tag(tag: &str) -> String {
    format!("\0{tag}")
}

/// One fetch for the cache.
pub(crate) struct Errand {
    pub(crate) node: Arc<Node>,
    pub(crate) source: Source,
    pub(crate) target: String,
    /// Fields for the origin, without conditions and ranges.
    pub(crate) fields: HeaderMap,
    /// Where interim replies go: to the client that asked.
    pub(crate) interim: Interim,
    /// Where the answer goes that cannot be shared.
    pub(crate) hand_over: oneshot::Sender<Answer>,
}

/// Carries a fill to its end, within its deadline.
pub(crate) async fn fill(errand: Errand, fill: Fill) {
    // Past the deadline the fill is dropped, which breaks it for its readers.
    if tokio::time::timeout(FILL_MAX, run(errand, fill))
        .await
        .is_err()
    {
        log::warn!(
            "a fetch for the cache was given up after {} s",
            FILL_MAX.as_secs()
        );
    }
}

async fn run(errand: Errand, mut fill: Fill) {
    let mut conditions = fill
        .stale()
        .map(|entry| validators(&entry.meta.fields))
        .unwrap_or_default();
    loop {
        let mut fields = errand.fields.clone();
        for (name, value) in std::mem::take(&mut conditions) {
            fields.insert(name, value);
        }
        let mut request = match forward::request(Method::GET, &errand.target, fields, None) {
            Ok(request) => request,
            Err(error) => return fill.fail(Arc::new(error)),
        };
        request
            .extensions_mut()
            .insert(edge_origin::Interim(errand.interim.clone()));
        let answer = match ask(&errand.node, &errand.source, request).await {
            Ok(answer) => answer,
            Err(error) => {
                log::warn!("{error}");
                return fill.fail(Arc::new(error));
            }
        };
        let now = Now::read();
        errand
            .node
            .metrics
            .origin_seconds
            .observe(answer.took.as_secs_f64());
        let (parts, body) = answer.response.into_parts();
        let body_bytes = body.size_hint().exact();
        match fill.answered(&parts, answer.framed, body_bytes, answer.tags, now) {
            Decision::Write(writer) => return pour(writer, body).await,
            Decision::Done(Verdict::Refreshed) => return,
            // Once: the second time there is nothing left to validate.
            Decision::Done(Verdict::Again(again)) => fill = again,
            Decision::Declined(_) => {
                // Fails only when the client has left, and then nobody wants it.
                let _ = errand.hand_over.send(Answer {
                    response: Response::from_parts(parts, body),
                    framed: answer.framed,
                    tags: Vec::new(),
                    took: answer.took,
                });
                return;
            }
        }
    }
}

/// The body, from the source to the readers.
async fn pour(mut writer: edge_cache::Writer, mut body: Streamed) {
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                if let Ok(bytes) = frame.into_data()
                    && !writer.push(bytes).await
                {
                    return; // Nobody reads, and it will not be kept.
                }
            }
            Err(error) => {
                log::warn!("{error}");
                return writer.fail(failure(error));
            }
        }
    }
    if let Err(failure) = writer.finish() {
        log::warn!("{failure}");
    }
}

fn failure(error: BoxError) -> Failure {
    Arc::from(error)
}
