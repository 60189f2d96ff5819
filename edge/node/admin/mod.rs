//! The admin API of a running node: health, figures, purge, explain, reload,
//! and the objects of its store. JSON over our own HTTP/1 front.
//!
//! Who may ask is decided in `guard`, before anything else is looked at; what a
//! path means, here. Everything it refuses it refuses in words, with an example
//! of what would do.

mod answer;
mod digest;
mod explain;
mod guard;
mod objects;
mod percent;
mod purge;
mod reload;
mod url;

use crate::http::front::{Finished, Serve};
use crate::http::head::{Framing, Head};
use crate::http::reply::{Body, Reply, Request, Streamed};
use crate::node::Node;
use answer::{Answer, Refused, json};
use bytes::{Bytes, BytesMut};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use serde_json::json;
use std::sync::Arc;

/// The largest JSON anybody may send.
const JSON_BYTES_MAX: usize = 1024 * 1024;

/// Answers on the admin listener.
pub(crate) struct Admin {
    pub(crate) node: Arc<Node>,
}

impl Admin {
    async fn answer(&self, request: Request) -> Answer {
        let head = Arc::clone(&request.head);
        guard::admit(
            &head,
            &self.own_addresses(),
            self.node.settings().admin.token.as_ref(),
        )?;
        let place = Place::of(head.path())?;
        place.check(&head)?;
        let node = &self.node;
        match place {
            Place::Health => Ok(json(StatusCode::OK, json!({ "status": "ok" }))),
            Place::Ready => Ok(ready(*node.draining.borrow())),
            Place::Metrics => Ok(answer::text(METRICS_TYPE, node.metrics.text(node))),
            Place::Config => Ok(reload::config(node)),
            Place::Explain => explain::explain(node, head.query()),
            Place::Purge => purge::purge(node, &read_json(request).await?),
            Place::Reload => reload::reload(node).await,
            Place::Buckets => objects::buckets(&node.store).await,
            Place::Bucket(bucket) => objects::bucket(&node.store, bucket, &head).await,
            Place::Object { bucket, key } => {
                objects::object(&node.store, bucket, key, &head, request.body).await
            }
        }
    }

    fn own_addresses(&self) -> Vec<std::net::IpAddr> {
        let bound = self.node.bound.lock();
        let own = bound.iter().filter(|(kind, _)| *kind == "admin");
        own.map(|(_, address)| address.ip()).collect()
    }
}

impl Serve for Admin {
    async fn serve(&self, request: Request) -> Reply {
        let method = request.head.method.clone();
        let reply = self.answer(request).await.unwrap_or_else(Refused::reply);
        answer::finish(reply, &method)
    }

    /// The access log and the figures are about strangers.
    fn finished(&self, _: &Finished<'_>) {}
}

/// The Prometheus text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4";

fn ready(draining: bool) -> Reply {
    match draining {
        false => json(StatusCode::OK, json!({ "ready": true })),
        true => json(
            StatusCode::SERVICE_UNAVAILABLE,
            json!({ "ready": false, "reason": "draining" }),
        ),
    }
}

/// What a path is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place<'a> {
    Health,
    Ready,
    Metrics,
    Config,
    Explain,
    Purge,
    Reload,
    Buckets,
    Bucket(&'a str),
    /// The key is still percent-encoded.
    Object {
        bucket: &'a str,
        key: &'a str,
    },
}

const PATHS: &str = "/healthz, /readyz, /metrics, /config, /explain?url=…, /purge, /reload, \
                     /store, /store/BUCKET, /store/BUCKET/KEY";

impl Place<'_> {
    fn of(path: &str) -> Result<Place<'_>, Refused> {
        Ok(match path {
            "/healthz" => Place::Health,
            "/readyz" => Place::Ready,
            "/metrics" => Place::Metrics,
            "/config" => Place::Config,
            "/explain" => Place::Explain,
            "/purge" => Place::Purge,
            "/reload" => Place::Reload,
            "/store" | "/store/" => Place::Buckets,
            path => match path.strip_prefix("/store/") {
                None => {
                    let error = format!("there is nothing at {path}; there are {PATHS}");
                    return Err(Refused::new(StatusCode::NOT_FOUND, error));
                }
                Some(rest) => match rest.split_once('/') {
                    None | Some((_, "")) => Place::Bucket(rest.trim_end_matches('/')),
                    Some((bucket, key)) => Place::Object { bucket, key },
                },
            },
        })
    }

    fn methods(self) -> &'static str {
        match self {
            Place::Purge | Place::Reload => "POST",
            Place::Bucket(_) | Place::Object { .. } => "GET, HEAD, PUT, DELETE",
            _ => "GET, HEAD",
        }
    }

    /// Is it asked in the right way?
    fn check(self, head: &Head) -> Result<(), Refused> {
        let methods = self.methods();
        if !methods
            .split(", ")
            .any(|method| method == head.method.as_str())
        {
            let error = format!("{} takes {methods}, not {}", head.path(), head.method);
            return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, error)
                .with(ALLOW, HeaderValue::from_static(methods)));
        }
        // A web page can send a POST anywhere, but not with this type unasked.
        if head.method == Method::POST && !is_json(head) {
            return Err(Refused::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "a POST needs the field `Content-Type: application/json`",
            ));
        }
        Ok(())
    }
}

