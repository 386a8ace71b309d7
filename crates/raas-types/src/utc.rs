//! Times in the formats of HTTP services.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A second of UTC, in the years 1970 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utc {
    seconds: u64,
}

impl Utc {
    /// The second of a system time; times before 1970 become the first second of 1970.
    pub fn of(time: SystemTime) -> Self {
        Self::from_unix(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    /// From the number of seconds since 1970.
    pub fn from_unix(seconds: u64) -> Self {
        /// 9999-12-31T23:59:59Z
        const LAST: u64 = 253_402_300_799;
        Self { seconds: seconds.min(LAST) }
    }

    /// The number of seconds since 1970.
    pub fn unix(self) -> u64 {
        self.seconds
    }

    /// The number of days since 1970.
    pub fn day(self) -> u64 {
        self.seconds / 86_400
    }

    /// The number of seconds between two times, in either order.
    pub fn distance(self, other: Self) -> u64 {
        self.seconds.abs_diff(other.seconds)
    }

    /// Reads `20130524T000000Z`.
    pub fn parse_basic(text: &str) -> Result<Self, UtcError> {
        let bytes = text.as_bytes();
        if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
            return Err(UtcError);
        }
        Self::civil([&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[9..11], &bytes[11..13], &bytes[13..15]])
    }

    /// From the digits of year, month, day, hour, minute and second.
    fn civil(digits: [&[u8]; 6]) -> Result<Self, UtcError> {
        let mut numbers = [0_u64; 6];
        for (number, digits) in numbers.iter_mut().zip(digits) {
            for digit in digits {
                let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0')).ok_or(UtcError)?;
                *number = *number * 10 + digit;
            }
        }
        let [year, month, day, hour, minute, second] = numbers;
        // A leap second counts as the second after it, as in Unix time.
        if year < 1970 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 60 {
            return Err(UtcError);
        }
        // Source: `days_from_civil` in the text that `date` names.
        let shifted_year = year - u64::from(month <= 2);
        let (era, of_era) = (shifted_year / 400, shifted_year % 400);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.saturating_sub(1);
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        let found = Self::from_unix(days * 86_400 + hour * 3600 + minute * 60 + second);
        // A day that its month does not have came out as a day of the next month.
        let (_, found_month, found_day) = Self::from_unix(days * 86_400).date();
        if (found_month, found_day) == (month, day) { Ok(found) } else { Err(UtcError) }
    }

    /// `20130524T000000Z`: ISO 8601's basic format, which AWS signs.
    pub fn basic(self) -> String {
        let ((year, month, day), (hour, minute, second)) = (self.date(), self.time());
        // Written by hand: each signed URL has such a time, and `format!` takes a third as long as the signature.
        let mut text = String::with_capacity(16);
        for number in [year / 100, year, month, day, hour, minute, second] {
            if text.len() == 8 {
                text.push('T');
            }
            for digit in [number / 10 % 10, number % 10] {
                text.push(char::from(b'0' + digit as u8));
            }
        }
        text.push('Z');
        text
    }

    /// Reads the form that [`Display`](fmt::Display) writes; `None` for any other.
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<u64> = text
            .strip_suffix('Z')?
            .split(['-', 'T', ':'])
            .map(|field| {
                field.bytes().all(|b| b.is_ascii_digit() && field.len() <= 4).then(|| field.parse().ok())?
            })
            .collect::<Option<_>>()?;
        let [year, month, day, hour, minute, second] = fields[..] else { return None };
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        // The inverse of `date`.
        let (year, shifted) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let (era, of_era) = (year / 400, year % 400);
        let days =
            era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * shifted + 2) / 5 + day - 1;
        let utc = Self::from_unix((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second);
        // An impossible date, such as the 31st of June, is written as another date.
        (utc.to_string() == text).then_some(utc)
    }

    /// `24 May 2013, 00:00 UTC`
    pub fn for_people(self) -> String {
        let (hour, minute, _) = self.time();
        format!("{}, {hour:02}:{minute:02} UTC", self.day_for_people())
    }

    /// `24 May 2013`
    pub fn day_for_people(self) -> String {
        const MONTHS: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        let (year, month, day) = self.date();
        let month =
            usize::try_from(month).ok().and_then(|month| MONTHS.get(month - 1)).copied().unwrap_or_default();
        format!("{day} {month} {year}")
    }

