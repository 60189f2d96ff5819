//! Finds what belongs to a host: an exact name first, then the longest wildcard
//! above it, then `*`.

use crate::config::HostPattern;
use std::collections::HashMap;

/// Values under host patterns.
pub(crate) struct Hosts<T> {
    exact: HashMap<String, T>,
    below: HashMap<String, T>,
    any: Option<T>,
}

impl<T> Default for Hosts<T> {
    fn default() -> Hosts<T> {
        Hosts {
            exact: HashMap::new(),
            below: HashMap::new(),
            any: None,
        }
    }
}

impl<T> Hosts<T> {
    /// Puts a value under a pattern, in place of one that was there.
    pub(crate) fn insert(&mut self, pattern: &HostPattern, value: T) {
        match pattern {
            HostPattern::Any => self.any = Some(value),
            HostPattern::Exact(name) => drop(self.exact.insert(name.clone(), value)),
            HostPattern::Wildcard(suffix) => drop(self.below.insert(suffix.clone(), value)),
        }
    }

    /// What belongs to a normalised host, with or without port.
    pub(crate) fn find(&self, host: &str) -> Option<&T> {
        let name = without_port(host);
        if let Some(value) = self.exact.get(name) {
            return Some(value);
        }
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(value) = self.below.get(parent) {
                return Some(value);
            }
            rest = parent;
        }
        self.any.as_ref()
    }
}

/// The host alone.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_particular_pattern_decides() {
        let mut hosts = Hosts::default();
        hosts.insert(&HostPattern::Exact("a.example.com".into()), 1);
        hosts.insert(&HostPattern::Wildcard("example.com".into()), 2);
        hosts.insert(&HostPattern::Wildcard("b.example.com".into()), 3);
        hosts.insert(&HostPattern::Exact("[::1]".into()), 4);
        for (host, found) in [
            ("a.example.com", Some(1)),
            ("a.example.com:81", Some(1)),
            ("x.example.com", Some(2)),
            ("y.x.example.com", Some(2)),
            ("x.b.example.com", Some(3)),
            ("b.example.com", Some(2)),
            ("example.com", None),
            ("[::1]", Some(4)),
            ("[::1]:81", Some(4)),
            ("[::2]", None),
            ("", None),
        ] {
            assert_eq!(hosts.find(host).copied(), found, "{host}");
        }
        hosts.insert(&HostPattern::Any, 5);
        assert_eq!(hosts.find("example.com"), Some(&5));
        assert_eq!(hosts.find(""), Some(&5));
    }
}
