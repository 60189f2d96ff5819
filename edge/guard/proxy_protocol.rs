//! The PROXY protocol, versions 1 and 2: what a proxy in front of the node says
//! about a connection before the connection's own first byte.
//!
//! Follows the protocol's specification, revision 2020/03/05, sections 2.1 to
//! 2.3. A function of bytes only: it never reads a socket, never waits and never
//! takes more than the header itself. What the specification leaves open is
//! refused. TLVs are skipped; their bytes count towards the bound.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The most bytes a header may have: what a reader must be able to hold. The
/// longest addresses take 232, the rest is room for TLVs.
pub const HEADER_BYTES_MAX: usize = 4096;

/// What the start of a connection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// Not all of the header yet.
    Partial,
    /// A whole header.
    Whole {
        /// The client, where the proxy names one: not for its own health checks
        /// (`LOCAL`) nor where it does not know (`UNKNOWN`, `UNSPEC`, datagrams,
        /// local sockets). Then the connection's own address counts.
        client: Option<SocketAddr>,
        /// Bytes of the header. What follows it belongs to the connection.
        length: usize,
    },
}

/// Not a PROXY header, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Looks for a header at the start of `bytes`.
///
/// # Errors
/// As soon as no byte that could follow would make it one.
pub fn announced(bytes: &[u8]) -> Result<Announced, Malformed> {
    if begins(bytes, V2_SIGNATURE) {
        version2(bytes)
    } else if begins(bytes, V1_START) {
        version1(bytes)
    } else {
        Err(Malformed("it begins with neither signature"))
    }
}

/// Does one begin with the other, as far as the shorter goes?
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, wanted)| byte == wanted)
}

const V1_START: &[u8] = b"PROXY ";

/// The line with its CRLF (section 2.1).
const V1_BYTES_MAX: usize = 107;

fn version1(bytes: &[u8]) -> Result<Announced, Malformed> {
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return match bytes.len() < V1_BYTES_MAX {
            true => Ok(Announced::Partial),
            false => Err(Malformed("the line is longer than 107 bytes")),
        };
    };
    let line = window[..end]
        .strip_suffix(b"\r")
        .and_then(|line| line.strip_prefix(V1_START))
        .ok_or(Malformed("the line does not end in CRLF"))?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed("the line is not ASCII"))?;
    Ok(Announced::Whole {
        client: line_client(line)?,
        length: end + 1,
    })
}

/// `TCP4 192.0.2.1 198.51.100.1 56324 443`, without what stands around it.
fn line_client(line: &str) -> Result<Option<SocketAddr>, Malformed> {
    let mut words = line.split(' ');
    let address: fn(&str) -> Option<IpAddr> = match words.next() {
        Some("TCP4") => |word| word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some("TCP6") => |word| word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        // Whatever else the line says is to be ignored.
        Some("UNKNOWN") => return Ok(None),
        _ => return Err(Malformed("the protocol is none of TCP4, TCP6 and UNKNOWN")),
    };
    let mut next = || words.next().ok_or(Malformed("the line breaks off"));
    let source = address(next()?).ok_or(Malformed("the source is not such an address"))?;
    address(next()?).ok_or(Malformed("the destination is not such an address"))?;
    let port = port(next()?)?;
    self::port(next()?)?;
    match words.next() {
        None => Ok(Some(SocketAddr::new(source, port))),
        Some(_) => Err(Malformed("the line goes on behind the ports")),
    }
}

/// Decimal, without sign or leading zeros.
fn port(word: &str) -> Result<u16, Malformed> {
    let canonical = word == "0" || !word.starts_with(['0', '+']);
    match word.parse() {
        Ok(port) if canonical => Ok(port),
        _ => Err(Malformed("a port is not a number from 0 to 65535")),
    }
}

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length.
const V2_FIXED: usize = 16;