    /// `2013-05-24`
    pub fn day_text(self) -> String {
        let (year, month, day) = self.date();
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`: years begin in
    /// March, so that the leap day is the last of its year.
    fn date(self) -> (u64, u64, u64) {
        let days = self.day() + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        (era * 400 + year_of_era + u64::from(month <= 2), month, day)
    }

    fn time(self) -> (u64, u64, u64) {
        let second = self.seconds % 86_400;
        (second / 3600, second / 60 % 60, second % 60)
    }
}

/// The form of RFC 3339: `2013-05-24T00:00:00Z`.
impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((year, month, day), (hour, minute, second)) = (self.date(), self.time());
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// As text, in the form of RFC 3339.
impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// From any text that [`FromStr`] reads.
impl<'de> Deserialize<'de> for Utc {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A text that is not a time in UTC such as `2013-05-24T00:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as 2013-05-24T00:00:00Z, or a day such as 2013-05-24")]
pub struct UtcError;

/// Reads RFC 3339 in UTC. A fraction of a second is dropped; a date alone means the start of that day.
impl FromStr for Utc {
    type Err = UtcError;

    fn from_str(text: &str) -> Result<Self, UtcError> {
        let bytes = text.as_bytes();
        if bytes.len() < 10 || (bytes[4], bytes[7]) != (b'-', b'-') {
            return Err(UtcError);
        }
        let day = [&bytes[..4], &bytes[5..7], &bytes[8..10]];
        if bytes.len() == 10 {
            return Self::civil([day[0], day[1], day[2], b"0", b"0", b"0"]);
        }
        if bytes.len() < 20
            || !matches!(bytes[10], b'T' | b't' | b' ')
            || (bytes[13], bytes[16]) != (b':', b':')
        {
            return Err(UtcError);
        }
        let fraction = bytes[19..].strip_suffix(b"Z").or_else(|| bytes[19..].strip_suffix(b"+00:00"));
        let is_fraction = |rest: &[u8]| match rest {
            [] => true,
            [b'.', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        if !fraction.is_some_and(is_fraction) {
            return Err(UtcError);
        }
        Self::civil([day[0], day[1], day[2], &bytes[11..13], &bytes[14..16], &bytes[17..19]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_texts_are_not_times() {
        for text in [
            "",
            "Z",
            "2013-06-31T00:00:00Z",
            "2013-13-01T00:00:00Z",
            "2013-05-24T24:00:00Z",
            "2013-05-24",
            "2013-05-24T00:00:00+00:00",
            "1969-12-31T23:59:59Z",
            "2013-05-24T00:00:99999999999999999999Z",
            "0-0-0T0:0:0Z",
            "2013-05-24T9999999999999999999:00:00Z",
        ] {
            assert_eq!(Utc::parse(text), None, "{text}");
        }
        let utc = Utc::from_unix(1_369_353_600);
        assert_eq!(utc.for_people(), "24 May 2013, 00:00 UTC");
        assert_eq!(utc.day_text(), "2013-05-24");
        assert_eq!(serde_json::to_string(&utc).unwrap(), "\"2013-05-24T00:00:00Z\"");
        assert_eq!(serde_json::from_str::<Utc>("\"2013-05-24\"").unwrap(), utc);
        assert!(serde_json::from_str::<Utc>("\"soon\"").is_err());
    }

    #[test]
    fn known_seconds_have_their_dates() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_369_353_600, "2013-05-24T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ];
        for (seconds, text) in table {
            let utc = Utc::from_unix(seconds);
            assert_eq!(utc.to_string(), text);
            assert_eq!(Utc::parse(text), Some(utc));
            assert_eq!(utc.basic(), text.replace(['-', ':'], ""));
            assert_eq!(text.parse(), Ok(utc));
            assert_eq!(Utc::parse_basic(&utc.basic()), Ok(utc));
        }
    }

    #[test]
    fn times_are_read_as_logs_and_people_write_them() {
        let table = [
            ("2013-05-24", Some(1_369_353_600)),
            ("2013-05-24T00:00:01.999999Z", Some(1_369_353_601)),
            ("2013-05-24 00:00:00+00:00", Some(1_369_353_600)),
            ("2013-05-24T00:00:00", None),
            ("2013-05-24T00:00:00.Z", None),
            ("2013-05-24T00:00:00+02:00", None),
            ("2013-02-29", None),
            ("2013-13-01", None),
            ("1969-12-31", None),
            ("2013-05-2x", None),
            ("20130524", None),
            ("2013-05-24T24:00:00Z", None),
            ("ü013-05-24", None),
        ];
        for (text, seconds) in table {
            assert_eq!(text.parse::<Utc>().ok(), seconds.map(Utc::from_unix), "{text}");
        }
        assert_eq!(Utc::parse_basic("20130524X000000Z"), Err(UtcError));
    }
}
