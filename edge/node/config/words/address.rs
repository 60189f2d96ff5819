//! Socket addresses to listen on, and address prefixes to trust.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value as Json, json};

use super::{Why, Word};

impl Word for SocketAddr {
    const WANTS: &'static str = "an address with a port";

    fn parse(text: &str) -> Result<Self, Why> {
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
        let port = port.parse::<u16>().ok();
        Err(match (host, port) {
            ("" | "*", Some(port)) => format!("every address is \"[::]:{port}\"").into(),
            ("localhost", Some(port)) => {
                format!("names are not looked up here; write \"127.0.0.1:{port}\"").into()
            }
            _ if text.parse::<IpAddr>().is_ok() => "the port is missing".into(),
            _ => Why::default(),
        })
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(\\[.+\\]|[0-9.]+):[0-9]+$" })
    }
}

/// A range of addresses, as in `10.0.0.0/8`. A single address is a whole prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// The first address; all bits after the prefix are zero.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits count: at most 32 for IPv4, 128 for IPv6.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Does the address fall in the range? An IPv4 address inside IPv6 is taken as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        cut(address.to_canonical(), self.bits) == Some(self.address)
            && address.to_canonical().is_ipv4() == self.address.is_ipv4()
    }
}

/// The address with all bits after the first `bits` cleared.
fn cut(address: IpAddr, bits: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let gone = 32_u32.checked_sub(bits.into())?;
            let mask = u32::MAX.checked_shl(gone).unwrap_or(0);
            Some(IpAddr::V4((v4.to_bits() & mask).into()))
        }
        IpAddr::V6(v6) => {
            let gone = 128_u32.checked_sub(bits.into())?;
            let mask = u128::MAX.checked_shl(gone).unwrap_or(0);
            Some(IpAddr::V6((v6.to_bits() & mask).into()))
        }
    }
}

impl Word for Prefix {
    const WANTS: &'static str = "an address prefix";

    fn parse(text: &str) -> Result<Self, Why> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| Why::default())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => whole,
            Some(bits) => bits.parse().map_err(|_| Why::default())?,
        };
        let start = cut(address, bits)
            .ok_or_else(|| format!("an address like this has at most {whole} bits"))?;
        if start != address {
            return Err(
                format!("bits are set after the first {bits}; write \"{start}/{bits}\"").into(),
            );
        }
        Ok(Self { address, bits })
    }

    fn text(&self) -> String {
        format!("{}/{}", self.address, self.bits)
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[0-9a-fA-F.:]+(/[0-9]+)?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_contains_its_own_range_only() {
        let table = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("::/0", "2001:db9::", true),
            ("::/0", "10.0.0.1", false),
        ];
        for (prefix, address, inside) in table {
            let read = Prefix::parse(prefix).unwrap();
            assert_eq!(
                read.contains(address.parse().unwrap()),
                inside,
                "{prefix} {address}"
            );
        }
    }

    #[test]
    fn a_prefix_that_cannot_be_meant_is_refused() {
        let table = [
            (
                "10.0.0.1/8",
                "bits are set after the first 8; write \"10.0.0.0/8\"",
            ),
            ("10.0.0.0/33", "an address like this has at most 32 bits"),
            (
                "2001:db8::/129",
                "an address like this has at most 128 bits",
            ),
            ("example.com", ""),
            ("10.0.0.0/", ""),
            ("10.0.0.0/-1", ""),
        ];
        for (text, why) in table {
            assert_eq!(Prefix::parse(text).unwrap_err(), why, "{text}");
        }
    }

    #[test]
    fn an_address_that_is_nearly_right_is_explained() {
        let table = [
            (":8080", "every address is \"[::]:8080\""),
            ("*:80", "every address is \"[::]:80\""),
            (
                "localhost:80",
                "names are not looked up here; write \"127.0.0.1:80\"",
            ),
            ("127.0.0.1", "the port is missing"),
            ("127.0.0.1:70000", ""),
        ];
        for (text, why) in table {
            assert_eq!(SocketAddr::parse(text).unwrap_err(), why, "{text}");
        }
        assert!(SocketAddr::parse("[::1]:0").is_ok());
    }
}
