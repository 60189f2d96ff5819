//! `/store/…`: buckets and objects of the bundled store.
//!
//! Bodies of objects travel as they are, streamed both ways; everything else is
//! JSON. A key is what stands behind the bucket, its percent-escapes taken off
//! once.

use super::answer::{Answer, Refused, json};
use super::{digest, percent};
use crate::http::head::Head;
use crate::http::reply::{Body, Reply, Streamed};
use crate::moment::Moment;
use bytes::Bytes;
use edge_cache::Precondition;
use edge_store::{Error, Info, List, Object, Only, PAGE_MAX, Page, Put, Span, Store};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, IF_MATCH, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use serde_json::{Value, json};

/// `GET /store`
pub(super) async fn buckets(store: &Store) -> Answer {
    let buckets: Vec<_> = store
        .buckets()
        .await
        .map_err(refused)?
        .iter()
        .map(|bucket| json!({ "name": bucket.name, "created": Moment::of(bucket.created).rfc3339() }))
        .collect();
    Ok(json(StatusCode::OK, json!({ "buckets": buckets })))
}

/// `/store/BUCKET`
pub(super) async fn bucket(store: &Store, bucket: &str, head: &Head) -> Answer {
    match head.method {
        Method::PUT => {
            store.create_bucket(bucket).await.map_err(refused)?;
            Ok(json(StatusCode::CREATED, json!({ "created": true })))
        }
        Method::DELETE => {
            store.delete_bucket(bucket).await.map_err(refused)?;
            Ok(json(StatusCode::OK, json!({ "deleted": true })))
        }
        _ => {
            let page = store
                .list(bucket, list(head.query())?)
                .await
                .map_err(refused)?;
            Ok(json(StatusCode::OK, shown(&page)))
        }
    }
}

/// `/store/BUCKET/KEY`
pub(super) async fn object(
    store: &Store,
    bucket: &str,
    key: &str,
    head: &Head,
    body: Option<Streamed>,
) -> Answer {
    if head.query().is_some() {
        return Err(Refused::bad(
            "an object takes no query; a question mark in a key is written %3F",
        ));
    }
    let key = percent::decode(key).ok_or_else(|| {
        Refused::bad(format!(
            "the key {key:?} is not properly percent-encoded UTF-8"
        ))
    })?;
    match head.method {
        Method::PUT => {
            let put = put(&head.fields)?;
            let body = body.unwrap_or_else(nothing);
            let info = store.put(bucket, &key, put, body).await.map_err(refused)?;
            Ok(json(
                StatusCode::OK,
                json!({ "etag": info.etag, "size": info.size }),
            ))
        }
        Method::DELETE => {
            let deleted = store.delete(bucket, &key).await.map_err(refused)?;
            Ok(json(StatusCode::OK, json!({ "deleted": deleted })))
        }
        Method::HEAD => {
            let info = store.head(bucket, &key).await.map_err(refused)?;
            let size = info.size;
            let mut reply = described(&info, head);
            reply.length = (reply.status == StatusCode::OK).then_some(size);
            Ok(reply)
        }
        _ => {
            let object = store
                .get(bucket, &key, span(&head.fields))
                .await
                .map_err(refused)?;
            Ok(delivered(object, head))
        }
    }
}

