//! Dates in the formats of HTTP and S3.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// Year, month from 1, day, seconds of the day, days since the epoch.
fn civil(time: SystemTime) -> (i64, usize, i64, u64, i64) {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let days = (seconds / 86_400) as i64;
    // Howard Hinnant's `civil_from_days`.
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month as usize, doy - (153 * mp + 2) / 5 + 1, seconds % 86_400, days)
}

/// `Tue, 24 Nov 2026 17:12:02 GMT`
pub(super) fn http(time: SystemTime) -> String {
    let (year, month, day, second, days) = civil(time);
    let (name, month) = (DAYS[(days % 7) as usize], MONTHS[month - 1]);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{name}, {day:02} {month} {year} {hour:02}:{minute:02}:{:02} GMT", second % 60)
}

/// `2026-11-24T17:12:02.000Z`
pub(super) fn iso(time: SystemTime) -> String {
    let (year, month, day, second, _) = civil(time);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.000Z", second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_the_formats_of_the_standards() {
        let time = UNIX_EPOCH + Duration::from_secs(1_795_540_322);
        assert_eq!(http(time), "Tue, 24 Nov 2026 17:12:02 GMT");
        assert_eq!(iso(time), "2026-11-24T17:12:02.000Z");
        assert_eq!(iso(UNIX_EPOCH + Duration::from_secs(951_782_400)), "2000-02-29T00:00:00.000Z");
    }
}
