//! Times and periods on the command line.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use raas_base::failure::{Failure, Kind};
use raas_types::Utc;

/// A number of days, hours or minutes: `14d`, `12h`, `30m`, `0d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(Duration);

/// A text that is not a period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a number with d (days), h (hours) or m (minutes), such as 14d, of at most 36500 days")]
pub(crate) struct PeriodError;

/// When a key expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    Never,
    /// At the end of the day that begins then.
    EndOf(Utc),
    At(Utc),
    After(Period),
}

/// A text that does not say when a key expires.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a day such as 2027-12-31, a time such as 2027-12-31T12:00:00Z, a period such as 90d, 12h or 30m, or `never`"
)]
pub(crate) struct ExpiryError;

/// The length of a day, in seconds.
const DAY: u64 = 86_400;

impl Period {
    /// The time after this period.
    pub(crate) fn after(self, now: SystemTime) -> Utc {
        Utc::of(now + self.0)
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        const MAX: u64 = 36_500 * 86_400;
        let unit = text.chars().last().ok_or(PeriodError)?;
        let seconds = match unit {
            'd' => 86_400,
            'h' => 3600,
            'm' => 60,
            _ => return Err(PeriodError),
        };
        let digits = text.strip_suffix(unit).unwrap_or_default();
        let number: u64 = match digits.bytes().all(|b| b.is_ascii_digit()) {
            true => digits.parse().map_err(|_| PeriodError)?,
            false => return Err(PeriodError),
        };
        let all = number.checked_mul(seconds).filter(|all| *all <= MAX).ok_or(PeriodError)?;
        Ok(Self(Duration::from_secs(all)))
    }
}

impl FromStr for Expiry {
    type Err = ExpiryError;

    fn from_str(text: &str) -> Result<Self, ExpiryError> {
        if text == "never" {
            return Ok(Self::Never);
        }
        if let Ok(period) = text.parse() {
            return Ok(Self::After(period));
        }
        let at: Utc = text.parse().map_err(|_| ExpiryError)?;
        let is_day = text.len() == "2027-12-31".len();
        Ok(if is_day { Self::EndOf(at) } else { Self::At(at) })
    }
}

impl Expiry {
    /// The first second at which the key is not valid; `None` if there is none.
    pub(crate) fn end(self, now: SystemTime) -> Option<Utc> {
        match self {
            Self::Never => None,
            // A key is valid until the end of its last day.
            Self::EndOf(day) => Some(Utc::from_unix(day.unix() + DAY)),
            Self::At(at) => Some(at),
            Self::After(period) => Some(period.after(now)),
        }
    }

    /// As [`end`](Self::end), for a key that must be valid now.
    ///
    /// # Errors
    /// The end is in the past. The error names the day that the user gave.
    pub(crate) fn future_end(self, now: SystemTime) -> Result<Option<Utc>, Failure> {
        let Some(end) = self.end(now).filter(|end| *end <= Utc::of(now)) else { return Ok(self.end(now)) };
        let given = if let Self::EndOf(day) = self { date(day) } else { end.to_string() };
        Err(Failure::new(Kind::Usage, format!("{given} is in the past"))
            .hint("give a later day with `--expires`, or end the key with `raas access revoke`"))
    }
}

/// The first second at which a key is not valid, for people: with the key's last day, if that second begins a day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShownEnd(pub(crate) Utc);

impl fmt::Display for ShownEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.unix().checked_sub(DAY) {
            Some(last_day) if last_day % DAY == 0 => {
                write!(f, "{}, the end of {}", self.0, date(Utc::from_unix(last_day)))
            }
            _ => write!(f, "{}", self.0),
        }
    }
}

/// `2027-12-31`
fn date(day: Utc) -> String {
    let mut text = day.to_string();
    text.truncate("2027-12-31".len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_valid_until_the_end_of_its_last_day() {
        let end = |text: &str| text.parse::<Expiry>().unwrap().end(SystemTime::UNIX_EPOCH);
        assert_eq!(end("2027-12-31").unwrap().to_string(), "2028-01-01T00:00:00Z");
        assert_eq!(end("2027-12-31T12:00:00Z").unwrap().to_string(), "2027-12-31T12:00:00Z");
        assert_eq!(end("90d").unwrap().unix(), 90 * 86_400);
        assert_eq!(end("never"), None);
        for wrong in
            ["", "2027-02-30", "31.12.2027", "tomorrow", "d", "-1d", "99999999999999999999d", "40000d", "5x"]
        {
            let error = wrong.parse::<Expiry>().unwrap_err().to_string();
            assert!(error.contains("90d") && error.contains("2027-12-31"), "{wrong}: {error}");
        }
    }

    #[test]
    fn an_end_is_shown_with_the_day_that_was_given() {
        let end = |text: &str| ShownEnd(text.parse().unwrap()).to_string();
        assert_eq!(end("2028-01-01T00:00:00Z"), "2028-01-01T00:00:00Z, the end of 2027-12-31");
        assert_eq!(end("2027-12-31T12:00:00Z"), "2027-12-31T12:00:00Z");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10 * DAY);
        let refused = |text: &str| text.parse::<Expiry>().unwrap().future_end(now).unwrap_err().to_string();
        assert!(refused("1970-01-10").contains("1970-01-10 is in the past"));
        assert!(refused("1970-01-10T01:00:00Z").contains("1970-01-10T01:00:00Z is in the past"));
        let today: Expiry = "1970-01-11".parse().unwrap();
        assert_eq!(today.future_end(now).unwrap(), today.end(now));
    }
}
