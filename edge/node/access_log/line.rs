//! One request as a line: JSON, or nginx's `combined`.
//!
//! Whatever a stranger sent is bounded and escaped here, so that no request can forge a line,
//! break a JSON reader or speak to a terminal. Appends to a buffer and allocates nothing else.

use crate::config::Format;
use crate::http::front::Finished;
use crate::moment::Moment;
use http::Version;
use http::header::{HeaderMap, HeaderName, REFERER, USER_AGENT};
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// More than this of one value is cut off.
const VALUE_BYTES_MAX: usize = 2048;

/// What stands where something was cut off.
const CUT: &[u8] = b"...";

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What a line tells.
pub(super) struct Line<'a> {
    /// When the reply had gone out.
    pub(super) at: SystemTime,
    pub(super) client: IpAddr,
    /// `None` when the head could not be read.
    pub(super) asked: Option<Asked<'a>>,
    pub(super) status: u16,
    /// Of the body.
    pub(super) bytes: u64,
    pub(super) complete: bool,
    /// From the head to the end of the reply.
    pub(super) duration: Duration,
    /// From the head to the start of the reply.
    pub(super) served: Duration,
    pub(super) origin: Option<Duration>,
    pub(super) cache: &'static str,
    pub(super) cache_status: Option<&'a [u8]>,
    pub(super) site: Option<&'a str>,
    pub(super) reason: Option<&'static str>,
}

/// What a client asked for.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) host: &'a str,
    pub(super) target: &'a str,
    pub(super) protocol: &'static str,
    pub(super) referer: Option<&'a [u8]>,
    pub(super) user_agent: Option<&'a [u8]>,
}

impl<'a> Line<'a> {
    pub(super) fn of(finished: &Finished<'a>, at: SystemTime) -> Line<'a> {
        let reply = finished.reply;
        Line {
            at,
            client: finished.client.to_canonical(),
            asked: finished.head.map(|head| Asked {
                method: head.method.as_str(),
                host: &head.host,
                target: &head.target,
                protocol: protocol(head.version),
                referer: first(&head.fields, &REFERER),
                user_agent: first(&head.fields, &USER_AGENT),
            }),
            status: reply.status.as_u16(),
            bytes: finished.sent.bytes,
            complete: finished.sent.complete,
            duration: finished.began.elapsed(),
            served: finished.served,
            origin: reply.facts.origin,
            cache: reply.facts.outcome.word(),
            // The last is ours; caches behind us stand before it (RFC 9211, section 2).
            cache_status: reply
                .fields
                .get_all(CACHE_STATUS)
                .iter()
                .next_back()
                .map(http::HeaderValue::as_bytes),
            site: reply.facts.site.as_deref().map(|site| site.name.as_str()),
            reason: reply.facts.reason,
        }
    }

    /// Appends the line and its end.
    pub(super) fn push(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Json => self.push_json(out),
            Format::Combined => self.push_combined(out),
        }
    }

    fn push_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        Moment::of(self.at).push_rfc3339(out);
        out.extend_from_slice(b"\",\"client\":\"");
        push_address(out, self.client);
        out.push(b'"');
        if let Some(asked) = &self.asked {
            push_member(out, "method", Some(asked.method.as_bytes()));
            push_member(out, "host", Some(asked.host.as_bytes()));
            push_member(out, "target", Some(asked.target.as_bytes()));
            push_member(out, "protocol", Some(asked.protocol.as_bytes()));
        }
        out.extend_from_slice(b",\"status\":");
        push_number(out, self.status.into());
        out.extend_from_slice(b",\"bytes\":");
        push_number(out, self.bytes);
        push_milliseconds(out, "duration_ms", self.duration);
        push_milliseconds(out, "served_ms", self.served);
        if let Some(origin) = self.origin {
            push_milliseconds(out, "origin_ms", origin);
        }
        push_member(out, "cache", Some(self.cache.as_bytes()));
        push_member(out, "cache_status", self.cache_status);
        push_member(out, "site", self.site.map(str::as_bytes));
        push_member(out, "reason", self.reason.map(str::as_bytes));
        if let Some(asked) = &self.asked {
            push_member(out, "referer", asked.referer);
            push_member(out, "user_agent", asked.user_agent);
        }
        if !self.complete {
            out.extend_from_slice(b",\"complete\":false");
        }
        out.extend_from_slice(b"}\n");
    }

    /// `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent
    /// "$http_referer" "$http_user_agent"`
    fn push_combined(&self, out: &mut Vec<u8>) {
        push_address(out, self.client);
        out.extend_from_slice(b" - - [");
        Moment::of(self.at).push_combined(out);
        out.extend_from_slice(b"] \"");
        match &self.asked {
            None => out.push(b'-'),
            Some(asked) => {
                push_quoted(out, asked.method.as_bytes());
                out.push(b' ');
                push_quoted(out, asked.target.as_bytes());
                out.push(b' ');
                out.extend_from_slice(asked.protocol.as_bytes());
            }
        }
        out.extend_from_slice(b"\" ");
        push_number(out, self.status.into());
        out.push(b' ');
        push_number(out, self.bytes);
        out.extend_from_slice(b" \"");
        let asked = self.asked.as_ref();
        push_quoted(out, asked.and_then(|asked| asked.referer).unwrap_or(b"-"));
        out.extend_from_slice(b"\" \"");
        push_quoted(
            out,
            asked.and_then(|asked| asked.user_agent).unwrap_or(b"-"),
        );
        out.extend_from_slice(b"\"\n");
    }
}

