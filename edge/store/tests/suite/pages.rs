//! A bucket as a website.

use edge_store::{Put, Tags};
use http::{Method, Request, Response, header::*};

use crate::{Fixture, LARGE, body, collect, fixture, noise};

type Answer = Response<Vec<u8>>;

async fn ask(
    f: &Fixture,
    bucket: &str,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    // Boxed as one that may move between threads, as its callers need it.
    let answer = futures_util::FutureExt::boxed(f.store.answer(bucket, &parts));
    let (parts, body) = answer.await.into_parts();
    Response::from_parts(parts, collect(body).await)
}

async fn get(f: &Fixture, path: &str) -> Answer {
    ask(f, "www", Method::GET, path, &[]).await
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(answer.body()).unwrap()
}

fn header(answer: &Answer, name: HeaderName) -> &str {
    answer
        .headers()
        .get(name)
        .map_or("", |v| v.to_str().unwrap())
}

fn tags(answer: &Answer) -> Vec<&str> {
    let Tags(tags) = answer.extensions().get().unwrap();
    tags.iter().map(String::as_str).collect()
}

async fn site() -> Fixture {
    let f = fixture().await;
    for key in ["index.html", "dir/index.html", "a b", "ü", "x", "x/y", "a/"] {
        f.put(key, key.as_bytes()).await;
    }
    f
}

#[tokio::test]
async fn paths_lead_to_objects() {
    let f = site().await;
    let cases = [
        ("/", 200, "index.html", "store:www/index.html"),
        ("/?q=1", 200, "index.html", "store:www/index.html"),
        ("/index.html", 200, "index.html", "store:www/index.html"),
        ("/dir/", 200, "dir/index.html", "store:www/dir/index.html"),
        ("/a%20b", 200, "a b", "store:www/a b"),
        ("/%C3%BC", 200, "ü", "store:www/ü"),
        ("/x", 200, "x", "store:www/x"),
        ("/x/y", 200, "x/y", "store:www/x/y"),
    ];
    for (path, status, body, tag) in cases {
        let answer = get(&f, path).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(text(&answer), body, "{path}");
        assert_eq!(tags(&answer), ["store:www", tag], "{path}");
        assert_eq!(header(&answer, CONTENT_LENGTH), body.len().to_string());
        assert_eq!(header(&answer, CONTENT_TYPE), "application/octet-stream");
        assert_eq!(header(&answer, ACCEPT_RANGES), "bytes");
    }
}

#[tokio::test]
async fn a_directory_without_its_slash_is_redirected() {
    let f = site().await;
    let answer = get(&f, "/dir?a=b&c").await;
    assert_eq!(answer.status(), 302);
    assert_eq!(header(&answer, LOCATION), "/dir/?a=b&c");
    assert_eq!(
        tags(&answer),
        ["store:www", "store:www/dir", "store:www/dir/index.html"]
    );
    // Nobody is sent to another site.
    f.put("/evil.example/index.html", b"x").await;
    let answer = get(&f, "//evil.example").await;
    assert_eq!(answer.status(), 302);
    assert_eq!(header(&answer, LOCATION), "/%2Fevil.example/");
}

#[tokio::test]
async fn what_is_missing_is_answered_with_the_buckets_page_or_ours() {
    let f = site().await;
    let answer = get(&f, "/nope").await;
    assert_eq!(answer.status(), 404);
    assert!(text(&answer).contains("nothing at this address"));
    let looked_for = [
        "store:www",
        "store:www/nope",
        "store:www/nope/index.html",
        "store:www/404.html",
    ];
    assert_eq!(tags(&answer), looked_for);

    let put = Put {
        content_type: Some("text/html".into()),
        cache_control: Some("max-age=31536000".into()),
        ..Put::default()
    };
    let page = f.store.put("www", "404.html", put, body("<p>lost?"));
    page.await.unwrap();
    let answer = get(&f, "/nope").await;
    assert_eq!((answer.status().as_u16(), text(&answer)), (404, "<p>lost?"));
    assert_eq!(header(&answer, CONTENT_TYPE), "text/html");
    assert_eq!(tags(&answer), looked_for);
    for absent in [ETAG, LAST_MODIFIED, CACHE_CONTROL] {
        assert!(!answer.headers().contains_key(absent));
    }
    assert_eq!(get(&f, "/404.html").await.status(), 200);

    let answer = ask(&f, "gone<b>", Method::GET, "/", &[]).await;
    assert_eq!(answer.status(), 404);
    assert!(text(&answer).contains("gone&lt;b&gt;"), "{}", text(&answer));
    assert_eq!(tags(&answer)[0], "store:gone<b>");

    let long = format!("/{}", "k".repeat(2000));
    assert_eq!(get(&f, &long).await.status(), 404);
    assert_eq!(get(&f, "/%zz").await.status(), 400);
}

