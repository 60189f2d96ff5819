//! The story of a request, blind to the protocol it came in: a request in, a
//! reply out.

use super::acme;
use super::deliver;
use super::fetch::{self, Answer, Errand};
use super::forward;
use super::front::{Finished, Serve};
use super::head::Head;
use super::plan::{self, Plan};
use super::refuse;
use super::reply::{Facts, Interim, Outcome, Peer, Reply, Request, Streamed};
use super::secure;
use super::sites::Live;
use crate::node::Node;
use edge_cache::{Ask, CacheStatus, Forwarded, Lookup, Missed, Now, Reader, Resolved, Why};
use http::header::RANGE;
use std::sync::Arc;
use tokio::sync::oneshot;

/// How often a request looks up again because the answer it waited for was for
/// other request fields; then it fetches for itself.
const LOOKUPS_MAX: usize = 3;

/// Serves the sites.
pub(crate) struct Sites(pub(crate) Arc<Node>);

impl Serve for Sites {
    async fn serve(&self, request: Request) -> Reply {
        serve(&self.0, request).await
    }

    fn finished(&self, finished: &Finished<'_>) {
        let node = &self.0;
        let facts = &finished.reply.facts;
        match &facts.site {
            Some(site) => {
                let status = finished.reply.status;
                site.counters
                    .count(status, facts.outcome, finished.sent.bytes);
                node.metrics.time(facts.outcome, finished.served);
            }
            None => {
                let status = finished.reply.status.as_str();
                node.metrics.refused.with_label_values(&[status]).inc();
            }
        }
        if !finished.sent.complete {
            node.metrics.cut_short.inc();
        }
        node.access.write(finished);
    }
}

/// One request on its way.
struct Way<'a> {
    node: &'a Arc<Node>,
    live: Arc<Live>,
    plan: Plan,
    head: Arc<Head>,
    peer: Peer,
    interim: Interim,
}

async fn serve(node: &Arc<Node>, request: Request) -> Reply {
    let live = node.live.load_full();
    if let Some(reply) = acme::answer(&live, &request.head, &request.peer).await {
        return reply;
    }
    let Some(plan) = plan::plan(&live, &node.secret, &request.head, &request.peer) else {
        return refuse::no_site();
    };
    let facts = Facts {
        site: Some(Arc::clone(&plan.site)),
        client: Some(forward::client(
            &request.head,
            &request.peer,
            &live.settings.guard.trusted_proxies,
        )),
        ..Facts::default()
    };
    let way = Way {
        node,
        live,
        plan,
        head: request.head,
        peer: request.peer,
        interim: request.interim,
    };
    if forward::loops(&way.head, &node.id) {
        return deliver::about(refuse::looped(), facts);
    }
    let (site, trusted) = (
        &way.plan.site.tls,
        way.live.settings.guard.trusted_proxies.as_slice(),
    );
    if let Some(reply) = secure::turned_away(site, &way.head, &way.peer, trusted) {
        return deliver::about(reply, facts);
    }
    let mut reply = match way.plan.pass {
        Some(why) => way.pass(forwarded_by(why), why, request.body).await,
        None => way.cached().await,
    };
    secure::promise(&mut reply, site, &way.head, &way.peer, trusted);
    deliver::about(reply, facts)
}