fn first<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    fields.get(name).map(http::HeaderValue::as_bytes)
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("a Vec takes everything, and our own types can be written");
}

/// Formatting machinery would cost as much as the rest of the line, so numbers are written by hand.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        return push(out, format_args!("{address}"));
    };
    for (n, octet) in address.octets().into_iter().enumerate() {
        if n > 0 {
            out.push(b'.');
        }
        push_number(out, octet.into());
    }
}

/// `,"name":12.345`
fn push_milliseconds(out: &mut Vec<u8>, name: &str, time: Duration) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    let micros = time.subsec_micros() % 1000;
    push_number(
        out,
        time.as_secs()
            .saturating_mul(1000)
            .saturating_add(time.subsec_millis().into()),
    );
    out.push(b'.');
    out.extend_from_slice(&[100, 10, 1].map(|unit| b'0' + (micros / unit % 10) as u8));
}

/// `,"name":"value"`, or nothing.
fn push_member(out: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    let Some(value) = value else {
        return;
    };
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    let (value, cut) = bounded(value);
    if is_plain(value) {
        out.extend_from_slice(value);
    } else {
        escape_json(out, value);
    }
    out.extend_from_slice(cut);
    out.push(b'"');
}

/// RFC 8259, section 7. All control characters, those of Latin-1 included, since a terminal may
/// obey them; what is no UTF-8 becomes U+FFFD.
fn escape_json(out: &mut Vec<u8>, value: &[u8]) {
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                c if c.is_control() => push(out, format_args!("\\u{:04x}", u32::from(c))),
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// As nginx's `log_format` does by default: what is not printable ASCII, and `"` and `\`, as `\xHH`.
fn push_quoted(out: &mut Vec<u8>, value: &[u8]) {
    let (value, cut) = bounded(value);
    if is_plain(value) {
        out.extend_from_slice(value);
    } else {
        for &byte in value {
            match is_plain_byte(byte) {
                true => out.push(byte),
                false => push(out, format_args!("\\x{byte:02X}")),
            }
        }
    }
    out.extend_from_slice(cut);
}

/// The value, or as much of it as is kept, and what marks the cut. Characters stay whole.
fn bounded(value: &[u8]) -> (&[u8], &'static [u8]) {
    if value.len() <= VALUE_BYTES_MAX {
        return (value, b"");
    }
    let continues = |at: usize| value[at] & 0b1100_0000 == 0b1000_0000;
    let end = (VALUE_BYTES_MAX - 3..=VALUE_BYTES_MAX)
        .rev()
        .find(|&at| !continues(at));
    (&value[..end.unwrap_or(VALUE_BYTES_MAX)], CUT)
}

/// Looks at every byte, so that the compiler can look at many at once.
fn is_plain(value: &[u8]) -> bool {
    value
        .iter()
        .fold(true, |plain, byte| plain & is_plain_byte(*byte))
}

/// Printable ASCII without `"` and `\`.
fn is_plain_byte(byte: u8) -> bool {
    (byte.wrapping_sub(b' ') < 0x7f - b' ') & (byte != b'"') & (byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn line(asked: Option<Asked<'static>>) -> Line<'static> {
        Line {
            at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_042),
            client: "192.0.2.7".parse().unwrap(),
            asked,
            status: 200,
            bytes: 1234,
            complete: true,
            duration: Duration::from_micros(1_500_007),
            served: Duration::from_micros(90),
            origin: None,
            cache: "hit",
            cache_status: Some(b"edge; hit; ttl=30"),
            site: Some("example.com"),
            reason: None,
        }
    }

    fn asked(target: &'static str, user_agent: Option<&'static [u8]>) -> Asked<'static> {
        Asked {
            method: "GET",
            host: "example.com",
            target,
            protocol: "HTTP/1.1",
            referer: None,
            user_agent,
        }
    }

    fn written(line: &Line<'_>, format: Format) -> String {
        let mut out = Vec::new();
        line.push(format, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_of_json_has_every_member_in_its_place() {
        let mut line = line(Some(asked("/a?b=c", Some(b"curl/8.5"))));
        assert_eq!(
            written(&line, Format::Json),
            "{\"time\":\"2023-11-14T22:13:20.042Z\",\"client\":\"192.0.2.7\",\"method\":\"GET\",\
             \"host\":\"example.com\",\"target\":\"/a?b=c\",\"protocol\":\"HTTP/1.1\",\
             \"status\":200,\"bytes\":1234,\"duration_ms\":1500.007,\"served_ms\":0.090,\
             \"cache\":\"hit\",\"cache_status\":\"edge; hit; ttl=30\",\"site\":\"example.com\",\
             \"user_agent\":\"curl/8.5\"}\n"
        );
        line.complete = false;
        line.origin = Some(Duration::from_millis(3));
        line.reason = Some("truncated");
        let json: serde_json::Value = serde_json::from_str(&written(&line, Format::Json)).unwrap();
        assert_eq!(json["complete"], false);
        assert_eq!(json["origin_ms"], 3.0);
        assert_eq!(json["reason"], "truncated");
        line.client = "2001:db8::1".parse().unwrap();
        line.bytes = u64::MAX;
        line.duration = Duration::from_nanos(999);
        let json = written(&line, Format::Json);
        assert!(json.contains("\"client\":\"2001:db8::1\""), "{json}");
        assert!(
            json.contains("\"bytes\":18446744073709551615,\"duration_ms\":0.000,"),
            "{json}"
        );
    }

    #[test]
    fn a_combined_line_is_what_nginx_would_write() {
        let asked = asked("/a?b=c", Some(b"Mozilla/5.0 (X11)"));
        assert_eq!(
            written(&line(Some(asked)), Format::Combined),
            "192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] \"GET /a?b=c HTTP/1.1\" 200 1234 \
             \"-\" \"Mozilla/5.0 (X11)\"\n"
        );
    }

    #[test]
    fn a_head_that_could_not_be_read_leaves_a_line_too() {
        let mut line = line(None);
        line.status = 400;
        let json: serde_json::Value = serde_json::from_str(&written(&line, Format::Json)).unwrap();
        assert_eq!(json["status"], 400);
        assert!(json.get("method").is_none());
        let combined = written(&line, Format::Combined);
        assert!(
            combined.contains("] \"-\" 400 1234 \"-\" \"-\"\n"),
            "{combined}"
        );
    }

    #[test]
    fn hostile_values_stay_inside_their_quotes() {
        for (value, json, combined) in [
            (&b"a\"b\\c"[..], "a\"b\\c", "a\\x22b\\x5Cc"),
            (b"a\tb\r\n{", "a\tb\r\n{", "a\\x09b\\x0D\\x0A{"),
            (b"\x1b[2J\x07\0", "\u{1b}[2J\u{7}\0", "\\x1B[2J\\x07\\x00"),
            (b"\x7f\xc2\x9b1m", "\u{7f}\u{9b}1m", "\\x7F\\xC2\\x9B1m"),
            (
                b"\xff\xfeok\xe2\x82",
                "\u{fffd}\u{fffd}ok\u{fffd}",
                "\\xFF\\xFEok\\xE2\\x82",
            ),
            (
                "grün 🦀".as_bytes(),
                "grün 🦀",
                "gr\\xC3\\xBCn \\xF0\\x9F\\xA6\\x80",
            ),
        ] {
            let line = line(Some(asked("/", Some(value))));
            let text = written(&line, Format::Json);
            assert!(!text.trim_end().contains(char::is_control), "{text:?}");
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read["user_agent"], json);
            let text = written(&line, Format::Combined);
            assert!(text.ends_with(&format!(" \"{combined}\"\n")), "{text}");
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "ü".repeat(2000);
        for start in ["", "x"] {
            let value: &'static str = format!("{start}{long}").leak();
            let line = line(Some(asked(value, Some(value.as_bytes()))));
            let json: serde_json::Value =
                serde_json::from_str(&written(&line, Format::Json)).unwrap();
            let kept = json["target"].as_str().unwrap();
            assert!(kept.ends_with("ü...") && kept.len() <= VALUE_BYTES_MAX + CUT.len());
            assert_eq!(json["target"], json["user_agent"]);
            // Four bytes for each of two kept values, and the rest of the line.
            assert!(written(&line, Format::Combined).len() < 2 * 4 * VALUE_BYTES_MAX + 200);
        }
        assert_eq!(bounded(&[0x80; 3000]).0.len(), VALUE_BYTES_MAX);
    }
}
