//! How long a stored response may be used. RFC 9111, section 4.2.
//!
//! Reads heads and times, never a clock. Lifetime comes from `s-maxage`, then
//! `max-age`, then `Expires`, then the heuristic of section 4.2.2; a route may
//! override it. Ages are counted on the monotonic clock, so they never go back.

use crate::directives::Directives;
use crate::engine::Rules;
use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};
use std::time::{Duration, Instant, SystemTime};

/// The longest heuristic lifetime: a day, as RFC 9111 section 4.2.2 suggests
/// warning beyond it.
const HEURISTIC_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// One moment, on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For dates in fields.
    pub wall: SystemTime,
    /// For ages.
    pub mono: Instant,
}

impl Now {
    /// The present moment; the only place that asks the machine, for callers.
    pub fn read() -> Now {
        Now {
            wall: SystemTime::now(),
            mono: Instant::now(),
        }
    }
}

/// Where a lifetime came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The route's `ttl`.
    Route,
    /// What the route gives a response that says nothing.
    Unsaid,
    /// `Cache-Control: s-maxage`
    SMaxAge,
    /// `Cache-Control: max-age`
    MaxAge,
    /// `Expires`
    Expires,
    /// A tenth of the time since `Last-Modified`.
    Heuristic,
    /// No freshness at all: validate before each use.
    Nothing,
}

impl Rule {
    /// In words, for `explain`.
    pub fn words(self) -> &'static str {
        match self {
            Rule::Route => "ttl of the route",
            Rule::Unsaid => "the default of the bundled store",
            Rule::SMaxAge => "Cache-Control: s-maxage",
            Rule::MaxAge => "Cache-Control: max-age",
            Rule::Expires => "Expires",
            Rule::Heuristic => "a tenth of the time since Last-Modified",
            Rule::Nothing => "no freshness given: validated before each use",
        }
    }
}

/// What a head says about its own use: worked out once, when it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The lifetime in the response itself.
    pub lifetime: Duration,
    /// Where that lifetime came from.
    pub rule: Rule,
    /// `no-cache`: never used without validation, whatever the lifetime.
    pub validate_always: bool,
    /// The age it had when it arrived (section 4.2.3).
    pub age_on_arrival: Duration,
    /// When it arrived.
    pub arrived: Instant,
}

impl Terms {
    /// Works out the terms of a response. `asked` is when its request was sent.
    pub fn of(status: StatusCode, headers: &HeaderMap, asked: Now, got: Now) -> Terms {
        let directives = Directives::read(headers);
        let date = http_date(headers, DATE).unwrap_or(got.wall);
        let (lifetime, rule) = lifetime(status, headers, &directives, date);
        Terms {
            lifetime,
            rule,
            validate_always: directives.no_cache,
            age_on_arrival: age_on_arrival(headers, date, asked, got),
            arrived: got.mono,
        }
    }

    /// The current age (section 4.2.3).
    pub fn age(&self, now: Now) -> Duration {
        self.age_on_arrival + now.mono.saturating_duration_since(self.arrived)
    }

    /// Lifetime and its source under a route's rules. A route's own time runs
    /// from arrival: what came before was not under its control.
    pub fn lifetime(&self, rules: &Rules) -> (Duration, Rule) {
        match (rules.ttl, rules.ttl_unsaid, self.rule) {
            (Some(ttl), _, _) => (ttl + self.age_on_arrival, Rule::Route),
            (None, Some(ttl), Rule::Heuristic | Rule::Nothing) => {
                (ttl + self.age_on_arrival, Rule::Unsaid)
            }
            _ => (self.lifetime, self.rule),
        }
    }

    /// How long it stays fresh from `now`; `None` when it is stale or must be
    /// validated each time.
    pub fn fresh_for(&self, rules: &Rules, now: Now) -> Option<Duration> {
        if self.validate_always && rules.ttl.is_none() {
            return None;
        }
        let (lifetime, _) = self.lifetime(rules);
        let left = lifetime.checked_sub(self.age(now))?;
        (!left.is_zero()).then_some(left)
    }
}

fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &Directives,
    date: SystemTime,
) -> (Duration, Rule) {
    if let Some(seconds) = directives.s_maxage {
        return (Duration::from_secs(seconds), Rule::SMaxAge);
    }
    if let Some(seconds) = directives.max_age {
        return (Duration::from_secs(seconds), Rule::MaxAge);
    }
    if headers.contains_key(EXPIRES) {
        // Invalid dates, "0" above all, mean the past (section 5.3).
        let expires = http_date(headers, EXPIRES).unwrap_or(SystemTime::UNIX_EPOCH);
        let left = expires.duration_since(date).unwrap_or_default();
        return (left, Rule::Expires);
    }
    if by_default_cacheable(status)
        && let Some(modified) = http_date(headers, LAST_MODIFIED)
        && let Ok(since) = date.duration_since(modified)
    {
        return ((since / 10).min(HEURISTIC_MAX), Rule::Heuristic);
    }
    (Duration::ZERO, Rule::Nothing)
}

