//! How a malformed request is tried: whole, behind a good request on the same connection, and cut
//! in two at every byte. Each time the one answer is the refusal, the connection ends, and what
//! follows the malformed bytes is for nobody.

use edge_testkit::{Node, Request};
use futures_util::future::join_all;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What an attacker would like to be taken for a request of its own.
pub(crate) const FOLLOWS: &str = "GET /smuggled HTTP/1.1\r\nHost: edge.test\r\n\r\n";

/// A good request, before the malformed one.
const GOOD: &str = "GET /good HTTP/1.1\r\nHost: edge.test\r\n\r\n";

/// A malformed request and its refusal.
pub(crate) struct Bad {
    /// Well-formed bytes before the malformed ones: a head whose body is malformed.
    pub(crate) before: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) status: u16,
}

/// One way to send it: these bytes, then those, and the statuses that must come back.
struct Attempt {
    first: Vec<u8>,
    rest: Vec<u8>,
    statuses: Vec<u16>,
}

impl Bad {
    pub(crate) fn head(bytes: &[u8], status: u16) -> Bad {
        Bad {
            before: Vec::new(),
            bytes: bytes.to_vec(),
            status,
        }
    }

    fn shown(&self) -> String {
        let shown = String::from_utf8_lossy(&self.bytes);
        shown
            .chars()
            .take(200)
            .collect::<String>()
            .escape_debug()
            .to_string()
    }

    fn attempts(&self) -> Vec<Attempt> {
        let all = [&self.before[..], &self.bytes, FOLLOWS.as_bytes()].concat();
        let cut = |at: usize| Attempt {
            first: all[..self.before.len() + at].to_vec(),
            rest: all[self.before.len() + at..].to_vec(),
            statuses: vec![self.status],
        };
        let behind = Attempt {
            first: [GOOD.as_bytes(), &all].concat(),
            rest: Vec::new(),
            statuses: vec![200, self.status],
        };
        let cuts = if self.bytes.len() > 400 {
            0
        } else {
            self.bytes.len()
        };
        let whole = cut(all.len() - self.before.len());
        (1..=cuts).map(cut).chain([whole, behind]).collect()
    }
}

/// Sends each in every way there is; all must be refused with their status. `/good` must be
/// answered with 200 by the origin, and may be asked for once.
#[track_caller]
pub(crate) fn assert_refused(node: &Node, table: &[Bad]) {
    node.send(&Request::get("/good")).expect(200);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut wrong = Vec::new();
    for bad in table {
        let attempts = bad.attempts();
        let got = runtime.block_on(try_all(node.http(), &attempts));
        for (attempt, got) in attempts.iter().zip(got) {
            if got.as_ref() != Ok(&attempt.statuses) {
                let cut = attempt.first.len();
                wrong.push(format!(
                    "{} cut at {cut}: got {got:?}, not {:?}",
                    bad.shown(),
                    attempt.statuses
                ));
                break;
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        table.len(),
        wrong.join("\n")
    );
}

/// All attempts at once, so that the first parts have long been read when the others are sent.
async fn try_all(to: SocketAddr, attempts: &[Attempt]) -> Vec<Result<Vec<u16>, String>> {
    let mut streams = join_all(attempts.iter().map(|attempt| async {
        let stream = TcpStream::connect(to).await;
        let mut stream = stream.unwrap_or_else(|error| panic!("cannot connect: {error}"));
        stream.set_nodelay(true).unwrap();
        let _ = stream.write_all(&attempt.first).await;
        stream
    }))
    .await;
    let answers = streams
        .iter_mut()
        .zip(attempts)
        .map(|(stream, attempt)| async {
            // The node may have heard enough already.
            let _ = stream.write_all(&attempt.rest).await;
            let mut bytes = Vec::new();
            match tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes))
                .await
            {
                Err(_) => Err("the connection stays open".to_owned()),
                Ok(Err(error)) => Err(format!(
                    "{error} after {:?}",
                    String::from_utf8_lossy(&bytes)
                )),
                Ok(Ok(_)) => replies(&bytes),
            }
        });
    join_all(answers).await
}

/// The statuses of these replies, of which the last must end the connection.
fn replies(mut bytes: &[u8]) -> Result<Vec<u16>, String> {
    let mut statuses = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, rest) = bytes.split_at(end.ok_or("a head without end")? + 4);
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let status = head
            .strip_prefix("http/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok());
        statuses.push(status.ok_or_else(|| format!("no status in {head:?}"))?);
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        bytes = rest
            .get(length.unwrap_or(0)..)
            .ok_or("a body that is cut short")?;
        let last = bytes.is_empty();
        if head.contains("\r\nconnection: close\r\n") != last {
            return Err(format!(
                "connection: close and the end do not go together: {head:?}"
            ));
        }
        if last && !head.contains("\r\ncache-control: no-store\r\n") {
            return Err(format!("a refusal that could be cached: {head:?}"));
        }
    }
    Ok(statuses)
}
