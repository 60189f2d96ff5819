//! Who a request is from when proxies stand in front of the node.
//!
//! Only what a trusted peer says is believed, and of a chain of addresses the
//! rightmost one that is not itself trusted: everything left of it was written
//! by somebody we know nothing about.

use std::net::IpAddr;

/// The client of a request that came from `peer` with these `X-Forwarded-For`
/// lines, in order. `trusted` says whose word counts. At most 64 addresses are
/// looked at.
pub fn behind_proxies<'a>(
    peer: IpAddr,
    lines: impl DoubleEndedIterator<Item = &'a str>,
    trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut client = canonical(peer);
    let mut said = lines.rev().flat_map(|line| line.rsplit(',')).take(64);
    while trusted(client) {
        let Some(before) = said.next().and_then(address) else {
            break;
        };
        client = before;
    }
    client
}

/// An address as proxies write it: with or without port, v6 with or without
/// brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = if let Some(rest) = text.strip_prefix('[') {
        rest.split(']').next()?
    } else if text.matches(':').count() == 1 {
        text.split(':').next()?
    } else {
        text
    };
    bare.parse().ok().map(canonical)
}

/// `::ffff:1.2.3.4` is 1.2.3.4.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.octets()[0] == 10,
            IpAddr::V6(v6) => v6.is_loopback(),
        };
        behind_proxies(peer.parse().unwrap(), lines.iter().copied(), trusted).to_string()
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        for (peer, lines, wanted) in [
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            (
                "10.0.0.1",
                &["203.0.113.9", "198.51.100.7, 10.0.0.2"],
                "198.51.100.7",
            ),
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("10.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["198.51.100.7, unknown"], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("::1", &["10.1.1.1"], "10.1.1.1"),
        ] {
            assert_eq!(client(peer, lines), wanted, "{peer} {lines:?}");
        }
    }
}
