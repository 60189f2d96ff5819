//! Header and trailer fields exactly as they stood on the wire: in order, repeated, in their own
//! case. Bytes outside ASCII become the character of the same number, so nothing is lost.
//! Parsing is strict, because a node must never write a sloppy head.

use std::fmt;

/// An ordered list of fields. Names are compared without regard to case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one field at the end.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of this name, in order.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Is there a field of this name?
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Does a comma-separated list field hold this member, whatever its case?
    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(member))
    }

    /// Every field as it came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends the fields in wire form, each with its CRLF, without the final empty line.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for (name, value) in self.iter() {
            out.extend(from_latin1(name));
            out.extend_from_slice(b": ");
            out.extend(from_latin1(value));
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Reads field lines, each ended by CRLF, without the final empty line.
    pub(crate) fn parse(block: &[u8]) -> Result<Self, String> {
        let mut fields = Self::new();
        let Some(block) = block.strip_suffix(b"\r\n") else {
            return if block.is_empty() {
                Ok(fields)
            } else {
                Err("fields end without CRLF".into())
            };
        };
        for line in latin1(block).split("\r\n") {
            let (name, value) = line
                .split_once(':')
                .ok_or(format!("no colon in field {line:?}"))?;
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(format!("bad field name {name:?}"));
            }
            if value.contains(['\r', '\n', '\0']) {
                return Err(format!("bare CR, LF or NUL in field {name}"));
            }
            fields.add(name, value.trim_matches([' ', '\t']));
        }
        Ok(fields)
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list()
            .entries(
                self.0
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}")),
            )
            .finish()
    }
}

/// Bytes to text, each byte its own character.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// Text to bytes: the way back where it exists, else UTF-8.
pub(crate) fn from_latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)))
        .collect::<Result<_, _>>()
        .unwrap_or_else(|_| text.as_bytes().to_vec())
}

/// A `tchar` of RFC 9110, section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Where the head ends: the number of bytes up to and with the empty line.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_case_are_kept_and_names_match_in_any_case() {
        let fields = Fields::parse(b"ETag: \"a\"\r\nX-B:1\r\nx-b:\t2 \r\n").unwrap();
        assert_eq!(fields.get("etag"), Some("\"a\""));
        assert_eq!(fields.all("X-B").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(fields.iter().next(), Some(("ETag", "\"a\"")));
    }

    #[test]
    fn sloppy_fields_are_refused() {
        for bad in [
            "a : b\r\n",
            " a: b\r\n",
            "a\r\n",
            "a: b\nc: d\r\n",
            "a: b",
            ": b\r\n",
        ] {
            assert!(Fields::parse(bad.as_bytes()).is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn bytes_outside_ascii_survive_the_round_trip() {
        let wire = b"x: caf\xe9\r\n";
        let mut out = Vec::new();
        Fields::parse(wire).unwrap().write(&mut out);
        assert_eq!(out, wire);
    }
}