fn version2(bytes: &[u8]) -> Result<Announced, Malformed> {
    let fixed = &bytes[..bytes.len().min(V2_FIXED)];
    let command = match fixed.get(12) {
        None => return Ok(Announced::Partial),
        Some(0x20) => Command::Local,
        Some(0x21) => Command::Proxy,
        Some(byte) if byte >> 4 != 2 => return Err(Malformed("the version is not 2")),
        Some(_) => return Err(Malformed("the command is neither LOCAL nor PROXY")),
    };
    let Some(&family) = fixed.get(13) else {
        return Ok(Announced::Partial);
    };
    if family >> 4 > 3 || family & 15 > 2 {
        return Err(Malformed("the family or the transport is not assigned"));
    }
    let [high, low] = match fixed.get(14..) {
        Some(&[high, low]) => [high, low],
        _ => return Ok(Announced::Partial),
    };
    let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > HEADER_BYTES_MAX {
        return Err(Malformed("it is longer than 4096 bytes"));
    }
    let Some(rest) = bytes.get(V2_FIXED..length) else {
        return Ok(Announced::Partial);
    };
    let client = match command {
        Command::Local => None,
        Command::Proxy => block_client(family, rest)?,
    };
    Ok(Announced::Whole { client, length })
}

enum Command {
    Local,
    Proxy,
}

