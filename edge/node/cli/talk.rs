//! Talks to a running node through its admin API: one request, one answer, bodies streamed.
//!
//! The client is the one the node pulls from origins with, so deadlines, names, TLS and strict
//! framing are the same. The token comes from the environment and is never an argument, which
//! everybody on the machine could read.

use super::Failure;
use bytes::Bytes;
use clap::Args;
use edge_origin::{Body, Client, Error, Origin, OriginSettings, Scheme, Server, Settings};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use serde_json::Value as Json;
use std::sync::Arc;

/// Where the node is.
#[derive(Args, Clone)]
pub(super) struct Admin {
    /// The admin address of the node; a token for it is taken from EDGE_ADMIN_TOKEN.
    #[arg(
        long,
        global = true,
        env = "EDGE_ADMIN",
        value_name = "URL",
        default_value = "http://127.0.0.1:9090",
        value_parser = server
    )]
    admin: Server,
}

/// The longest answer that is read as JSON.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

const TOKEN: &str = "EDGE_ADMIN_TOKEN";

/// A node to talk to.
pub(super) struct Node {
    client: Client,
    origin: Arc<Origin>,
    token: Option<HeaderValue>,
    /// `host:port`, for messages.
    place: String,
}

/// One question, for commands that have no other.
pub(super) fn ask(
    admin: &Admin,
    method: Method,
    target: &str,
    body: Option<&Json>,
) -> Result<Json, Failure> {
    block_on(async { Node::new(admin)?.ask(method, target, body).await })
}

/// Runs a command's conversation.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("no runtime can be built: {error}")))?;
    let done = runtime.block_on(work);
    // A read of standard input that will never end must not keep us here.
    runtime.shutdown_background();
    done
}

impl Node {
    /// Must be called within a runtime.
    pub(super) fn new(admin: &Admin) -> Result<Node, Failure> {
        let failed = |error: Error| Failure::Failed(error.to_string());
        let origin = Origin::new(OriginSettings {
            name: "the node".to_owned(),
            servers: vec![admin.admin.clone()],
            ..OriginSettings::default()
        });
        Ok(Node {
            client: Client::new(Settings::default()).map_err(failed)?,
            origin: Arc::new(origin.map_err(failed)?),
            token: token()?,
            place: format!("{}:{}", admin.admin.host, admin.admin.port),
        })
    }

    /// Asks for JSON and gets it.
    pub(super) async fn ask(
        &self,
        method: Method,
        target: &str,
        body: Option<&Json>,
    ) -> Result<Json, Failure> {
        let mut request = Request::new(match body {
            Some(json) => whole(json.to_string()),
            None => nothing(),
        });
        if body.is_some() {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
        }
        *request.method_mut() = method;
        let answer = self.send(target, request).await?;
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let bytes = body.collect().await.map_err(|error| self.broken(&*error))?;
        match bytes.to_bytes() {
            bytes if bytes.is_empty() => Ok(Json::Null),
            bytes => serde_json::from_slice(&bytes).map_err(|_| self.stranger()),
        }
    }

    /// Sends a request and returns an answer that is no error; its body streams.
    pub(super) async fn send(
        &self,
        target: &str,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Failure> {
        *request.uri_mut() = target.parse::<Uri>().map_err(|_| {
            Failure::Invalid(format!("`{target}` cannot be asked for: it is too long"))
        })?;
        let fields = request.headers_mut();
        let agent = HeaderValue::from_static(concat!("edge/", env!("CARGO_PKG_VERSION")));
        fields.insert(USER_AGENT, agent);
        if let Some(token) = &self.token {
            fields.insert(AUTHORIZATION, token.clone());
        }
        let sent = self.client.send(&self.origin, request).await;
        let response = sent.map_err(|error| self.unanswered(error))?;
        match response.status() {
            status if status.is_success() => Ok(response),
            _ => Err(self.refused(response).await),
        }
    }

    fn unanswered(&self, error: Error) -> Failure {
        Failure::Failed(match error {
            Error::ConnectRefused { .. } | Error::Connect { .. } | Error::ConnectTimeout { .. } => {
                format!(
                    "no node answers at {}: is it running? name its admin address with --admin",
                    self.place
                )
            }
            Error::RequestBody { source, .. } => source.to_string(),
            error => error.to_string(),
        })
    }

    /// The error of an answer, in the node's own words if it has any.
    async fn refused(&self, response: Response<Body>) -> Failure {
        let status = response.status();
        let body = Limited::new(response.into_body(), 64 * 1024)
            .collect()
            .await;
        let said = body
            .ok()
            .and_then(|body| serde_json::from_slice::<Json>(&body.to_bytes()).ok())
            .and_then(|json| json["error"].as_str().map(str::to_owned));
        Failure::Failed(match (status, said) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, said) => format!(
                "the node at {} refuses: {}; put its admin token into the environment as {TOKEN}",
                self.place,
                said.unwrap_or_else(|| status.to_string())
            ),
            (_, Some(said)) => said,
            (status, None) => format!(
                "the node at {} answered {status} and did not say why: \
                 is that the admin address of a node?",
                self.place
            ),
        })
    }

    /// An answer that broke on its way.
    pub(super) fn broken(&self, error: &(dyn std::error::Error + Send + Sync)) -> Failure {
        Failure::Failed(format!("the answer of {} broke off: {error}", self.place))
    }

    fn stranger(&self) -> Failure {
        Failure::Failed(format!(
            "what answers at {} does not speak as a node would: \
             name the admin address with --admin",
            self.place
        ))
    }
}