fn is_json(head: &Head) -> bool {
    let given = head
        .fields
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = given
        .and_then(|text| text.split(';').next())
        .unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// The whole body, which is bounded.
async fn read_json(request: Request) -> Result<Bytes, Refused> {
    if matches!(request.head.framing, Framing::Length(bytes) if bytes > JSON_BYTES_MAX as u64) {
        return Err(too_large());
    }
    match request.body {
        None => Ok(Bytes::new()),
        Some(body) => collect(body).await,
    }
}

async fn collect(body: Streamed) -> Result<Bytes, Refused> {
    let mut body = Body::streamed(body);
    let mut all = BytesMut::new();
    loop {
        match body.next().await {
            Ok(Some(piece)) if all.len() + piece.len() > JSON_BYTES_MAX => return Err(too_large()),
            Ok(Some(piece)) => all.extend_from_slice(&piece),
            Ok(None) => return Ok(all.freeze()),
            Err(error) => return Err(Refused::bad(error.to_string())),
        }
    }
}

fn too_large() -> Refused {
    Refused::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "the body may have at most 1 MiB",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Limits, Parsed, parse};
    use http_body_util::{BodyExt as _, Full};

    pub(super) fn head(text: &str) -> Arc<Head> {
        const LIMITS: Limits = Limits {
            head_bytes: 4096,
            target_bytes: 1024,
            fields: 20,
            body_bytes: 1 << 30,
            own_port: 80,
        };
        match parse(format!("{text}\r\n").as_bytes(), &LIMITS) {
            Ok(Parsed::Head(head, _)) => head,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn paths_find_their_place() {
        let object = |bucket, key| Some(Place::Object { bucket, key });
        for (path, place) in [
            ("/healthz", Some(Place::Health)),
            ("/store", Some(Place::Buckets)),
            ("/store/", Some(Place::Buckets)),
            ("/store/www", Some(Place::Bucket("www"))),
            ("/store/www/", Some(Place::Bucket("www"))),
            ("/store/www/a", object("www", "a")),
            ("/store/www/a/b%20c", object("www", "a/b%20c")),
            ("/store/www/a/", object("www", "a/")),
            ("/storeroom", None),
            ("/healthz/", None),
            ("/", None),
            ("*", None),
        ] {
            assert_eq!(Place::of(path).ok(), place, "{path}");
        }
    }

    #[test]
    fn methods_and_types_are_checked() {
        for (request, status) in [
            ("GET /healthz HTTP/1.1\r\nHost: a\r\n", 200),
            ("HEAD /config HTTP/1.1\r\nHost: a\r\n", 200),
            ("POST /healthz HTTP/1.1\r\nHost: a\r\n", 405),
            ("GET /purge HTTP/1.1\r\nHost: a\r\n", 405),
            ("PUT /store HTTP/1.1\r\nHost: a\r\n", 405),
            ("DELETE /store/www/a HTTP/1.1\r\nHost: a\r\n", 200),
            ("POST /store/www/a HTTP/1.1\r\nHost: a\r\n", 405),
            ("POST /purge HTTP/1.1\r\nHost: a\r\n", 415),
            (
                "POST /purge HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n",
                415,
            ),
            (
                "POST /purge HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n",
                200,
            ),
            (
                "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Type: Application/JSON; charset=utf-8\r\n",
                200,
            ),
            (
                "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Type: application/jsonx\r\n",
                415,
            ),
        ] {
            let head = head(request);
            let checked = Place::of(head.path()).and_then(|place| place.check(&head));
            let got = checked.map_or_else(|refused| refused.status.as_u16(), |()| 200);
            assert_eq!(got, status, "{request}");
        }
    }

    #[tokio::test]
    async fn a_body_over_a_mebibyte_is_refused_however_it_is_framed() {
        let body = |bytes: usize| {
            let full = Full::new(Bytes::from(vec![b' '; bytes]));
            Streamed::new(full.map_err(|never| match never {}))
        };
        assert_eq!(
            collect(body(JSON_BYTES_MAX)).await.unwrap().len(),
            JSON_BYTES_MAX
        );
        let refused = collect(body(JSON_BYTES_MAX + 1)).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