/// Source and destination address, source and destination port (section 2.2).
fn block_client(family: u8, block: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    const SHORT: Malformed = Malformed("it has no room for its addresses");
    let (address, port): (IpAddr, &[u8]) = match family {
        0x11 => {
            let (block, _) = block.split_first_chunk::<12>().ok_or(SHORT)?;
            let (source, rest) = block.split_first_chunk::<4>().ok_or(SHORT)?;
            ((*source).into(), &rest[4..6])
        }
        0x21 => {
            let (block, _) = block.split_first_chunk::<36>().ok_or(SHORT)?;
            let (source, rest) = block.split_first_chunk::<16>().ok_or(SHORT)?;
            ((*source).into(), &rest[16..18])
        }
        // Not a TCP connection of the Internet: nothing here names a client.
        _ => return Ok(None),
    };
    let port = u16::from_be_bytes([port[0], port[1]]);
    Ok(Some(SocketAddr::new(address, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2.
    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = V2_SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((block.len() as u16).to_be_bytes());
        bytes.extend(block);
        bytes
    }

    const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

    fn v6() -> Vec<u8> {
        let mut block = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets().to_vec();
        block.extend([0xff; 16]);
        block.extend([0, 80, 1, 187]);
        block
    }

    fn with_tlvs(block: &[u8], bytes: usize) -> Vec<u8> {
        let mut block = block.to_vec();
        block.resize(block.len() + bytes, 0xee);
        block
    }

    /// Good headers and the client each names.
    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let longest = "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535";
        let longest = format!("{longest}{}\r\n", " ".repeat(105 - longest.len()));
        assert_eq!(longest.len(), 107);
        vec![
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec(),
                Some("192.0.2.1:56324"),
            ),
            (
                b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n".to_vec(),
                Some("255.255.255.255:65535"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n".to_vec(),
                Some("[2001:db8::1]:1"),
            ),
            (
                b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n".to_vec(),
                Some("[::ffff:192.0.2.1]:1"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (longest.into_bytes(), None),
            (v2(0x21, 0x11, V4), Some("192.0.2.1:56324")),
            (v2(0x21, 0x11, &with_tlvs(V4, 300)), Some("192.0.2.1:56324")),
            (v2(0x21, 0x21, &v6()), Some("[2001:db8::1]:80")),
            (
                v2(0x21, 0x21, &with_tlvs(&v6(), HEADER_BYTES_MAX - 52)),
                Some("[2001:db8::1]:80"),
            ),
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x11, V4), None),
            (v2(0x20, 0x11, b"short"), None),
            (v2(0x21, 0x00, b""), None),
            (v2(0x21, 0x12, V4), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ]
    }

    #[test]
    fn a_good_header_names_its_client_however_it_is_split() {
        for (header, client) in good() {
            let client = client.map(|client| client.parse().unwrap());
            let length = header.len();
            for cut in 0..length {
                assert_eq!(
                    announced(&header[..cut]),
                    Ok(Announced::Partial),
                    "{cut} of {header:?}"
                );
            }
            let whole = Ok(Announced::Whole { client, length });
            assert_eq!(announced(&header), whole);
            for more in [
                &b"GET / HTTP/1.1\r\n"[..],
                b"\0",
                &[0x16, 3, 1],
                b"PROXY UNKNOWN\r\n",
            ] {
                assert_eq!(announced(&[&header[..], more].concat()), whole);
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_the_first_byte_that_shows_it() {
        let line = |line: &str| line.as_bytes().to_vec();
        let table = [
            (line("GET / HTTP/1.1\r\n"), 1),
            (line("proxy TCP4"), 1),
            (line("PROXYTCP4"), 6),
            (line("PROXY\tTCP4"), 6),
            (vec![0x16, 3, 1, 0], 1),
            (line("\r\n\r\n\0\r\nQUIT\r"), 12),
            (line("PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n"), 38),
            (line("PROXY TCP4 192.0.2.1 198.51.100.1 1 2 \r\n"), 40),
            (line("PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n"), 40),
            (line("PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n"), 37),
            (line("PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n"), 43),
            (line("PROXY TCP4 192.0.2.1 198.51.100.1 +1 2\r\n"), 40),
            (line("PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n"), 40),
            (line("PROXY TCP4 192.0.2.01 198.51.100.1 1 2\r\n"), 40),
            (line("PROXY TCP4 ::1 ::1 1 2\r\n"), 24),
            (line("PROXY TCP6 192.0.2.1 ::1 1 2\r\n"), 30),
            (line("PROXY TCP6 [::1] ::1 1 2\r\n"), 26),
            (line("PROXY TCP6 fe80::1%1 ::1 1 2\r\n"), 30),
            (line("PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n"), 39),
            (line("PROXY tcp4 192.0.2.1 198.51.100.1 1 2\r\n"), 39),
            (line("PROXY UNKNOWN2\r\n"), 16),
            (line("PROXY \r\n"), 8),
            (line("PROXY TCP4 \u{e9} 198.51.100.1 1 2\r\n"), 33),
            (line(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(92))), 107),
            (v2(0x11, 0x11, V4), 13),
            (v2(0x22, 0x11, V4), 13),
            (v2(0x21, 0x41, V4), 14),
            (v2(0x21, 0x13, V4), 14),
            (v2(0x21, 0x11, &V4[..11]), 27),
            (v2(0x21, 0x21, &v6()[..35]), 51),
            (v2(0x21, 0x11, &with_tlvs(V4, HEADER_BYTES_MAX)), 16),
            (v2(0x20, 0x00, &[0; 65535]), 16),
        ];
        for (bytes, seen) in table {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
            for cut in 0..bytes.len().min(seen + 40) {
                let got = announced(&bytes[..cut]);
                match cut < seen {
                    true => assert_eq!(got, Ok(Announced::Partial), "{cut} of {shown:?}"),
                    false => assert!(got.is_err(), "{cut} of {shown:?} is {got:?}"),
                }
            }
            assert!(announced(&bytes).is_err(), "{shown:?}");
        }
    }

    #[test]
    fn damaged_headers_never_take_more_than_there_is() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let good = good();
        for _ in 0..200_000 {
            let pick = random() as usize % good.len();
            let mut bytes = good[pick].0.clone();
            for _ in 0..random() % 4 {
                let at = random() as usize % bytes.len();
                bytes[at] = random() as u8;
            }
            bytes.truncate(random() as usize % (bytes.len() + 1));
            if let Ok(Announced::Whole { length, .. }) = announced(&bytes) {
                assert!(
                    (15..=HEADER_BYTES_MAX).contains(&length) && length <= bytes.len(),
                    "{bytes:?}"
                );
            }
        }
    }
}
