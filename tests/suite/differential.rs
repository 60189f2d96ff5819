//! What we accept, the origin reads as the same request, and what follows it as itself: random
//! requests, well-formed, nearly so, and damaged, read by three readers: a plain one here that
//! follows the RFC to the letter, the node, and the origin behind it. The node may refuse what the
//! plain reader takes; it must never take what the plain reader does not, nor take it for
//! something else. `EDGE_TEST_SEED` repeats a run.

use crate::in_front_of;
use crate::plain_reader::{Seen, own_fields, read_plainly};
use crate::random::Random;
use edge_testkit::{Node, Origin, Reply, Visit};
use futures_util::StreamExt as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CASES: usize = 6000;

const MARKER: &str =
    "GET /marker HTTP/1.1\r\nHost: edge.test\r\nX-Marker: 1\r\nConnection: close\r\n\r\n";

/// What the origin saw of a case, a line for each request, and how the connection ended; or why
/// neither could be told.
type Outcome = Result<(Vec<String>, String), String>;

#[test]
fn what_we_accept_the_origin_reads_as_the_same_request() {
    let origin = Origin::start(|visit| {
        let seen = as_seen(visit).line();
        let hex: String = seen.bytes().map(|byte| format!("{byte:02x}")).collect();
        Reply::ok("x")
            .field("Cache-Control", "no-store")
            .field("X-Saw", &hex)
    });
    let node = in_front_of(&origin);
    let mut random = Random::seeded_by_the_clock();
    let seed = random.seed();
    let cases: Vec<_> = (0..CASES).map(|_| case(&mut random)).collect();
    let (mut whole, mut accepted, mut answered) = (0, 0, 0);
    let tried = ask_all(&node, &cases);
    for ((bytes, sound), got) in cases.iter().zip(tried) {
        let shown = format!("seed {seed}: {:?}", String::from_utf8_lossy(bytes));
        let wanted: Vec<_> = read_plainly(bytes).iter().map(Seen::line).collect();
        let (lines, end) = got.unwrap_or_else(|why| panic!("{shown}: {why}"));
        assert!(
            lines.len() <= wanted.len() && lines == wanted[..lines.len()],
            "{shown}\nthe origin saw {lines:#?}\nbut it says {wanted:#?}"
        );
        if *sound {
            assert_eq!(lines.len(), 2, "{shown}: {end}");
            whole += 1;
        }
        accepted += usize::from(!lines.is_empty());
        answered += lines.len();
    }
    let unfinished = origin
        .requests()
        .iter()
        .filter(|visit| !visit.body_complete)
        .count();
    assert_eq!(
        origin.request_count() - unfinished,
        answered,
        "seed {seed}: requests nobody asked for"
    );
    assert!(
        origin.faults().is_empty(),
        "seed {seed}: {:?}",
        origin.faults()
    );
    // The test would show nothing if all were refused, or nothing were.
    assert!(
        whole > CASES / 10 && accepted > whole && accepted < CASES * 9 / 10,
        "{whole} {accepted}"
    );
}

fn as_seen(visit: &Visit) -> Seen {
    Seen {
        method: visit.method.clone(),
        target: visit.target.clone(),
        // A client of HTTP/1.0 need not name a host: the origin is asked by its own.
        host: Some(visit.field("host"))
            .filter(|host| !host.starts_with("127.0.0.1:"))
            .unwrap_or_default()
            .to_owned(),
        fields: own_fields(
            visit
                .fields
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
        body_len: visit.body_len,
        body_crc: visit.body_crc,
    }
}

/// Sends each case over a connection of its own.
fn ask_all(node: &Node, cases: &[(Vec<u8>, bool)]) -> Vec<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let to = node.http();
    let asking = futures_util::stream::iter(cases).map(|(bytes, _)| async move {
        let mut stream = TcpStream::connect(to)
            .await
            .map_err(|error| error.to_string())?;
        // In two pieces, so that requests lie across reads.
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        let _ = stream.write_all(first).await;
        tokio::task::yield_now().await;
        let _ = stream.write_all(rest).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        match tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await {
            Err(_) => Err("the connection stays open".to_owned()),
            // A body that broke ends in a reset when the origin had begun to answer.
            Ok(Err(error)) => {
                replies(&answer).map(|(lines, end)| (lines, format!("{end}, {error}")))
            }
            Ok(Ok(_)) => replies(&answer),
        }
    });
    runtime.block_on(asking.buffered(48).collect())
}