#[tokio::test]
async fn stored_headers_come_back() {
    let f = fixture().await;
    let put = Put {
        content_type: Some("text/css".into()),
        cache_control: Some("max-age=60".into()),
        content_encoding: Some("br".into()),
        ..Put::default()
    };
    let info = f.store.put("www", "a", put, body("hello")).await.unwrap();
    let answer = get(&f, "/a").await;
    assert_eq!(header(&answer, CONTENT_TYPE), "text/css");
    assert_eq!(header(&answer, CACHE_CONTROL), "max-age=60");
    assert_eq!(header(&answer, CONTENT_ENCODING), "br");
    assert_eq!(header(&answer, ETAG), format!("\"{}\"", info.etag));
    let modified = httpdate::fmt_http_date(info.last_modified);
    assert_eq!(header(&answer, LAST_MODIFIED), modified);

    let head = ask(&f, "www", Method::HEAD, "/a", &[]).await;
    assert_eq!(head.headers(), answer.headers());
    assert!(head.body().is_empty());
    let head = ask(&f, "www", Method::HEAD, "/nope", &[]).await;
    assert_eq!(head.status(), 404);
    assert!(head.body().is_empty());

    let answer = ask(&f, "www", Method::POST, "/a", &[]).await;
    assert_eq!(answer.status(), 405);
    assert_eq!(header(&answer, ALLOW), "GET, HEAD");
}

#[tokio::test]
async fn conditions_and_ranges_are_honoured() {
    let f = fixture().await;
    for size in [100, LARGE] {
        let bytes = noise(size, 4);
        let etag = format!("\"{}\"", f.put("a", &bytes).await.etag);
        let ask = |headers: Vec<(&'static str, String)>| {
            let f = &f;
            async move {
                let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
                ask(f, "www", Method::GET, "/a", &headers).await
            }
        };
        let answer = ask(vec![("if-none-match", etag.clone())]).await;
        assert_eq!(answer.status(), 304);
        assert!(answer.body().is_empty());
        assert_eq!(header(&answer, ETAG), etag);
        assert!(!answer.headers().contains_key(CONTENT_LENGTH));

        let answer = ask(vec![("if-match", "\"other\"".into())]).await;
        assert_eq!(answer.status(), 412);

        let answer = ask(vec![("range", "bytes=10-19".into())]).await;
        assert_eq!(answer.status(), 206);
        assert_eq!(answer.body(), &bytes[10..20]);
        assert_eq!(header(&answer, CONTENT_LENGTH), "10");
        assert_eq!(
            header(&answer, CONTENT_RANGE),
            format!("bytes 10-19/{size}")
        );

        let answer = ask(vec![("range", format!("bytes={size}-"))]).await;
        assert_eq!(answer.status(), 416);
        assert_eq!(header(&answer, CONTENT_RANGE), format!("bytes */{size}"));

        let stale = vec![
            ("range", "bytes=10-19".into()),
            ("if-range", "\"other\"".into()),
        ];
        assert!(ask(stale).await.body() == &bytes);
    }
}

#[tokio::test]
async fn damage_is_answered_with_500_and_no_details() {
    let f = fixture().await;
    f.put("a", &noise(LARGE, 1)).await;
    std::fs::write(f.blob(), noise(LARGE, 2)).unwrap();
    let answer = get(&f, "/a").await;
    assert_eq!(answer.status(), 500);
    assert!(!text(&answer).contains("blobs"), "{}", text(&answer));
    assert_eq!(tags(&answer), ["store:www", "store:www/a"]);
}
