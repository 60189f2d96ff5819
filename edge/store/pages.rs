//! A bucket as a website, for the edge in front of it: a request head in, a
//! response out, no socket in between.
//!
//! `GET /` serves `index.html`; a missing `dir` with a `dir/index.html` sends
//! the client to `dir/`; what is missing is answered with the bucket's own
//! `404.html`. Every response carries the tags of all that it depends on, so
//! that a write can purge it: this also covers keys that were looked for and
//! not found.

use std::ops::Range;

use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, LAST_MODIFIED, LOCATION,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, request};

use crate::body::{Body, whole};
use crate::conditions::{Verdict, judge};
use crate::error::Error;
use crate::get::Found;
use crate::names;
use crate::percent;
use crate::row::Info;
use crate::store::Store;
use crate::watcher::{bucket_tag, tag};

/// In the extensions of every answer: what it depends on. At most one tag for
/// the bucket and three for objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(pub Vec<String>);

const INDEX: &str = "index.html";
const NOT_FOUND: &str = "404.html";

impl Store {
    /// Answers a request for a page of this bucket. Never fails: what goes
    /// wrong inside is logged and answered with 500.
    pub async fn answer(&self, bucket: &str, request: &request::Parts) -> Response<Body> {
        let mut tags = vec![bucket_tag(bucket)];
        let answer = self.page(bucket, request, &mut tags).await;
        let mut response = answer.unwrap_or_else(|e| broken(bucket, request, &e));
        if request.method == Method::HEAD {
            *response.body_mut() = whole("");
        }
        response.extensions_mut().insert(Tags(tags));
        response
    }

    async fn page(
        &self,
        bucket: &str,
        request: &request::Parts,
        tags: &mut Vec<String>,
    ) -> Result<Response<Body>, Error> {
        if request.method != Method::GET && request.method != Method::HEAD {
            let mut response = own_page(
                StatusCode::METHOD_NOT_ALLOWED,
                "Only GET and HEAD are answered here.",
            );
            let headers = response.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(response);
        }
        let path = request.uri.path();
        let Some(key) = percent::decode(path.strip_prefix('/').unwrap_or(path)) else {
            let text = "The path is not properly encoded.";
            return Ok(own_page(StatusCode::BAD_REQUEST, text));
        };
        match self.lookup(bucket, &key, request, tags).await {
            Err(Error::NoSuchBucket(_)) => {
                let text = format!("There is no bucket \u{201c}{bucket}\u{201d}.");
                Ok(own_page(StatusCode::NOT_FOUND, &text))
            }
            answer => answer,
        }
    }

    async fn lookup(
        &self,
        bucket: &str,
        key: &str,
        request: &request::Parts,
        tags: &mut Vec<String>,
    ) -> Result<Response<Body>, Error> {
        if key.is_empty() || key.ends_with('/') {
            let index = format!("{key}{INDEX}");
            return match self.object(bucket, &index, request, tags).await? {
                Some(response) => Ok(response),
                None => self.not_found(bucket, request, tags).await,
            };
        }
        if let Some(response) = self.object(bucket, key, request, tags).await? {
            return Ok(response);
        }
        let index = format!("{key}/{INDEX}");
        if let Some(key_tag) = known_tag(bucket, &index) {
            tags.push(key_tag);
            if missing_to_none(self.head(bucket, &index).await)?.is_some() {
                return Ok(to_directory(key, request.uri.query()));
            }
        }
        self.not_found(bucket, request, tags).await
    }

    /// The answer for an object; `None` when it is not there.
    async fn object(
        &self,
        bucket: &str,
        key: &str,
        request: &request::Parts,
        tags: &mut Vec<String>,
    ) -> Result<Option<Response<Body>>, Error> {
        let Some(key_tag) = known_tag(bucket, key) else {
            // Too long to exist. The bucket is still looked up, below.
            return Ok(None);
        };
        tags.push(key_tag);
        let (method, headers) = (request.method.clone(), request.headers.clone());
        let choose = move |info: &Info| {
            let verdict = judge(&method, &headers, info);
            let range = match &verdict {
                Verdict::Whole if method == Method::GET => Some(0..info.size),
                Verdict::Part(range) => Some(range.clone()),
                _ => None,
            };
            (range, verdict)
        };
        let found = missing_to_none(self.fetch(bucket, key, choose).await)?;
        Ok(found.map(respond))
    }

