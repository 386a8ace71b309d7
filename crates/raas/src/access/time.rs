//! Times and periods on the command line.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use raas_types::{Utc, UtcError};

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
    At(Utc),
    After(Period),
}

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
    type Err = UtcError;

    fn from_str(text: &str) -> Result<Self, UtcError> {
        /// A key is valid until the end of its last day.
        const DAY: u64 = 86_400;
        if text == "never" {
            return Ok(Self::Never);
        }
        if let Ok(period) = text.parse() {
            return Ok(Self::After(period));
        }
        let at: Utc = text.parse()?;
        let is_day = text.len() == "2027-12-31".len();
        Ok(Self::At(if is_day { Utc::from_unix(at.unix() + DAY) } else { at }))
    }
}

impl Expiry {
    /// The first second at which the key is not valid; `None` if there is none.
    pub(crate) fn end(self, now: SystemTime) -> Option<Utc> {
        match self {
            Self::Never => None,
            Self::At(at) => Some(at),
            Self::After(period) => Some(period.after(now)),
        }
    }
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
        for wrong in ["", "2027-02-30", "tomorrow", "d", "-1d", "99999999999999999999d", "40000d", "5x"] {
            assert!(wrong.parse::<Expiry>().is_err(), "{wrong}");
        }
    }
}