/// Percent-escapes everything but unreserved characters (RFC 3986, section 2.3).
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

pub(super) fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn whole(text: String) -> Body {
    Full::new(Bytes::from(text))
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn token() -> Result<Option<HeaderValue>, Failure> {
    let Some(token) = std::env::var_os(TOKEN).filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    let mut field = b"Bearer ".to_vec();
    field.extend_from_slice(token.as_encoded_bytes());
    let mut field = HeaderValue::from_bytes(&field)
        .map_err(|_| Failure::Invalid(format!("{TOKEN} holds characters that cannot be sent")))?;
    field.set_sensitive(true);
    Ok(Some(field))
}

/// Reads `http(s)://host[:port]`; the scheme may be left out.
fn server(text: &str) -> Result<Server, String> {
    let wants = || "write it as http://HOST:PORT".to_owned();
    let full = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let uri: Uri = full.parse().map_err(|_| wants())?;
    let scheme = match uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _ => return Err(wants()),
    };
    let host = uri
        .host()
        .filter(|host| !host.is_empty())
        .ok_or_else(wants)?;
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if !is_bare || authority.contains('@') {
        return Err(wants());
    }
    let port = match (uri.port_u16(), authority.len() > host.len(), scheme) {
        (Some(port), _, _) => port,
        // There is something behind the host that is no port.
        (None, true, _) => return Err(wants()),
        (None, false, Scheme::Http) => 80,
        (None, false, Scheme::Https) => 443,
    };
    Ok(Server {
        scheme,
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::thread::JoinHandle;

    /// Answers one request with this and returns what was asked.
    fn node(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut asked, mut length) = (String::new(), 0);
            while !asked.ends_with("\r\n\r\n") {
                let from = asked.len();
                reader.read_line(&mut asked).unwrap();
                if let Some(value) = asked[from..].strip_prefix("Content-Length: ") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            asked + &String::from_utf8(body).unwrap()
        });
        (address, thread)
    }

    fn admin(address: SocketAddr) -> Admin {
        Admin {
            admin: server(&address.to_string()).unwrap(),
        }
    }

    fn words(failure: Failure) -> String {
        match failure {
            Failure::Failed(words) => words,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_question_is_sent_and_its_answer_read() {
        let (address, thread) = node(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n\r\n",
        );
        let body = serde_json::json!({ "everything": true });
        let answer = ask(&admin(address), Method::POST, "/purge", Some(&body)).unwrap();
        assert_eq!(answer["a"], 1);
        let asked = thread.join().unwrap();
        assert!(asked.starts_with("POST /purge HTTP/1.1\r\n"), "{asked}");
        assert!(asked.ends_with("\r\n\r\n{\"everything\":true}"), "{asked}");
    }

    #[test]
    fn the_words_of_the_node_are_passed_on() {
        for (answer, wanted) in [
            (
                "HTTP/1.1 404 Not Found\r\nContent-Length: 30\r\n\r\n{\"error\":\"there is no bucket\"}",
                "there is no bucket",
            ),
            (
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
                "EDGE_ADMIN_TOKEN",
            ),
            (
                "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n<>",
                "is that the admin address of a node?",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
                "does not speak as a node would",
            ),
        ] {
            let (address, thread) = node(answer);
            let failure = ask(&admin(address), Method::GET, "/config", None).unwrap_err();
            let words = words(failure);
            assert!(words.contains(wanted), "{words}");
            thread.join().unwrap();
        }
    }

    #[test]
    fn a_node_that_is_not_there_is_named_with_the_cure() {
        let gone = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let failure = ask(&admin(gone), Method::GET, "/config", None).unwrap_err();
        assert_eq!(
            words(failure),
            format!(
                "no node answers at {gone}: is it running? name its admin address with --admin"
            )
        );
    }

    #[test]
    fn addresses_are_read_with_and_without_a_scheme() {
        for (text, wanted) in [
            ("http://127.0.0.1:9090", Some(("127.0.0.1", 9090))),
            ("http://node.example:9090/", Some(("node.example", 9090))),
            ("127.0.0.1:9090", Some(("127.0.0.1", 9090))),
            ("https://node.example", Some(("node.example", 443))),
            ("http://[::1]:9090", Some(("[::1]", 9090))),
            ("[::1]:9090", Some(("[::1]", 9090))),
            ("http://[::1]", Some(("[::1]", 80))),
            ("ftp://a", None),
            ("http://", None),
            ("http://a:99999", None),
            ("http://a/path", None),
            ("http://user@a", None),
            ("", None),
        ] {
            let server = server(text).ok();
            let got = server
                .as_ref()
                .map(|server| (server.host.as_str(), server.port));
            assert_eq!(got, wanted, "{text}");
        }
    }
}
