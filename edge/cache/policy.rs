//! May this response be kept? RFC 9111, section 3, in its order.
//!
//! Pure: heads and rules in, a reason out. Every refusal has a name, which
//! `Cache-Status` and `explain` show.

use crate::directives::Directives;
use crate::engine::Rules;
use crate::freshness::{Rule, Terms, by_default_cacheable};
use http::header::{AUTHORIZATION, ETAG, LAST_MODIFIED, SET_COOKIE, VARY};
use http::{HeaderMap, StatusCode};

/// Why a response is not kept, or a request does not ask the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// The route has caching off.
    Off,
    /// Neither GET nor HEAD.
    Method,
    /// A bypass rule of the route matched.
    Bypass,
    /// The request asks for another protocol.
    Upgrade,
    /// The request carries a body, which is not part of the key.
    RequestBody,
    /// The status may not be kept, or not without explicit freshness.
    Status,
    /// `Cache-Control: no-store`
    NoStore,
    /// `Cache-Control: private`
    Private,
    /// The request had `Authorization` and the response does not allow sharing.
    Authorization,
    /// The response sets a cookie.
    SetCookie,
    /// `Vary: *`
    VaryStar,
    /// Neither freshness nor a validator.
    NoFreshness,
    /// Larger than the route or the memory tier keeps.
    TooLarge,
    /// The body ends by close: nobody can tell whether it is complete.
    Unframed,
    /// A recent answer for this key could not be kept; nobody queues behind it.
    Remembered,
    /// Too many fetches under way.
    Busy,
    /// No room in memory for its head.
    NoRoom,
}

impl Why {
    /// One word for `Cache-Status: detail=` and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Why::Off => "cache-off",
            Why::Method => "method",
            Why::Bypass => "bypass-rule",
            Why::Upgrade => "upgrade",
            Why::RequestBody => "request-body",
            Why::Status => "status",
            Why::NoStore => "no-store",
            Why::Private => "private",
            Why::Authorization => "authorization",
            Why::SetCookie => "set-cookie",
            Why::VaryStar => "vary-star",
            Why::NoFreshness => "no-freshness",
            Why::TooLarge => "too-large",
            Why::Unframed => "unframed-body",
            Why::Remembered => "remembered-uncacheable",
            Why::Busy => "fills-limit",
            Why::NoRoom => "no-room",
        }
    }

    /// Whether every client would have met this cause, so that the key may be
    /// remembered as uncacheable for a while.
    pub fn met_by_all(self) -> bool {
        matches!(
            self,
            Why::NoStore
                | Why::Private
                | Why::SetCookie
                | Why::VaryStar
                | Why::NoFreshness
                | Why::TooLarge
                | Why::Unframed
        )
    }
}

/// May the response be kept? `body_bytes` is its length where the head says it.
pub fn may_store(
    rules: &Rules,
    request: &HeaderMap,
    status: StatusCode,
    headers: &HeaderMap,
    terms: &Terms,
    body_bytes: Option<u64>,
) -> Result<(), Why> {
    let said = Directives::read(headers);
    if status.is_informational() || matches!(status.as_u16(), 206 | 304) {
        return Err(Why::Status);
    }
    // With must-understand, no-store gives way where the status is understood
    // (section 5.2.2.3); otherwise the status must be one we understand.
    let understood = by_default_cacheable(status) || matches!(status.as_u16(), 302 | 303 | 307);
    if said.must_understand && !understood {
        return Err(Why::Status);
    }
    if said.no_store && !(said.must_understand && understood) {
        return Err(Why::NoStore);
    }
    if said.private {
        return Err(Why::Private);
    }
    if request.contains_key(AUTHORIZATION)
        && !(said.public || said.must_revalidate || said.s_maxage.is_some())
    {
        return Err(Why::Authorization);
    }
    if headers.contains_key(SET_COOKIE) {
        return Err(Why::SetCookie);
    }
    if crate::vary::is_star(headers.get_all(VARY)) {
        return Err(Why::VaryStar);
    }
    worth_keeping(rules, status, headers, &said, terms)?;
    if body_bytes.is_some_and(|bytes| bytes > rules.object_bytes_max) {
        return Err(Why::TooLarge);
    }
    Ok(())
}

