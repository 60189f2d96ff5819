//! Sizes in bytes: "64KiB", "2GiB", or a plain whole number of bytes.

use serde_json::{Value as Json, json};
use toml_edit::Item;

use crate::config::mistakes::Mistakes;
use crate::config::section::Field;
use crate::config::tree::{Kind, Node};
use crate::config::value::Value;

use super::Why;

/// Each unit in bytes, the largest first so that printing picks the shortest text.
const UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// Reads `"64KiB"`.
    pub fn parse(text: &str) -> Result<Self, Why> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(Why::default());
        }
        let (_, each) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or("a whole number and one of B, KiB, MiB, GiB, TiB")?;
        let bytes = number.parse().ok().and_then(|n: u64| n.checked_mul(each));
        // TOML's own whole numbers end there, and a size may be written as one.
        match bytes {
            Some(bytes) if i64::try_from(bytes).is_ok() => Ok(Self(bytes)),
            _ => Err("that is too large".into()),
        }
    }

    /// The same in the largest unit that divides it.
    pub fn text(self) -> String {
        if self.0 == 0 {
            return "0B".into();
        }
        let mut fitting = UNITS
            .iter()
            .filter(|(_, each)| self.0.is_multiple_of(*each));
        let (name, each) = fitting.next().unwrap_or(&("B", 1));
        format!("{}{name}", self.0 / each)
    }

    /// As a length in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Value for Size {
    const WANTS: &'static str = "a size";

    fn decode(node: &Node, field: &Field<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let why = match &node.kind {
            Kind::Whole(number) => match u64::try_from(*number) {
                Ok(bytes) => return Some(Self(bytes)),
                Err(_) => Why::default(),
            },
            Kind::Text(text) => match Self::parse(text) {
                Ok(size) => return Some(size),
                Err(why) => why,
            },
            _ => Why::default(),
        };
        field.wants(Self::WANTS, node, &why, mistakes)
    }

    fn schema() -> Json {
        json!({
            "type": ["string", "integer"],
            "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)$",
            "minimum": 0,
        })
    }

    fn print(&self) -> Option<Item> {
        Some(toml_edit::value(self.text()))
    }

    fn weigh(&self) -> Option<u64> {
        Some(self.0)
    }

    fn bound(text: &str) -> Option<u64> {
        Self::parse(text).ok().map(|size| size.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed_in_the_largest_fitting_unit() {
        let table = [
            ("0B", 0, "0B"),
            ("1024B", 1024, "1KiB"),
            ("64KiB", 65_536, "64KiB"),
            ("1500B", 1500, "1500B"),
            ("2048MiB", 2 << 30, "2GiB"),
            ("3TiB", 3 << 40, "3TiB"),
        ];
        for (text, bytes, printed) in table {
            let read = Size::parse(text).unwrap();
            assert_eq!(read.0, bytes, "{text}");
            assert_eq!(read.text(), printed, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "KiB",
            "10",
            "10KB",
            "10k",
            "1.5GiB",
            "10 MiB",
            "-1B",
            "9999999TiB",
            "99999999999999999999B",
        ] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }
}