    /// The bucket's own page for what is missing, or ours.
    async fn not_found(
        &self,
        bucket: &str,
        request: &request::Parts,
        tags: &mut Vec<String>,
    ) -> Result<Response<Body>, Error> {
        tags.push(tag(bucket, NOT_FOUND));
        let get = request.method == Method::GET;
        let choose = move |info: &Info| (get.then_some(0..info.size), ());
        let Some(found) = missing_to_none(self.fetch(bucket, NOT_FOUND, choose).await)? else {
            let text = "There is nothing at this address.";
            return Ok(own_page(StatusCode::NOT_FOUND, text));
        };
        // It describes the error, not the object asked for: no validators, and
        // no lifetime meant for the page itself.
        let mut headers = HeaderMap::new();
        describe_body(&mut headers, &found.info);
        headers.insert(CONTENT_LENGTH, found.info.size.into());
        let body = found.body.map_or_else(|| whole(""), |(_, body)| body);
        Ok(assemble(StatusCode::NOT_FOUND, headers, body))
    }
}

/// The tag of a key that can exist.
fn known_tag(bucket: &str, key: &str) -> Option<String> {
    names::check_key(key).ok().map(|()| tag(bucket, key))
}

fn missing_to_none<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::NoSuchKey { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

fn respond(found: Found<Verdict>) -> Response<Body> {
    let info = &found.info;
    let mut headers = HeaderMap::new();
    put(&mut headers, ETAG, &format!("\"{}\"", info.etag));
    let modified = httpdate::fmt_http_date(info.last_modified);
    put(&mut headers, LAST_MODIFIED, &modified);
    put_some(&mut headers, CACHE_CONTROL, info.cache_control.as_deref());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));

    let body = found.body.map_or_else(|| whole(""), |(_, body)| body);
    let (status, length) = match &found.said {
        Verdict::Whole => (StatusCode::OK, info.size),
        Verdict::Part(range) => {
            put(
                &mut headers,
                CONTENT_RANGE,
                &content_range(range, info.size),
            );
            (StatusCode::PARTIAL_CONTENT, range.end - range.start)
        }
        Verdict::NotModified => return assemble(StatusCode::NOT_MODIFIED, headers, whole("")),
        Verdict::PreconditionFailed => {
            let text = "The object is not in the state the request asked for.";
            return own_page(StatusCode::PRECONDITION_FAILED, text);
        }
        Verdict::NoSuchRange => {
            let text = "The object is shorter than that.";
            let mut response = own_page(StatusCode::RANGE_NOT_SATISFIABLE, text);
            let headers = response.headers_mut();
            put(headers, CONTENT_RANGE, &format!("bytes */{}", info.size));
            return response;
        }
    };
    describe_body(&mut headers, info);
    headers.insert(CONTENT_LENGTH, length.into());
    assemble(status, headers, body)
}

fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

fn describe_body(headers: &mut HeaderMap, info: &Info) {
    let content_type = info.content_type.as_deref();
    put(
        headers,
        CONTENT_TYPE,
        content_type.unwrap_or("application/octet-stream"),
    );
    put_some(headers, CONTENT_ENCODING, info.content_encoding.as_deref());
}

/// Stored texts were checked when they came in; one that no longer is a header
/// value is left out.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}

fn put_some(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    if let Some(value) = value {
        put(headers, name, value);
    }
}

fn assemble(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Sends the client to `key/`, where relative links work.
fn to_directory(key: &str, query: Option<&str>) -> Response<Body> {
    let mut location = percent::encode(key);
    location.push('/');
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    let mut response = own_page(StatusCode::FOUND, "This page has moved.");
    put(response.headers_mut(), LOCATION, &location);
    response
}

fn broken(bucket: &str, request: &request::Parts, error: &Error) -> Response<Body> {
    let path = request.uri.path().escape_debug();
    log::error!("store: answering {path} from bucket `{bucket}`: {error}");
    let text = "The page could not be read.";
    let mut response = own_page(StatusCode::INTERNAL_SERVER_ERROR, text);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A short page of ours.
fn own_page(status: StatusCode, text: &str) -> Response<Body> {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let page = format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>{status}</title>\n\
         <h1>{status}</h1>\n<p>{text}</p>\n"
    );
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(CONTENT_LENGTH, page.len().into());
    assemble(status, headers, whole(page))
}