fn replies(mut bytes: &[u8]) -> Outcome {
    let mut lines = Vec::new();
    let mut last = "the connection ended unannounced";
    while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end + 2]).to_ascii_lowercase();
        let status: Option<u16> = head
            .strip_prefix("http/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| format!("no status in {head:?}"))?;
        let field = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let mut length = field("content-length").map_or(0, |text| text.parse().unwrap_or(0));
        bytes = &bytes[end + 4..];
        if status == 100 {
            continue;
        }
        let Some(saw) = field("x-saw") else {
            return Ok((lines, format!("refused with {status}")));
        };
        let line: Option<Vec<u8>> = (0..saw.len() / 2)
            .map(|n| u8::from_str_radix(&saw[2 * n..2 * n + 2], 16).ok())
            .collect();
        let line = String::from_utf8(line.ok_or("not hex")?).map_err(|error| error.to_string())?;
        if line.starts_with("HEAD ") {
            length = 0;
        }
        if field("connection") == Some("close") {
            last = "the connection ended as announced";
        }
        lines.push(line);
        bytes = bytes.get(length..).ok_or("a body that is cut short")?;
    }
    Ok((lines, last.to_owned()))
}

// --- the cases ---

/// Bytes of a request with the marker behind it, and whether they are as they should be.
fn case(random: &mut Random) -> (Vec<u8>, bool) {
    let (head, body) = sound(random);
    let kind = random.below(10);
    let mut bytes = [head.as_slice(), &body].concat();
    let mut untouched = true;
    if kind >= 3 {
        untouched = false;
        for _ in 0..=random.below(2) {
            damage(random, &mut bytes, head.len());
        }
    }
    bytes.extend_from_slice(MARKER.as_bytes());
    (bytes, untouched)
}

/// A well-formed request: its head and its body as sent.
fn sound(random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let method = random.pick(&[
        "GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "BREW", "M-SEARCH",
    ]);
    let target = target(random);
    let absolute = random.below(6) == 0;
    let target = if absolute {
        format!("http://edge.test{target}")
    } else {
        target
    };
    let mut lines = vec![format!(
        "Host: {}",
        random.pick(&["edge.test", "EDGE.test", "edge.test:80", "edge.test."])
    )];
    for n in 0..random.below(5) {
        let space = random.pick(&["", " ", "  ", "\t", " \t "]);
        let value = random.pick(&[
            "",
            "1",
            "a b",
            "a\tb",
            "x, y",
            "\"q\\\"\"",
            "a:b",
            "GET / HTTP/1.1",
            "0",
            "chunked",
        ]);
        let name = random.pick(&["X-T", "x-t", "X-Test_1", "X-T.~!"]);
        lines.push(format!("{name}{n}:{space}{value}{space}"));
    }
    let data = random.bytes(300);
    let body = match random.below(4) {
        0 => Vec::new(),
        1 => {
            lines.push(format!("Content-Length: {}", data.len()));
            data
        }
        2 => {
            lines.push(format!("content-length:{:04}", data.len()));
            data
        }
        _ => {
            lines.push(format!(
                "{}: {}",
                random.pick(&["Transfer-Encoding", "transfer-encoding"]),
                random.pick(&["chunked", "Chunked"])
            ));
            chunks(random, &data)
        }
    };
    if random.below(8) == 0 {
        lines.push("Connection: keep-alive".into());
    }
    // The order of the fields means nothing.
    for n in (1..lines.len()).rev() {
        lines.swap(n, random.below(n + 1));
    }
    let head = format!(
        "{method} {target} HTTP/1.1\r\n{}\r\n\r\n",
        lines.join("\r\n")
    );
    (head.into_bytes(), body)
}