/// Explicit freshness makes any final status worth keeping; otherwise the
/// status must be cacheable by default, and the response must have the route's
/// time, a heuristic lifetime or a validator.
fn worth_keeping(
    rules: &Rules,
    status: StatusCode,
    headers: &HeaderMap,
    said: &Directives,
    terms: &Terms,
) -> Result<(), Why> {
    let validator = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
    match terms.rule {
        Rule::SMaxAge | Rule::MaxAge | Rule::Expires => {
            if terms.lifetime.is_zero() && !validator && rules.ttl.is_none() {
                return Err(Why::NoFreshness);
            }
            Ok(())
        }
        _ if !by_default_cacheable(status) && !said.public => Err(Why::Status),
        Rule::Heuristic => Ok(()),
        _ if rules.ttl.or(rules.ttl_unsaid).is_some() || validator => Ok(()),
        _ => Err(Why::NoFreshness),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freshness::Now;
    use http::HeaderName;
    use std::time::Duration;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn judge(
        rules: &Rules,
        status: u16,
        request: &[(&str, &str)],
        got: &[(&str, &str)],
    ) -> Result<(), Why> {
        let now = Now::read();
        let status = StatusCode::from_u16(status).unwrap();
        let headers = map(got);
        let terms = Terms::of(status, &headers, now, now);
        may_store(rules, &map(request), status, &headers, &terms, Some(10))
    }

    #[test]
    fn section_three_in_its_order() {
        let auth = &[("authorization", "Basic x")][..];
        for (status, request, got, wanted) in [
            (200, &[][..], &[("cache-control", "max-age=5")][..], Ok(())),
            (299, &[], &[("cache-control", "max-age=5")], Ok(())),
            (499, &[], &[("cache-control", "max-age=5")], Ok(())),
            (
                599,
                &[],
                &[("expires", "Fri, 01 Jan 2038 00:00:00 GMT")],
                Ok(()),
            ),
            (200, &[], &[], Err(Why::NoFreshness)),
            (200, &[], &[("etag", "\"a\"")], Ok(())),
            (302, &[], &[("etag", "\"a\"")], Err(Why::Status)),
            (
                500,
                &[],
                &[("last-modified", "Fri, 01 Jan 2021 00:00:00 GMT")],
                Err(Why::Status),
            ),
            (
                200,
                &[],
                &[("cache-control", "no-store, max-age=5")],
                Err(Why::NoStore),
            ),
            (
                200,
                &[],
                &[("cache-control", "no-store, must-understand, max-age=5")],
                Ok(()),
            ),
            (
                299,
                &[],
                &[("cache-control", "must-understand, max-age=5")],
                Err(Why::Status),
            ),
            (
                200,
                &[],
                &[("cache-control", "private, max-age=5")],
                Err(Why::Private),
            ),
            (
                200,
                &[],
                &[("cache-control", "private=\"x-a\", max-age=5")],
                Ok(()),
            ),
            (
                200,
                auth,
                &[("cache-control", "max-age=5")],
                Err(Why::Authorization),
            ),
            (200, auth, &[("cache-control", "max-age=5, public")], Ok(())),
            (200, auth, &[("cache-control", "s-maxage=5")], Ok(())),
            (
                200,
                auth,
                &[("cache-control", "max-age=5, must-revalidate")],
                Ok(()),
            ),
            (
                200,
                &[],
                &[("cache-control", "max-age=5"), ("set-cookie", "a=b")],
                Err(Why::SetCookie),
            ),
            (
                200,
                &[],
                &[("cache-control", "max-age=5"), ("vary", "accept, *")],
                Err(Why::VaryStar),
            ),
            (
                206,
                &[],
                &[("cache-control", "max-age=5")],
                Err(Why::Status),
            ),
            (
                200,
                &[],
                &[("cache-control", "max-age=0")],
                Err(Why::NoFreshness),
            ),
        ] {
            assert_eq!(
                judge(&Rules::default(), status, request, got),
                wanted,
                "{status} {got:?}"
            );
        }
    }

    #[test]
    fn a_routes_ttl_makes_a_plain_200_worth_keeping_but_not_an_error() {
        let rules = Rules {
            ttl: Some(Duration::from_secs(60)),
            ..Rules::default()
        };
        assert_eq!(judge(&rules, 200, &[], &[]), Ok(()));
        assert_eq!(judge(&rules, 404, &[], &[]), Ok(()));
        assert_eq!(judge(&rules, 429, &[], &[]), Err(Why::Status));
        assert_eq!(judge(&rules, 503, &[], &[]), Err(Why::Status));
        assert_eq!(
            judge(&rules, 200, &[], &[("cache-control", "no-store")]),
            Err(Why::NoStore)
        );
    }

    #[test]
    fn what_is_too_large_is_named_so() {
        let rules = Rules {
            object_bytes_max: 9,
            ..Rules::default()
        };
        let got = judge(&rules, 200, &[], &[("cache-control", "max-age=5")]);
        assert_eq!(got, Err(Why::TooLarge));
    }
}
