//! Durations: a whole number and a unit, as in "250ms", "10s", "1m", "24h", "30d".

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Why, Word};

/// Each unit in milliseconds, the largest first so that printing picks the shortest text.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Ten years: beyond it a duration is a slip, and sums of instants would overflow.
const MILLIS_MAX: u64 = 10 * 365 * 86_400_000;

impl Word for Duration {
    const WANTS: &'static str = "a duration";

    fn parse(text: &str) -> Result<Self, Why> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(Why::default());
        }
        let (_, each) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or("a whole number and one of ms, s, m, h, d")?;
        let millis = number.parse().ok().and_then(|n: u64| n.checked_mul(each));
        match millis {
            Some(millis) if millis <= MILLIS_MAX => Ok(Duration::from_millis(millis)),
            _ => Err("the most is ten years".into()),
        }
    }

    fn text(&self) -> String {
        let millis = u64::try_from(self.as_millis()).unwrap_or(MILLIS_MAX);
        if millis == 0 {
            return "0s".into();
        }
        let mut fitting = UNITS.iter().filter(|(_, each)| millis % each == 0);
        let (name, each) = fitting.next().unwrap_or(&("ms", 1));
        format!("{}{name}", millis / each)
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })
    }

    fn weigh(&self) -> Option<u64> {
        u64::try_from(self.as_millis()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed_in_the_largest_fitting_unit() {
        let table = [
            ("250ms", 250, "250ms"),
            ("10s", 10_000, "10s"),
            ("60s", 60_000, "1m"),
            ("90s", 90_000, "90s"),
            ("24h", 86_400_000, "1d"),
            ("0h", 0, "0s"),
            ("30d", 2_592_000_000, "30d"),
        ];
        for (text, millis, printed) in table {
            let read = Duration::parse(text).unwrap();
            assert_eq!(read, Duration::from_millis(millis), "{text}");
            assert_eq!(read.text(), printed, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "s",
            "10",
            "-1s",
            "1.5s",
            "10 s",
            "10sec",
            "1m30s",
            "99999d",
            "99999999999999999999s",
            "٣s",
        ] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
    }
}
