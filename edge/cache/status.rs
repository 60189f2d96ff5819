//! What the cache did with a request, as `Cache-Status` says it. RFC 9211.

use http::StatusCode;
use std::fmt::{self, Display};
use std::time::Duration;

/// Why a request went forward (RFC 9211, section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forwarded {
    /// The cache was not asked.
    Bypass,
    /// The method is not one the cache answers.
    Method,
    /// Nothing stored under the URL.
    UriMiss,
    /// Something stored, but for other request fields.
    VaryMiss,
    /// Something stored, but stale.
    Stale,
}

impl Forwarded {
    /// The token of RFC 9211.
    pub fn token(self) -> &'static str {
        match self {
            Forwarded::Bypass => "bypass",
            Forwarded::Method => "method",
            Forwarded::UriMiss => "uri-miss",
            Forwarded::VaryMiss => "vary-miss",
            Forwarded::Stale => "stale",
        }
    }
}

/// One member of `Cache-Status`. `Display` writes it as a Structured Field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStatus {
    /// Why it went forward; `None` for a hit.
    pub forwarded: Option<Forwarded>,
    /// The status the origin answered with.
    pub forwarded_status: Option<StatusCode>,
    /// Freshness left; negative once stale. Whole seconds.
    pub ttl: Option<i64>,
    /// The answer is being kept.
    pub stored: bool,
    /// Joined somebody else's fetch.
    pub collapsed: bool,
    /// One word more.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// A hit with this much freshness left.
    pub fn hit(left: Duration) -> CacheStatus {
        CacheStatus {
            forwarded: None,
            forwarded_status: None,
            ttl: Some(left.as_secs() as i64),
            stored: false,
            collapsed: false,
            detail: None,
        }
    }

    /// Forwarded for this reason; the rest is filled in as it becomes known.
    pub fn forwarded(why: Forwarded) -> CacheStatus {
        CacheStatus {
            forwarded: Some(why),
            ttl: None,
            ..CacheStatus::hit(Duration::ZERO)
        }
    }
}

impl Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("edge")?;
        match self.forwarded {
            None => f.write_str("; hit")?,
            Some(why) => write!(f, "; fwd={}", why.token())?,
        }
        if let Some(status) = self.forwarded_status {
            write!(f, "; fwd-status={}", status.as_u16())?;
        }
        if self.stored {
            f.write_str("; stored")?;
        }
        if self.collapsed {
            f.write_str("; collapsed")?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={ttl}")?;
        }
        if let Some(detail) = self.detail {
            write!(f, "; detail={detail}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_read_as_the_rfc_writes_them() {
        let hit = CacheStatus::hit(Duration::from_millis(30_900));
        assert_eq!(hit.to_string(), "edge; hit; ttl=30");
        let miss = CacheStatus {
            forwarded_status: Some(StatusCode::OK),
            stored: true,
            ttl: Some(60),
            ..CacheStatus::forwarded(Forwarded::UriMiss)
        };
        assert_eq!(
            miss.to_string(),
            "edge; fwd=uri-miss; fwd-status=200; stored; ttl=60"
        );
        let pass = CacheStatus {
            detail: Some("no-store"),
            ..CacheStatus::forwarded(Forwarded::UriMiss)
        };
        assert_eq!(pass.to_string(), "edge; fwd=uri-miss; detail=no-store");
    }
}