fn target(random: &mut Random) -> String {
    let mut target = String::new();
    for _ in 0..=random.below(4) {
        target.push('/');
        target.push_str(random.pick(&[
            "a", "b.c", "", ".", "%41", "%2f", "%2F", "x;y=1", "a%20b", "~", "%7E", "%c3%a9",
            "a=b&c", "...", "%25", "@", ":",
        ]));
    }
    if random.below(5) == 0 {
        target = format!("/keep{target}/..");
    }
    if random.below(2) == 0 {
        target.push('?');
        target.push_str(random.pick(&[
            "", "a=1", "a=%zz", "x=/../y", "?", "a=%41&b", "q=1%20", "[]",
        ]));
    }
    target
}

fn chunks(random: &mut Random, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut left = data;
    while !left.is_empty() {
        let (piece, rest) = left.split_at(1 + random.below(left.len()));
        left = rest;
        let size = match random.below(3) {
            0 => format!("{:x}", piece.len()),
            1 => format!("{:X}", piece.len()),
            _ => format!("{:05x}", piece.len()),
        };
        let extension = random.pick(&["", "", ";a", ";a=b", ";a=\"b c\"", ";"]);
        out.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(random.pick(&["0", "000", "0;x"]).as_bytes());
    out.extend_from_slice(b"\r\n");
    if random.below(4) == 0 {
        out.extend_from_slice(b"X-Sum: 1\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// What attackers and broken programs do to a request.
fn damage(random: &mut Random, bytes: &mut Vec<u8>, head: usize) {
    let head = head.min(bytes.len());
    let lines: Vec<_> = (0..head.saturating_sub(1))
        .filter(|at| &bytes[*at..*at + 2] == b"\r\n")
        .collect();
    let line = if lines.is_empty() {
        0
    } else {
        lines[random.below(lines.len())]
    };
    let at = random.below(bytes.len().max(1));
    match random.below(10) {
        0 if !bytes.is_empty() => bytes[at] = random.pick(b"\r\n\0 \t:;,0\x0b\x7f\xffA/%"),
        1 if !bytes.is_empty() => drop(bytes.remove(at)),
        2 => bytes.insert(at, random.pick(b"\r\n\0 \t:;,0\x0b\x7f\xffA/%")),
        3 if bytes.len() > line + 1 && !lines.is_empty() => drop(bytes.remove(line)),
        4 if bytes.len() > line + 1 && !lines.is_empty() => drop(bytes.remove(line + 1)),
        5 if !lines.is_empty() => {
            let extra = random.pick(&[
                "Content-Length: 5",
                "Content-Length: 0",
                "Content-Length: +5",
                "Content-Length: 5, 5",
                "Transfer-Encoding: chunked",
                "Transfer-Encoding: identity",
                "Transfer-Encoding : chunked",
                "Transfer-Encoding:\x0bchunked",
                "Transfer-Encoding: xchunked",
                " Transfer-Encoding: chunked",
                "Host: other.test",
                "Host: edge.test",
                "X-T9: a\n b",
                "X-T9 : 1",
                "X-T9",
                ": 1",
                "\tfolded",
                "Expect: 100-continue",
                "Connection: x-t0, close",
                "Connection: Content-Length",
                "Connection: Host, Transfer-Encoding",
                "Upgrade: websocket",
                "TE: trailers",
            ]);
            let line = format!("\r\n{extra}");
            let place = lines[random.below(lines.len())];
            bytes.splice(place..place, line.into_bytes());
        }
        6 => bytes.truncate(at),
        7 => {
            let end = (at + 1 + random.below(20)).min(bytes.len());
            let copy = bytes[at.min(end)..end].to_vec();
            bytes.splice(end..end, copy);
        }
        8 => {
            // Another number somewhere: a length or a chunk size.
            if let Some(digit) = bytes
                .iter()
                .rposition(u8::is_ascii_digit)
                .filter(|_| random.below(2) == 0)
            {
                bytes[digit] = random.pick(b"019afg-+ ");
            } else if let Some(digit) = bytes.iter().position(u8::is_ascii_digit) {
                bytes[digit] = random.pick(b"0129");
            }
        }
        _ => {
            let version = bytes.windows(8).position(|eight| eight == b"HTTP/1.1");
            if let Some(at) = version {
                bytes.splice(
                    at..at + 8,
                    random
                        .pick(&["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 "])
                        .bytes(),
                );
            }
        }
    }
}
