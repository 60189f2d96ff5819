//! Who may ask the admin API.
//!
//! The node trusts its own machine, not the web pages that are open on it. A
//! page may have its own name point here (DNS rebinding), so a host name other
//! than `localhost` is refused; what a browser marks with `Origin` is refused
//! whatever it asks. Beyond loopback a token is needed, and config insists that
//! there is one.

use super::answer::Refused;
use crate::config::Secret;
use crate::http::head::Head;
use http::header::{AUTHORIZATION, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use std::net::IpAddr;

/// May this be asked? `own` are the addresses the admin API listens on.
pub(super) fn admit(head: &Head, own: &[IpAddr], token: Option<&Secret>) -> Result<(), Refused> {
    if head.fields.contains_key(ORIGIN) {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "web pages are not answered here: the request carries `Origin`",
        ));
    }
    if !is_ours(&head.host, own, token.is_some()) {
        let error = format!(
            "the host {:?} is not answered here; ask by address, for example http://127.0.0.1:9090",
            head.host
        );
        return Err(Refused::new(StatusCode::FORBIDDEN, error));
    }
    let open = head.path() == "/healthz" && matches!(head.method, Method::GET | Method::HEAD);
    match token {
        Some(token) if !open && !carries(head, token) => {
            let error = "this needs the field `Authorization: Bearer TOKEN` with the token of \
                         `admin.token`";
            Err(Refused::new(StatusCode::UNAUTHORIZED, error).with(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"edge admin\""),
            ))
        }
        _ => Ok(()),
    }
}

/// Is this one of our own names? With a token, any address is: it may be
/// translated on the way. The port may be forwarded and says nothing.
fn is_ours(host: &str, own: &[IpAddr], has_token: bool) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => host.split(':').next(),
    };
    match name.unwrap_or_default() {
        // Only HTTP/1.0 may leave it out, and no browser does.
        "" | "localhost" => true,
        name => name.parse().is_ok_and(|address: IpAddr| {
            let address = address.to_canonical();
            has_token || address.is_loopback() || own.contains(&address)
        }),
    }
}

fn carries(head: &Head, token: &Secret) -> bool {
    let mut lines = head.fields.get_all(AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return false;
    };
    match line.as_bytes().split_at_checked(7) {
        Some((scheme, offered)) => {
            scheme.eq_ignore_ascii_case(b"Bearer ") && token.matches(offered.trim_ascii())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::head;
    use super::*;
    use crate::config::SecretSource;

    fn secret() -> Secret {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "s3cret").unwrap();
        SecretSource::File("token".into())
            .resolve(folder.path())
            .unwrap()
    }

    fn status(request: &str, token: Option<&Secret>) -> u16 {
        let own = ["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let admitted = admit(&head(request), &own, token);
        admitted.map_or_else(|refused| refused.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_our_own_names_are_answered() {
        for (host, without_token, with_token) in [
            ("127.0.0.1:9090", 200, 200),
            ("127.3.2.1", 200, 200),
            ("[::1]:9090", 200, 200),
            ("[::ffff:127.0.0.1]", 200, 200),
            ("localhost", 200, 200),
            ("LocalHost.:81", 200, 200),
            ("10.0.0.5:9090", 200, 200),
            ("[fd00::5]", 200, 200),
            ("10.0.0.6", 403, 200),
            ("[fd00::6]", 403, 200),
            ("example.com", 403, 403),
            ("localhost.example.com", 403, 403),
            ("127.0.0.1.example.com", 403, 403),
            ("127.1", 403, 403),
            ("2130706433", 403, 403),
            ("admin", 403, 403),
        ] {
            let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n");
            assert_eq!(status(&request, None), without_token, "{host}");
            assert_eq!(status(&request, Some(&secret())), with_token, "{host}");
        }
        assert_eq!(status("GET /healthz HTTP/1.0\r\n", None), 200);
        assert_eq!(
            status(
                "GET http://evil.example/healthz HTTP/1.1\r\nHost: evil.example\r\n",
                None
            ),
            403
        );
    }

    #[test]
    fn a_web_page_is_refused_whatever_its_origin() {
        for origin in ["http://127.0.0.1:9090", "null", ""] {
            let request =
                format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n");
            assert_eq!(status(&request, None), 403, "{origin}");
            assert_eq!(status(&request, Some(&secret())), 403, "{origin}");
        }
    }

    #[test]
    fn a_token_is_needed_for_all_but_the_health_check() {
        for (line, field, wanted) in [
            ("GET /healthz", "", 200),
            ("HEAD /healthz", "", 200),
            ("POST /healthz", "", 401),
            ("GET /readyz", "", 401),
            ("GET /metrics", "Authorization: Bearer s3cret\r\n", 200),
            ("GET /metrics", "Authorization: bearer  s3cret\r\n", 200),
            ("GET /metrics", "Authorization: Bearer s3cre\r\n", 401),
            ("GET /metrics", "Authorization: Bearer s3cret!\r\n", 401),
            ("GET /metrics", "Authorization: Bearer\r\n", 401),
            ("GET /metrics", "Authorization: Bears3cret\r\n", 401),
            ("GET /metrics", "Authorization: Basic s3cret\r\n", 401),
            ("GET /metrics", "Authorization: s3cret\r\n", 401),
            (
                "GET /metrics",
                "Authorization: Bearer s3cret\r\nAuthorization: Bearer x\r\n",
                401,
            ),
            ("GET /nowhere", "", 401),
        ] {
            let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{field}");
            assert_eq!(status(&request, Some(&secret())), wanted, "{line} {field}");
        }
    }
}
