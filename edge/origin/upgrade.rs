//! Upgrades (RFC 9110, section 7.8): which are asked for, which answers grant them, and the
//! connection afterwards, when it is no longer ours to read.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderName};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::line::Line;

/// A response extension beside a 101: the connection it upgraded. Dropped with its last handle, and
/// never used for another request.
#[derive(Clone)]
pub struct Upgraded(Arc<Mutex<Option<Tunnel>>>);

/// Both directions of an upgraded connection, from the first byte behind the response's head on.
///
/// The origin's end is a read of nothing; `shutdown` sends ours and leaves the other direction open
/// (over TLS, an end without its `close_notify` is an error, as it may have been cut). Writes may
/// wait for a `flush`. There are no deadlines: how long a tunnel may be quiet is for its owner to
/// say. Dropping it closes the connection.
pub struct Tunnel(Line);

impl Upgraded {
    pub(crate) fn new(line: Line) -> Self {
        Self(Arc::new(Mutex::new(Some(Tunnel(line)))))
    }

    /// The connection, for whoever comes first.
    pub fn take(&self) -> Option<Tunnel> {
        self.0.lock().take()
    }
}

/// Whether the head asks for an upgrade we let through. One to another HTTP, or to TLS, is not: it
/// would carry requests that nobody judged.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    let carries_requests = |token: &[u8]| {
        let name = token.split(|&byte| byte == b'/').next().unwrap_or_default();
        ["h2", "h2c", "h3", "http", "tls"]
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
    };
    headers.contains_key(UPGRADE)
        && tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"))
        && tokens(headers, &UPGRADE).next().is_some()
        && !tokens(headers, &UPGRADE).any(carries_requests)
}

/// Whether a 101 switches to what was asked for, and to nothing else.
pub(crate) fn is_granted(asked: &HeaderMap, got: &HeaderMap) -> bool {
    let was_asked =
        |token: &[u8]| tokens(asked, &UPGRADE).any(|asked| asked.eq_ignore_ascii_case(token));
    tokens(got, &CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"))
        && tokens(got, &UPGRADE).next().is_some()
        && tokens(got, &UPGRADE).all(was_asked)
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgraded")
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn head(connection: &'static str, upgrade: &'static str) -> HeaderMap {
        [(CONNECTION, connection), (UPGRADE, upgrade)]
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .into_iter()
            .collect()
    }

    #[test]
    fn an_upgrade_takes_both_fields_and_never_leads_to_more_http() {
        for (connection, upgrade, asked) in [
            ("upgrade", "websocket", true),
            ("keep-alive, Upgrade", "WebSocket", true),
            ("keep-alive", "websocket", false),
            ("upgrade", " , ", false),
            ("Upgrade, HTTP2-Settings", "h2c", false),
            ("upgrade", "websocket, H2C", false),
            ("upgrade", "HTTP/2.0", false),
            ("upgrade", "TLS/1.0", false),
        ] {
            let head = head(connection, upgrade);
            assert_eq!(is_asked(&head), asked, "{head:?}");
        }
        assert!(!is_asked(&HeaderMap::new()));
    }

    #[test]
    fn only_what_was_asked_for_is_granted() {
        let asked = head("upgrade", "websocket, echo/1");
        for (connection, upgrade, granted) in [
            ("Upgrade", "WebSocket", true),
            ("upgrade", "echo/1", true),
            ("upgrade", "echo/2", false),
            ("upgrade", "websocket, h2c", false),
            ("upgrade", "", false),
            ("close", "websocket", false),
        ] {
            let got = head(connection, upgrade);
            assert_eq!(is_granted(&asked, &got), granted, "{got:?}");
        }
    }
}
