//! Times in the headers of an envelope.

use raas_types::Utc;

/// Reads a time of RFC 3339, such as `2022-07-29T15:55:10-07:00`. A fraction of a second does not count.
pub(super) fn parse(text: &str) -> Option<Utc> {
    /// The length of `2022-07-29T15:55:10`.
    const LENGTH: usize = 19;
    let (clock, rest) = text.split_at_checked(LENGTH)?;
    let clock = Utc::parse(&format!("{clock}Z"))?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            (zone.len() < fraction.len()).then_some(zone)?
        }
        None => rest,
    };
    let (sign, offset) = match zone.split_at_checked(1)? {
        ("Z", "") => return Some(clock),
        (sign @ ("+" | "-"), offset) => (sign, offset),
        _ => return None,
    };
    let digits = |text: &str, limit: u64| {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok())?.filter(|number: &u64| *number < limit)
    };
    let (hours, minutes) = offset.split_once(':')?;
    let offset = digits(hours, 24)? * 3600 + digits(minutes, 60)? * 60;
    // East of Greenwich, the clocks are ahead.
    Some(Utc::from_unix(match sign {
        "+" => clock.unix().checked_sub(offset)?,
        _ => clock.unix() + offset,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_zones_and_fractions() {
        for (text, expected) in [
            ("2022-07-29T22:55:10Z", Some("2022-07-29T22:55:10Z")),
            ("2022-07-29T22:55:10.25Z", Some("2022-07-29T22:55:10Z")),
            ("2022-07-29T15:55:10-07:00", Some("2022-07-29T22:55:10Z")),
            ("2022-07-30T04:25:10.123456789+05:30", Some("2022-07-29T22:55:10Z")),
            ("2022-07-29T22:55:10", None),
            ("2022-07-29T22:55:10.Z", None),
            ("2022-07-29T22:55:10+0530", None),
            ("2022-07-29T22:55:10+24:00", None),
            ("2022-07-29T22:55:10Zx", None),
            ("2022-02-30T00:00:00Z", None),
            ("2022-07-29 22:55:10Z", None),
            ("1970-01-01T00:00:00+01:00", None),
            ("é", None),
            ("", None),
        ] {
            assert_eq!(parse(text).map(|time| time.to_string()).as_deref(), expected, "{text}");
        }
    }
}