fn nothing() -> Streamed {
    Empty::<Bytes>::new()
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// What to list. A page has at most 1000 entries.
fn list(query: Option<&str>) -> Result<List, Refused> {
    let mut list = List::default();
    for (name, value) in percent::parameters(query)? {
        match name.as_str() {
            "prefix" => list.prefix = value,
            "after" => list.after = Some(value),
            "delimiter" => list.delimiter = Some(value),
            "max" => {
                let max = value.parse().ok().filter(|max| *max > 0);
                let wrong = || {
                    Refused::bad(format!(
                        "`max` is a number from 1, not {value:?}; for example max=100"
                    ))
                };
                list.max = PAGE_MAX.min(max.ok_or_else(wrong)?);
            }
            name => {
                return Err(Refused::bad(format!(
                    "there is no parameter {name:?}, only `prefix`, `after`, `delimiter` and \
                     `max`; for example ?prefix=images/&delimiter=/"
                )));
            }
        }
    }
    Ok(list)
}

fn shown(page: &Page) -> Value {
    let objects: Vec<_> = page
        .objects
        .iter()
        .map(|object| {
            json!({
                "key": object.key,
                "size": object.size,
                "etag": object.etag,
                "last_modified": Moment::of(object.last_modified).rfc3339(),
            })
        })
        .collect();
    json!({ "objects": objects, "prefixes": page.prefixes, "next": page.next })
}

/// What the fields of an upload say about its object.
fn put(fields: &HeaderMap) -> Result<Put, Refused> {
    let content_md5 = match text(fields, HeaderName::from_static("content-md5"))? {
        None => None,
        Some(text) => Some(digest::content_md5(&text).ok_or_else(|| {
            Refused::bad(format!(
                "`Content-MD5` is sixteen bytes in base64, not {text:?}; \
                 for example 1B2M2Y8AsgTpgAmY7PhCfg=="
            ))
        })?),
    };
    Ok(Put {
        content_type: text(fields, CONTENT_TYPE)?,
        cache_control: text(fields, CACHE_CONTROL)?,
        content_encoding: text(fields, CONTENT_ENCODING)?,
        metadata: Vec::new(),
        content_md5,
        only: only(fields)?,
    })
}

/// The conditions an upload may carry: not over another, or over exactly one.
fn only(fields: &HeaderMap) -> Result<Only, Refused> {
    let etag = |text: &str| {
        let inner = text.strip_prefix('"')?.strip_suffix('"')?;
        (!inner.contains('"')).then(|| inner.to_owned())
    };
    match (text(fields, IF_NONE_MATCH)?, text(fields, IF_MATCH)?) {
        (None, None) => Ok(Only::Always),
        (Some(star), None) if star == "*" => Ok(Only::IfAbsent),
        (None, Some(tag)) if etag(&tag).is_some() => {
            Ok(etag(&tag).map_or(Only::Always, Only::IfEtag))
        }
        _ => Err(Refused::bad(
            "an upload may carry `If-None-Match: *` or `If-Match` with one strong entity tag, \
             for example If-Match: \"d41d8cd98f00b204e9800998ecf8427e\"",
        )),
    }
}

/// All lines of a field as one text.
fn text(fields: &HeaderMap, name: HeaderName) -> Result<Option<String>, Refused> {
    let mut lines = Vec::new();
    for line in fields.get_all(&name) {
        let line = std::str::from_utf8(line.as_bytes());
        lines.push(line.map_err(|_| Refused::bad(format!("`{name}` is not UTF-8")))?);
    }
    Ok((!lines.is_empty()).then(|| lines.join(", ")))
}

/// The part asked for. With `If-Range` the whole object is sent, which is
/// always right and saves asking twice.
fn span(fields: &HeaderMap) -> Option<Span> {
    if fields.contains_key(IF_RANGE) {
        return None;
    }
    Span::parse(fields.get(RANGE)?.to_str().ok()?)
}

/// The answer for an object, without its body: 200, 304 or 412.
fn described(info: &Info, head: &Head) -> Reply {
    let mut reply = Reply::new(StatusCode::OK);
    let fields = &mut reply.fields;
    let content_type = info
        .content_type
        .as_deref()
        .unwrap_or("application/octet-stream");
    for (name, value) in [
        (ETAG, Some(&*format!("\"{}\"", info.etag))),
        (
            LAST_MODIFIED,
            Some(&*httpdate::fmt_http_date(info.last_modified)),
        ),
        (CONTENT_TYPE, Some(content_type)),
        (CONTENT_ENCODING, info.content_encoding.as_deref()),
        (ACCEPT_RANGES, Some("bytes")),
    ] {
        // What cannot be sent was refused when it was put.
        if let Some(Ok(value)) = value.map(|value| HeaderValue::from_bytes(value.as_bytes())) {
            fields.insert(name, value);
        }
    }
    reply.status = match edge_cache::precondition(&head.method, &head.fields, fields) {
        Precondition::Proceed => StatusCode::OK,
        Precondition::NotModified => StatusCode::NOT_MODIFIED,
        Precondition::Failed => StatusCode::PRECONDITION_FAILED,
    };
    reply
}

fn delivered(object: Object, head: &Head) -> Reply {
    let mut reply = described(&object.info, head);
    if reply.status != StatusCode::OK {
        return reply;
    }
    let (span, size) = (object.span, object.info.size);
    if span_was_asked(head) {
        reply.status = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {}-{}/{size}", span.start, span.end.saturating_sub(1));
        if let Ok(range) = HeaderValue::from_str(&range) {
            reply.fields.insert(CONTENT_RANGE, range);
        }
    }
    reply.body = Body::streamed(object.body);
    reply
}

fn span_was_asked(head: &Head) -> bool {
    span(&head.fields).is_some()
}

/// A mistake of the store, as a status and in its own words.
fn refused(error: Error) -> Refused {
    let status = match &error {
        Error::NoSuchBucket(_) | Error::NoSuchKey { .. } => StatusCode::NOT_FOUND,
        Error::BucketExists(_) | Error::BucketNotEmpty(_) | Error::TooManyBuckets(_) => {
            StatusCode::CONFLICT
        }
        Error::BadBucketName { .. }
        | Error::BadKey(_)
        | Error::BadField { .. }
        | Error::DigestMismatch { .. }
        | Error::Upload(_) => StatusCode::BAD_REQUEST,
        Error::PreconditionFailed { .. } => StatusCode::PRECONDITION_FAILED,
        Error::BadRange { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Error::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
        Error::ReadOnly(_) | Error::Closed => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        log::error!("admin: {error}");
    }
    let refused = Refused::new(status, error.to_string());
    match error {
        Error::BadRange { size } => match HeaderValue::from_str(&format!("bytes */{size}")) {
            Ok(range) => refused.with(CONTENT_RANGE, range),
            Err(_) => refused,
        },
        _ => refused,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::head;
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn fields(lines: &str) -> HeaderMap {
        head(&format!("PUT /store/b/k HTTP/1.1\r\nHost: a\r\n{lines}"))
            .fields
            .clone()
    }

    #[test]
    fn a_listing_takes_its_parameters_and_no_others() {
        let got = list(Some("prefix=a%2Fb&after=x&delimiter=/&max=7")).unwrap();
        assert_eq!(
            (&*got.prefix, got.after.as_deref(), got.max),
            ("a/b", Some("x"), 7)
        );
        assert_eq!(got.delimiter.as_deref(), Some("/"));
        assert_eq!(list(None).unwrap().max, PAGE_MAX);
        assert_eq!(list(Some("max=5000")).unwrap().max, PAGE_MAX);
        for (query, said) in [
            ("max=0", "max"),
            ("max=a", "max"),
            ("max=-1", "max"),
            ("perfix=a", "perfix"),
        ] {
            let error = list(Some(query)).unwrap_err().error;
            assert!(error.contains(said) && error.contains("example"), "{error}");
        }
    }

    #[test]
    fn a_page_is_shown_with_its_times_and_its_next() {
        let page = Page {
            objects: vec![edge_store::Listed {
                key: "a b".into(),
                size: 5,
                etag: "e".into(),
                last_modified: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            }],
            prefixes: vec!["x/".into()],
            next: None,
        };
        let wanted = json!({
            "objects": [{"key": "a b", "size": 5, "etag": "e", "last_modified": "2023-11-14T22:13:20Z"}],
            "prefixes": ["x/"],
            "next": null,
        });
        assert_eq!(shown(&page), wanted);
    }

    #[test]
    fn an_upload_keeps_its_fields_and_conditions() {
        let got = put(&fields(
            "Content-Type: text/html\r\nCache-Control: max-age=5\r\nCache-Control: public\r\n\
             Content-Encoding: gzip\r\nContent-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==\r\nIf-Match: \"e\"\r\n",
        ))
        .unwrap();
        assert_eq!(got.content_type.as_deref(), Some("text/html"));
        assert_eq!(got.cache_control.as_deref(), Some("max-age=5, public"));
        assert_eq!(got.content_encoding.as_deref(), Some("gzip"));
        assert_eq!(
            got.content_md5.map(hex::encode).as_deref(),
            Some("d41d8cd98f00b204e9800998ecf8427e")
        );
        assert_eq!(got.only, Only::IfEtag("e".into()));
        assert_eq!(
            put(&fields("If-None-Match: *\r\n")).unwrap().only,
            Only::IfAbsent
        );
        assert_eq!(put(&fields("")).unwrap().only, Only::Always);
        for wrong in [
            "Content-MD5: x",
            "If-None-Match: \"e\"",
            "If-Match: *",
            "If-Match: W/\"e\"",
            "If-Match: \"e\", \"f\"",
            "If-Match: e",
            "If-None-Match: *\r\nIf-Match: \"e\"",
        ] {
            let refused = put(&fields(&format!("{wrong}\r\n"))).unwrap_err();
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }

    #[test]
    fn errors_of_the_store_have_their_status() {
        let name = || "x".to_owned();
        for (error, status) in [
            (Error::NoSuchBucket(name()), 404),
            (
                Error::NoSuchKey {
                    bucket: name(),
                    key: name(),
                },
                404,
            ),
            (Error::BucketExists(name()), 409),
            (Error::BucketNotEmpty(name()), 409),
            (
                Error::BadBucketName {
                    name: name(),
                    why: "",
                },
                400,
            ),
            (Error::BadKey(""), 400),
            (
                Error::BadField {
                    field: name(),
                    why: "",
                },
                400,
            ),
            (
                Error::PreconditionFailed {
                    bucket: name(),
                    key: name(),
                },
                412,
            ),
            (Error::BadRange { size: 7 }, 416),
            (Error::TooLarge { max: 7 }, 413),
            (
                Error::DigestMismatch {
                    expected: name(),
                    found: name(),
                },
                400,
            ),
            (Error::Upload("left".into()), 400),
            (
                Error::Full {
                    free: 1,
                    reserve: 2,
                },
                507,
            ),
            (Error::ReadOnly("disk".into()), 503),
            (Error::Closed, 503),
            (
                Error::Damaged {
                    what: name(),
                    why: name(),
                },
                500,
            ),
        ] {
            let text = error.to_string();
            let refused = refused(error);
            assert_eq!((refused.status.as_u16(), &refused.error), (status, &text));
        }
        assert_eq!(
            refused(Error::BadRange { size: 7 }).reply().fields["content-range"],
            "bytes */7"
        );
    }

    #[test]
    fn an_object_is_described_by_what_is_known_of_it() {
        let info = Info {
            etag: "e".into(),
            size: 5,
            last_modified: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            content_type: None,
            cache_control: Some("max-age=9".into()),
            content_encoding: Some("gzip".into()),
            metadata: Vec::new(),
        };
        let asked = |lines: &str| head(&format!("GET /store/b/k HTTP/1.1\r\nHost: a\r\n{lines}"));
        let reply = described(&info, &asked(""));
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.fields["etag"], "\"e\"");
        assert_eq!(
            reply.fields["last-modified"],
            "Tue, 14 Nov 2023 22:13:20 GMT"
        );
        assert_eq!(reply.fields["content-type"], "application/octet-stream");
        assert_eq!(reply.fields["content-encoding"], "gzip");
        let known = described(&info, &asked("If-None-Match: \"e\"\r\n"));
        assert_eq!(known.status, StatusCode::NOT_MODIFIED);
        let changed = described(&info, &asked("If-Match: \"f\"\r\n"));
        assert_eq!(changed.status, StatusCode::PRECONDITION_FAILED);
    }
}