impl Way<'_> {
    /// Asks the cache, and whoever answers if it has nothing.
    async fn cached(&self) -> Reply {
        for _ in 0..LOOKUPS_MAX {
            let now = Now::read();
            let (reader, errand) = match self.node.engine.lookup(&self.ask(now)) {
                Lookup::Fresh(entry, left) => {
                    let status = CacheStatus::hit(left);
                    return deliver::stored(&entry, status, Outcome::Hit, &self.head, now);
                }
                Lookup::Pass(why) => return self.pass(forwarded_by(why), why, None).await,
                Lookup::Follow(reader) => (reader, None),
                Lookup::Miss(missed, fill, reader) => {
                    let why = forwarded_for(missed);
                    (reader, Some((why, self.send_for(fill))))
                }
                Lookup::Stale(_, fill, reader) => {
                    (reader, Some((Forwarded::Stale, self.send_for(fill))))
                }
            };
            if let Some(reply) = self.resolved(reader, errand).await {
                return reply;
            }
        }
        self.pass(Forwarded::VaryMiss, Why::Remembered, None).await
    }

    fn ask(&self, now: Now) -> Ask<'_> {
        Ask {
            key: &self.plan.key,
            host: &self.head.host,
            target: &self.head.target,
            method: &self.head.method,
            headers: &self.head.fields,
            rules: &self.plan.route().rules,
            now,
        }
    }

    /// Starts the task that carries the fill.
    fn send_for(&self, fill: edge_cache::Fill) -> oneshot::Receiver<Answer> {
        let (hand_over, handed) = oneshot::channel();
        let mut fields = forward::fields(&self.head, &self.peer, &self.from());
        forward::drop_conditions(&mut fields);
        let errand = Errand {
            node: Arc::clone(self.node),
            source: self.plan.route().source.clone(),
            target: self.head.target.clone(),
            fields,
            interim: self.interim.clone(),
            hand_over,
        };
        tokio::spawn(fetch::fill(errand, fill));
        handed
    }

    /// Waits for a fill's head and delivers from it. `None`: look up again.
    async fn resolved(
        &self,
        reader: Reader,
        errand: Option<(Forwarded, oneshot::Receiver<Answer>)>,
    ) -> Option<Reply> {
        let collapsed = errand.is_none();
        let (why, handed) = match errand {
            Some((why, handed)) => (why, Some(handed)),
            None => (Forwarded::UriMiss, None),
        };
        let outcome = if collapsed {
            Outcome::Collapsed
        } else {
            Outcome::Miss
        };
        let resolved = reader.resolve(&self.head.fields).await;
        let now = Now::read();
        match resolved {
            Resolved::Live(meta, reader) => {
                let kept = reader.is_kept();
                if !kept && self.head.fields.contains_key(RANGE) {
                    // Only a part is wanted of what will not be kept: the
                    // origin need not send all of it.
                    drop(reader);
                    return Some(self.pass(why, Why::TooLarge, None).await);
                }
                let mut status = deliver::fetched(why, &meta, &self.plan.route().rules, kept, now);
                status.collapsed = collapsed;
                Some(deliver::live(
                    &meta, reader, status, outcome, &self.head, now,
                ))
            }
            Resolved::Stored(entry) => {
                let rules = &self.plan.route().rules;
                let mut status = deliver::fetched(Forwarded::Stale, &entry.meta, rules, true, now);
                status.forwarded_status = Some(http::StatusCode::NOT_MODIFIED);
                status.collapsed = collapsed;
                let outcome = if collapsed {
                    outcome
                } else {
                    Outcome::Revalidated
                };
                Some(deliver::stored(&entry, status, outcome, &self.head, now))
            }
            Resolved::Declined(declined) => Some(match handed {
                Some(handed) => match handed.await {
                    Ok(answer) => self.unshared(why, declined, answer),
                    Err(_) => refuse::origin(&Unanswered),
                },
                None => self.pass(why, declined, None).await,
            }),
            Resolved::Elsewhere => None,
            Resolved::Failed(failure) => Some(self.failed(why, &*failure)),
        }
    }

    /// An answer to our own fetch that cannot be shared.
    fn unshared(&self, why: Forwarded, declined: Why, answer: Answer) -> Reply {
        let status = CacheStatus {
            forwarded_status: Some(answer.response.status()),
            detail: Some(declined.word()),
            ..CacheStatus::forwarded(why)
        };
        let mut reply = deliver::passed(answer.response, status, Outcome::Miss, &self.head);
        reply.facts.origin = Some(answer.took);
        reply.facts.reason = Some(declined.word());
        reply
    }

    /// Around the cache.
    async fn pass(&self, forwarded: Forwarded, why: Why, body: Option<Streamed>) -> Reply {
        let mut fields = forward::fields(&self.head, &self.peer, &self.from());
        forward::keep_protocol(&self.head, &mut fields);
        let request = forward::request(self.head.method.clone(), &self.head.target, fields, body);
        let mut request = match request {
            Ok(request) => request,
            Err(error) => return self.failed(forwarded, &error),
        };
        request
            .extensions_mut()
            .insert(edge_origin::Interim(self.interim.clone()));
        let now = Now::read();
        match fetch::ask(self.node, &self.plan.route().source, request).await {
            Ok(answer) => {
                self.reconsider(&answer, now);
                let status = CacheStatus {
                    forwarded_status: Some(answer.response.status()),
                    detail: Some(why.word()),
                    ..CacheStatus::forwarded(forwarded)
                };
                self.node
                    .metrics
                    .origin_seconds
                    .observe(answer.took.as_secs_f64());
                let mut reply = deliver::passed(answer.response, status, Outcome::Pass, &self.head);
                reply.facts.origin = Some(answer.took);
                reply.facts.reason = Some(why.word());
                reply
            }
            Err(error) => {
                log::warn!("{error}");
                self.failed(forwarded, &error)
            }
        }
    }

    /// A key that was remembered as uncacheable may have become cacheable.
    fn reconsider(&self, answer: &Answer, now: Now) {
        if self.plan.pass.is_none() && self.head.method == http::Method::GET {
            let mut head = http::Response::new(()).into_parts().0;
            head.status = answer.response.status();
            head.headers = answer.response.headers().clone();
            let bytes = answer.body_bytes();
            self.node
                .engine
                .reconsider(&self.ask(now), &head, answer.framed, bytes);
        }
    }

    fn failed(&self, why: Forwarded, error: &(dyn std::error::Error + 'static)) -> Reply {
        let mut reply = refuse::origin(error);
        if let Ok(value) = http::HeaderValue::from_str(&CacheStatus::forwarded(why).to_string()) {
            reply.fields.insert(deliver::CACHE_STATUS, value);
        }
        reply
    }

    fn from(&self) -> forward::From<'_> {
        forward::From {
            trusted: &self.live.settings.guard.trusted_proxies,
            node_id: &self.node.id,
            ids: &self.node.request_ids,
        }
    }
}

fn forwarded_by(why: Why) -> Forwarded {
    match why {
        Why::Method => Forwarded::Method,
        Why::Remembered | Why::TooLarge | Why::Busy => Forwarded::UriMiss,
        _ => Forwarded::Bypass,
    }
}

fn forwarded_for(missed: Missed) -> Forwarded {
    match missed {
        Missed::Uri | Missed::Purged => Forwarded::UriMiss,
        Missed::Vary => Forwarded::VaryMiss,
        Missed::Stale => Forwarded::Stale,
    }
}

/// The task that fetched for us ended without an answer.
#[derive(Debug)]
struct Unanswered;

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the fetch ended without an answer")
    }
}

impl std::error::Error for Unanswered {}
