//! Proofs that a host is ours, for an authority that is about to issue a
//! certificate (ACME's http-01, RFC 8555, section 8.3).
//!
//! An ACME client leaves them in the configured webroot; here they are only
//! shown: for every host, on every listener, before routes and redirects have a
//! say, and never kept by anybody. Without a webroot the path is like any other.

use super::deliver;
use super::forward;
use super::head::Head;
use super::refuse;
use super::reply::{Body, Facts, Peer, Reply};
use super::sites::Live;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

const WELL_KNOWN: &str = "/.well-known/acme-challenge/";

/// A key authorization has about a hundred bytes.
const PROOF_BYTES_MAX: u64 = 64 * 1024;

/// Tokens in use have 43 characters.
const TOKEN_MAX: usize = 256;

/// Is this where authorities look for proofs?
pub(crate) fn is_challenge(path: &str) -> bool {
    path.starts_with(WELL_KNOWN)
}

/// The reply to an authority. `None` when the request is not one for a proof, or
/// proofs are not kept here.
pub(crate) async fn answer(live: &Live, head: &Head, peer: &Peer) -> Option<Reply> {
    let webroot = live.settings.tls.acme_webroot.as_ref()?;
    let token = head.path().strip_prefix(WELL_KNOWN)?;
    let facts = Facts {
        site: live.site(&head.host).map(Arc::clone),
        client: Some(forward::client(
            head,
            peer,
            &live.settings.guard.trusted_proxies,
        )),
        reason: Some("acme-challenge"),
        ..Facts::default()
    };
    let mut reply = match head.method {
        Method::GET | Method::HEAD => show(webroot, token).await,
        _ => {
            let mut reply = refuse::page(StatusCode::METHOD_NOT_ALLOWED, "proofs can only be read");
            reply
                .fields
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            reply
        }
    };
    if head.method == Method::HEAD {
        reply.without_body();
    }
    Some(deliver::about(reply, facts))
}

async fn show(webroot: &Path, token: &str) -> Reply {
    let proof = match is_token(token) {
        true => {
            let (webroot, token) = (webroot.to_owned(), token.to_owned());
            tokio::task::spawn_blocking(move || find(&webroot, &token))
                .await
                .unwrap_or_default()
        }
        false => None,
    };
    let Some(proof) = proof else {
        return refuse::page(StatusCode::NOT_FOUND, "there is no such proof");
    };
    let mut reply = Reply::new(StatusCode::OK);
    reply.fields.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    reply
        .fields
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply.body = Body::Bytes(Bytes::from(proof));
    reply
}

/// Base64url, as the protocol has it: no dot and no slash, so that it can name
/// nothing but a file right there.
fn is_token(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=TOKEN_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// Where certbot and lego put a proof below a webroot, or right in the folder,
/// as dehydrated and acme-tiny do.
fn find(webroot: &Path, token: &str) -> Option<Vec<u8>> {
    let below = webroot.join(&WELL_KNOWN[1..]).join(token);
    [below, webroot.join(token)]
        .iter()
        .find_map(|path| match read(path) {
            Ok(proof) => Some(proof),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                log::warn!(
                    "a proof for an ACME authority cannot be shown: {}: {error}",
                    path.display()
                );
                None
            }
        })
}

/// A small regular file.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A link may lead anywhere, and opening a pipe would wait for its writer.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut proof = Vec::new();
    file.take(PROOF_BYTES_MAX + 1).read_to_end(&mut proof)?;
    match proof.len() as u64 > PROOF_BYTES_MAX {
        true => Err(io::Error::other("it is larger than 64KiB")),
        false => Ok(proof),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_tokens_are_looked_for() {
        for (text, good) in [
            ("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA", true),
            ("a", true),
            ("", false),
            (".", false),
            ("..", false),
            ("a.b", false),
            ("a/b", false),
            ("..%2Fa", false),
            ("a b", false),
            ("a=", false),
            ("\u{e9}", false),
            (&"a".repeat(TOKEN_MAX), true),
            (&"a".repeat(TOKEN_MAX + 1), false),
        ] {
            assert_eq!(is_token(text), good, "{text}");
        }
    }

    #[test]
    fn a_proof_is_a_small_regular_file_in_one_of_two_places() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let below = root.join(".well-known/acme-challenge");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("certbot"), "certbot.proof").unwrap();
        fs::write(root.join("direct"), "direct.proof").unwrap();
        fs::write(root.join("full"), vec![b'x'; 64 << 10]).unwrap();
        fs::write(root.join("large"), vec![b'x'; (64 << 10) + 1]).unwrap();
        fs::create_dir(root.join("folder")).unwrap();
        std::os::unix::fs::symlink(root.join("direct"), root.join("link")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("pipe"),
            rustix::fs::FileType::Fifo,
            mode,
            0,
        )
        .unwrap();
        for (token, found) in [
            ("certbot", Some("certbot.proof".len())),
            ("direct", Some("direct.proof".len())),
            ("full", Some(64 << 10)),
            ("large", None),
            ("folder", None),
            ("link", None),
            ("pipe", None),
            ("absent", None),
        ] {
            assert_eq!(find(root, token).map(|proof| proof.len()), found, "{token}");
        }
    }
}
