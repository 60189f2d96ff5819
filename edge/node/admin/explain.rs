//! `GET /explain`: what the node would do with a request, and why.
//!
//! The request is written down as it would come over a socket, judged by the
//! same parser, planned by the same planner and looked up in the same cache;
//! what would be delivered from the cache is made by the same function and then
//! not sent. Nothing is fetched and nothing changes.

use super::answer::{Answer, Refused, json};
use super::percent;
use super::url::Parts;
use crate::assemble;
use crate::config::Settings;
use crate::http::deliver::{self, CACHE_STATUS};
use crate::http::forward;
use crate::http::head::{self, Head, Parsed};
use crate::http::plan::{self, Plan};
use crate::http::refuse;
use crate::http::reply::{Outcome, Peer, Reply};
use crate::moment::Moment;
use crate::node::Node;
use edge_cache::{Ask, CacheStatus, Engine, Entry, Missed, Now, Peek, Rules};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Explains the request that `query` describes.
pub(super) fn explain(node: &Arc<Node>, query: Option<&str>) -> Answer {
    let question = Question::read(query)?;
    let live = node.live.load_full();
    let head = match question.head(&live.settings) {
        Ok(head) => head,
        Err(fault) => return Ok(refused(&question, &refuse::fault(fault), fault.words())),
    };
    let peer = Peer {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        scheme: question.scheme,
        tls: None,
    };
    match plan::plan(&live, &node.secret, &head, &peer) {
        None => {
            let why = format!("no site answers for the host {:?}", head.host);
            Ok(refused(&question, &refuse::no_site(), &why))
        }
        Some(_) if forward::loops(&head, &node.id) => {
            let why = "by its CDN-Loop this node has forwarded it before";
            Ok(refused(&question, &refuse::looped(), why))
        }
        Some(plan) => Ok(planned(&node.engine, &question, &head, &plan)),
    }
}

/// The request that is asked about.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    method: String,
    scheme: &'static str,
    own_port: u16,
    authority: String,
    target: String,
    fields: Vec<String>,
}

const EXAMPLE: &str =
    "for example /explain?url=http://example.com/a&header=Accept-Encoding:%20gzip";

impl Question {
    fn read(query: Option<&str>) -> Result<Question, Refused> {
        let (mut url, mut method, mut fields) = (None, None, Vec::new());
        for (name, value) in percent::parameters(query)? {
            if value.contains(['\r', '\n']) {
                return Err(Refused::bad(format!(
                    "`{name}` has a line break; {EXAMPLE}"
                )));
            }
            let twice = match name.as_str() {
                "url" => url.replace(value).is_some(),
                "method" => method.replace(value).is_some(),
                "header" if value.contains(':') => {
                    fields.push(value);
                    false
                }
                "header" => {
                    let error = format!("`header` is `Name: value`, not {value:?}; {EXAMPLE}");
                    return Err(Refused::bad(error));
                }
                name => {
                    return Err(Refused::bad(format!(
                        "there is no parameter {name:?}, only `url`, `method` and `header`; an & \
                         in the URL is written %26; {EXAMPLE}"
                    )));
                }
            };
            if twice {
                return Err(Refused::bad(format!(
                    "`{name}` stands there twice; {EXAMPLE}"
                )));
            }
        }
        let url = url.ok_or_else(|| Refused::bad(format!("`url` is missing; {EXAMPLE}")))?;
        let parts = Parts::of(&url)
            .map_err(|why| Refused::bad(format!("`url`: {url:?}: {why}; {EXAMPLE}")))?;
        Ok(Question {
            method: method.unwrap_or_else(|| "GET".to_owned()),
            scheme: parts.scheme,
            own_port: parts.own_port(),
            authority: parts.authority.to_owned(),
            target: parts.target.into_owned(),
            fields,
        })
    }

    /// The request as it would come, judged as it would be.
    fn head(&self, settings: &Settings) -> Result<Arc<Head>, head::Fault> {
        let limits = assemble::terms(settings, self.own_port).limits;
        match head::parse(self.bytes().as_bytes(), &limits)? {
            Parsed::Head(head, _) => Ok(head),
            // It ends in an empty line; whatever is missing is not its end.
            Parsed::Partial => Err(head::Fault::Bad("not an HTTP request")),
        }
    }

