//! A point in time as logs and listings write it, always in UTC: RFC 3339, and the form of the
//! combined log. Pure arithmetic on the Gregorian calendar, years 1970 to 9999.

use std::time::{SystemTime, UNIX_EPOCH};

/// A point in time, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    year: u32,
    /// From 1.
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    millisecond: u32,
}

/// The end of the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

impl Moment {
    /// What is out of range becomes the nearest moment that is not.
    pub(crate) fn of(at: SystemTime) -> Moment {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs().min(SECONDS_MAX);
        let (year, month, day) = date((seconds / 86_400) as u32);
        let second = (seconds % 86_400) as u32;
        Moment {
            year,
            month,
            day,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            millisecond: since.subsec_millis(),
        }
    }

    /// `2026-11-22T14:44:34Z`
    pub(crate) fn rfc3339(self) -> String {
        let mut out = Vec::with_capacity(20);
        self.push_date_and_time(&mut out);
        out.push(b'Z');
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Appends `2026-11-22T14:44:34.123Z`.
    pub(crate) fn push_rfc3339(self, out: &mut Vec<u8>) {
        self.push_date_and_time(out);
        out.push(b'.');
        out.push(digit(self.millisecond / 100));
        push_two(out, self.millisecond % 100);
        out.push(b'Z');
    }

    /// Appends `22/Nov/2026:14:44:34 +0000`.
    pub(crate) fn push_combined(self, out: &mut Vec<u8>) {
        push_two(out, self.day);
        out.push(b'/');
        out.extend_from_slice(MONTHS[(self.month as usize - 1) % 12]);
        out.push(b'/');
        self.push_year(out);
        out.push(b':');
        self.push_time(out);
        out.extend_from_slice(b" +0000");
    }

    fn push_date_and_time(self, out: &mut Vec<u8>) {
        self.push_year(out);
        out.push(b'-');
        push_two(out, self.month);
        out.push(b'-');
        push_two(out, self.day);
        out.push(b'T');
        self.push_time(out);
    }

    fn push_year(self, out: &mut Vec<u8>) {
        push_two(out, self.year / 100);
        push_two(out, self.year % 100);
    }

    fn push_time(self, out: &mut Vec<u8>) {
        push_two(out, self.hour);
        out.push(b':');
        push_two(out, self.minute);
        out.push(b':');
        push_two(out, self.second);
    }
}

/// Year, month and day of a number of days since 1970. Years are counted from March, so that the
/// leap day is a year's last, and in eras of 400 years, which all have 146,097 days.
fn date(days: u32) -> (u32, u32, u32) {
    let days = days + 719_468; // since the first of March of the year 0
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // from March
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year;
    match month {
        0..10 => (year, month + 3, day),
        _ => (year + 1, month - 9, day),
    }
}

fn digit(n: u32) -> u8 {
    b'0' + (n % 10) as u8
}

fn push_two(out: &mut Vec<u8>, n: u32) {
    out.extend_from_slice(&[digit(n / 10), digit(n)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> Moment {
        Moment::of(UNIX_EPOCH + Duration::from_millis(millis))
    }

    #[test]
    fn moments_are_written_in_both_forms() {
        for (millis, rfc3339, combined) in [
            (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (
                951_827_696_789,
                "2000-02-29T12:34:56.789Z",
                "29/Feb/2000:12:34:56 +0000",
            ),
            (
                1_709_251_199_999,
                "2024-02-29T23:59:59.999Z",
                "29/Feb/2024:23:59:59 +0000",
            ),
            (
                1_709_251_200_001,
                "2024-03-01T00:00:00.001Z",
                "01/Mar/2024:00:00:00 +0000",
            ),
            (
                4_107_542_400_000,
                "2100-03-01T00:00:00.000Z",
                "01/Mar/2100:00:00:00 +0000",
            ),
            (
                u64::MAX / 2,
                "9999-12-31T23:59:59.807Z",
                "31/Dec/9999:23:59:59 +0000",
            ),
        ] {
            let (mut long, mut short) = (Vec::new(), Vec::new());
            at(millis).push_rfc3339(&mut long);
            at(millis).push_combined(&mut short);
            assert_eq!(String::from_utf8(long).unwrap(), rfc3339);
            assert_eq!(String::from_utf8(short).unwrap(), combined);
        }
    }

    #[test]
    fn every_day_of_four_hundred_years_is_the_day_http_dates_say() {
        for day in 0..146_097_u64 {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400);
            // `Thu, 01 Jan 1970 00:00:00 GMT`
            let http = httpdate::fmt_http_date(time);
            let mut ours = Vec::new();
            Moment::of(time).push_combined(&mut ours);
            let ours = String::from_utf8(ours).unwrap().replace('/', " ");
            assert_eq!(http[5..16], ours[..11]);
        }
    }

    #[test]
    fn what_lies_before_1970_is_1970() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Moment::of(before).rfc3339(), "1970-01-01T00:00:00Z");
    }
}