/// Section 4.2.3: the larger of what `Date` shows and what upstream caches
/// said, plus the time the answer took.
fn age_on_arrival(headers: &HeaderMap, date: SystemTime, asked: Now, got: Now) -> Duration {
    // `Date` has whole seconds; so must the clock it is compared with, or what
    // has just been made would be up to a second old.
    let apparent = got.wall.duration_since(date).unwrap_or_default();
    let apparent = Duration::from_secs(apparent.as_secs());
    let delay = got.mono.saturating_duration_since(asked.mono);
    let said = headers.get(AGE).and_then(age_field).unwrap_or_default();
    apparent.max(said + delay)
}

/// The first member of `Age`; what cannot be read is left out of the sum, since
/// the field is only a hint beside `Date`.
fn age_field(value: &http::HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.split(',').next()?.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = text.parse::<u64>().unwrap_or(u64::MAX).min(1 << 31);
    Some(Duration::from_secs(seconds))
}

/// A date field in any of the three forms of RFC 9110 section 5.6.7. Several
/// lines of one date field are malformed: none.
pub(crate) fn http_date(headers: &HeaderMap, name: http::HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    httpdate::parse_http_date(first.to_str().ok()?.trim()).ok()
}

/// Statuses that are heuristically cacheable (RFC 9110, section 15.1). 206 is
/// one as well, but partial responses are not kept yet.
pub(crate) fn by_default_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";
    const ONE_O_CLOCK: &str = "Sun, 06 Nov 1994 13:00:00 GMT";

    fn at(text: &str) -> Now {
        Now {
            wall: httpdate::parse_http_date(text).unwrap(),
            mono: Instant::now(),
        }
    }

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn terms(fields: &[(&str, &str)]) -> Terms {
        let now = at(NOON);
        Terms::of(StatusCode::OK, &headers(fields), now, now)
    }

    #[test]
    fn lifetime_follows_the_order_of_the_rfc() {
        for (fields, seconds, rule) in [
            (
                &[("cache-control", "max-age=5, s-maxage=9")][..],
                9,
                Rule::SMaxAge,
            ),
            (
                &[("cache-control", "max-age=5"), ("expires", ONE_O_CLOCK)],
                5,
                Rule::MaxAge,
            ),
            (
                &[("expires", ONE_O_CLOCK), ("date", NOON)],
                3600,
                Rule::Expires,
            ),
            (
                &[("expires", "Sunday, 06-Nov-94 13:00:00 GMT")],
                3600,
                Rule::Expires,
            ),
            (
                &[("expires", "Sun Nov  6 13:00:00 1994")],
                3600,
                Rule::Expires,
            ),
            (&[("expires", "0")], 0, Rule::Expires),
            (&[("expires", "-1")], 0, Rule::Expires),
            (
                &[("expires", ONE_O_CLOCK), ("expires", ONE_O_CLOCK)],
                0,
                Rule::Expires,
            ),
            (
                &[("last-modified", "Sun, 06 Nov 1994 11:00:00 GMT")],
                360,
                Rule::Heuristic,
            ),
            (&[("etag", "\"a\"")], 0, Rule::Nothing),
        ] {
            let got = terms(fields);
            assert_eq!(
                (got.lifetime.as_secs(), got.rule),
                (seconds, rule),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn no_heuristic_for_a_status_not_cacheable_by_default() {
        let now = at(NOON);
        let fields = headers(&[("last-modified", "Sat, 05 Nov 1994 11:00:00 GMT")]);
        let got = Terms::of(StatusCode::BAD_GATEWAY, &fields, now, now);
        assert_eq!(got.rule, Rule::Nothing);
    }

    #[test]
    fn age_counts_date_age_field_and_delay() {
        assert_eq!(terms(&[("age", "30")]).age_on_arrival.as_secs(), 30);
        assert_eq!(terms(&[("age", "x")]).age_on_arrival.as_secs(), 0);
        assert_eq!(terms(&[("age", "7, 9")]).age_on_arrival.as_secs(), 7);
        let early = terms(&[("date", "Sun, 06 Nov 1994 11:59:00 GMT"), ("age", "5")]);
        assert_eq!(early.age_on_arrival.as_secs(), 60);
    }

    #[test]
    fn freshness_ends_when_age_reaches_the_lifetime() {
        let got = terms(&[("cache-control", "max-age=10"), ("age", "4")]);
        let later = |seconds| Now {
            wall: SystemTime::now(),
            mono: got.arrived + Duration::from_secs(seconds),
        };
        let route = Rules {
            ttl: Some(Duration::from_secs(60)),
            ..Rules::default()
        };
        let plain = Rules::default();
        assert_eq!(got.fresh_for(&plain, later(5)).unwrap().as_secs(), 1);
        assert!(got.fresh_for(&plain, later(6)).is_none());
        assert!(got.fresh_for(&route, later(59)).is_some());
        assert!(got.fresh_for(&route, later(60)).is_none());
    }

    #[test]
    fn no_cache_is_validated_every_time() {
        let got = terms(&[("cache-control", "no-cache, max-age=60")]);
        assert!(
            got.fresh_for(
                &Rules::default(),
                Now {
                    wall: SystemTime::now(),
                    mono: got.arrived
                }
            )
            .is_none()
        );
    }
}