    fn bytes(&self) -> String {
        let Question {
            method,
            target,
            authority,
            fields,
            ..
        } = self;
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\n");
        for field in fields {
            text.push_str(field);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text
    }

    fn line(&self) -> String {
        let Question {
            method,
            scheme,
            authority,
            target,
            ..
        } = self;
        format!("{method} {scheme}://{authority}{target}")
    }
}

/// What the next such request would meet.
struct Prediction {
    outcome: &'static str,
    /// One word about why, where there is one.
    reason: Option<&'static str>,
    /// Where the node alone decides it.
    status: Option<StatusCode>,
    cache_status: Option<String>,
    /// In words.
    text: String,
}

impl Prediction {
    fn json(&self) -> Value {
        json!({
            "outcome": self.outcome,
            "reason": self.reason,
            "status": self.status.map(|status| status.as_u16()),
            "cache_status": self.cache_status,
        })
    }
}

/// Turned away before it reaches a route.
fn refused(question: &Question, reply: &Reply, why: &str) -> Reply {
    let status = reply.status.as_u16();
    let prediction = Prediction {
        outcome: "refused",
        reason: reply.facts.reason,
        status: Some(reply.status),
        cache_status: None,
        text: format!("refused with {status}: {why}"),
    };
    let answer = json!({
        "text": [question.line(), prediction.text],
        "site": null,
        "route": null,
        "origin": null,
        "key": null,
        "stored": null,
        "prediction": prediction.json(),
    });
    json(StatusCode::OK, answer)
}

fn planned(engine: &Arc<Engine>, question: &Question, head: &Head, plan: &Plan) -> Reply {
    let now = Now::read();
    let route = plan.route();
    let ask = |method| Ask {
        key: &plan.key,
        host: &head.host,
        target: &head.target,
        method,
        headers: &head.fields,
        rules: &route.rules,
        now,
    };
    // What is stored is of interest also where it is not used.
    let stored = match engine.peek(&ask(&Method::GET)) {
        Peek::Fresh(entry, left) => Some((entry, Some(left))),
        Peek::Stale(entry) => Some((entry, None)),
        _ => None,
    };
    let prediction = match plan.pass {
        Some(why) => predict(Peek::Pass(why), head, now),
        None => predict(engine.peek(&ask(&head.method)), head, now),
    };
    let origin = route.source.to_string();
    let mut text = vec![
        question.line(),
        format!(
            "site {}, route {}, origin {origin}",
            plan.site.name, route.name
        ),
        format!("key {}", plan.key),
    ];
    text.extend(match &stored {
        Some((entry, left)) => in_words(entry, *left, &route.rules, now),
        None => vec!["stored: nothing that could be used".to_owned()],
    });
    text.push(format!("next: {}", prediction.text));
    let answer = json!({
        "text": text,
        "site": plan.site.name,
        "route": route.name,
        "origin": origin,
        "key": plan.key.to_string(),
        "stored": stored.map(|(entry, left)| shown(&entry, left, &route.rules, now)),
        "prediction": prediction.json(),
    });
    json(StatusCode::OK, answer)
}

/// What `serve` does with each of these.
fn predict(peek: Peek, head: &Head, now: Now) -> Prediction {
    let open = |outcome, reason, text: &str| Prediction {
        outcome,
        reason,
        status: None,
        cache_status: None,
        text: format!("{outcome}: {text}"),
    };
    match peek {
        Peek::Fresh(entry, left) => {
            let reply = deliver::stored(&entry, CacheStatus::hit(left), Outcome::Hit, head, now);
            let said = reply
                .fields
                .get(CACHE_STATUS)
                .and_then(|value| value.to_str().ok());
            Prediction {
                outcome: "hit",
                reason: None,
                status: Some(reply.status),
                cache_status: said.map(str::to_owned),
                text: format!(
                    "hit: {} from the cache, the origin is not asked",
                    reply.status.as_u16()
                ),
            }
        }
        Peek::Stale(_) => open(
            "revalidate",
            Some("stale"),
            "the origin is asked whether what is stored is still good",
        ),
        Peek::Following => open(
            "collapsed",
            None,
            "it is being fetched now, and this request reads along",
        ),
        Peek::Miss(missed) => {
            let (reason, text) = match missed {
                Missed::Uri => (
                    "uri",
                    "nothing is stored under the key, the origin is asked",
                ),
                Missed::Vary => (
                    "vary",
                    "only other variants are stored, the origin is asked",
                ),
                Missed::Purged => ("purged", "what was stored is purged, the origin is asked"),
                Missed::Stale => (
                    "stale",
                    "what is stored is stale and has no validator, the origin is asked",
                ),
            };
            open("miss", Some(reason), text)
        }
        Peek::Pass(why) => open(
            "pass",
            Some(why.word()),
            &format!(
                "the origin is asked around the cache, because of {}",
                why.word()
            ),
        ),
    }
}

fn in_words(entry: &Entry, left: Option<Duration>, rules: &Rules, now: Now) -> Vec<String> {
    let meta = &entry.meta;
    let freshness = match left {
        Some(left) => format!("fresh for {} s more", left.as_secs()),
        None => "stale or purged softly".to_owned(),
    };
    vec![
        format!(
            "stored: {} with {} bytes of body, arrived {}, age {} s",
            meta.status.as_u16(),
            entry.body.len(),
            Moment::of(meta.arrived).rfc3339(),
            meta.terms.age(now).as_secs(),
        ),
        format!(
            "{freshness}; lifetime by: {}",
            Engine::rule(entry, rules).words()
        ),
    ]
}

fn shown(entry: &Entry, left: Option<Duration>, rules: &Rules, now: Now) -> Value {
    let meta = &entry.meta;
    let fields: Vec<_> = meta
        .fields
        .iter()
        .map(|(name, value)| {
            [
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            ]
        })
        .collect();
    json!({
        "status": meta.status.as_u16(),
        "age_seconds": seconds(meta.terms.age(now)),
        "fresh_for_seconds": left.map(seconds),
        "rule": Engine::rule(entry, rules).words(),
        "fields": fields,
        "body_bytes": entry.body.len(),
        "arrived": Moment::of(meta.arrived).rfc3339(),
    })
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_cache::Why;

    fn question(query: &str) -> Question {
        Question::read(Some(query)).unwrap()
    }

    fn settings() -> Settings {
        crate::config::demo("/nowhere".into())
    }

    #[test]
    fn a_question_becomes_the_request_it_is_about() {
        let question =
            question("header=A:%20b&url=http://Example.com:80/%2561?x%26y&method=HEAD&header=C:d");
        assert_eq!(
            question.bytes(),
            "HEAD /%61?x&y HTTP/1.1\r\nHost: Example.com:80\r\nA: b\r\nC:d\r\n\r\n"
        );
        let head = question.head(&settings()).unwrap();
        assert_eq!((&*head.host, &*head.target), ("example.com", "/a?x&y"));
        assert_eq!(head.fields["a"], "b");
        assert_eq!(head.fields["c"], "d");
    }

    #[test]
    fn each_scheme_has_its_own_port() {
        for (url, host) in [
            ("https://a:443/", "a"),
            ("https://a:80/", "a:80"),
            ("http://a:443/", "a:443"),
        ] {
            let head = question(&format!("url={url}")).head(&settings()).unwrap();
            assert_eq!(head.host, host, "{url}");
        }
    }

    #[test]
    fn a_question_that_is_none_is_refused_with_an_example() {
        for (query, said) in [
            ("", "`url` is missing"),
            ("method=GET", "`url` is missing"),
            ("url=example.com", "`url`"),
            ("url=http://a/&url=http://b/", "`url` stands there twice"),
            ("url=http://a/?b&c=d", "\"c\""),
            ("url=http://a/&header=x", "`header`"),
            ("url=http://a/%0d%0aX:y", "line break"),
            ("url=http://a/&header=x:%0ay", "line break"),
            ("url=http://a/&method=GET%0d", "line break"),
        ] {
            let refused = Question::read(Some(query)).unwrap_err();
            assert_eq!(refused.status, StatusCode::BAD_REQUEST);
            let error = refused.error;
            assert!(
                error.contains(said) && error.contains("for example"),
                "{query}: {error}"
            );
        }
    }

    #[test]
    fn what_the_front_would_refuse_is_refused_here_too() {
        for (query, status) in [
            ("url=http://a/..", 400),
            ("url=http://a/%2500", 400),
            ("url=http://a/b%20c", 400),
            ("url=http://u@a/", 400),
            ("url=http://a/&method=TRACE", 405),
            ("url=http://a/&method=", 400),
            ("url=http://a/&header=Host:%20b", 400),
            ("url=http://a/&header=X%20Y:%20b", 400),
            ("url=http://a/&header=Transfer-Encoding:%20gzip", 501),
        ] {
            let fault = question(query).head(&settings()).unwrap_err();
            assert_eq!(fault.status().as_u16(), status, "{query}");
        }
    }

    #[test]
    fn predictions_have_their_shape() {
        let head = question("url=http://a/").head(&settings()).unwrap();
        for (peek, wanted) in [
            (
                Peek::Miss(Missed::Uri),
                json!({ "outcome": "miss", "reason": "uri", "status": null, "cache_status": null }),
            ),
            (
                Peek::Pass(Why::Bypass),
                json!({ "outcome": "pass", "reason": "bypass-rule", "status": null, "cache_status": null }),
            ),
            (
                Peek::Following,
                json!({ "outcome": "collapsed", "reason": null, "status": null, "cache_status": null }),
            ),
        ] {
            assert_eq!(predict(peek, &head, Now::read()).json(), wanted);
        }
    }
}
