//! How long raas waits for a registry, and how often it sends a request.

use std::time::{Duration, SystemTime};

/// The bounds of waiting for a registry.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How often a request is sent before its failure counts.
    pub attempts: u32,
    /// The pause after the first failure. Each further pause is twice as long.
    pub pause: Duration,
    /// The longest pause that a registry may ask for. If it asks for more, the request fails.
    pub longest: Duration,
    /// How long an answer may take to begin.
    pub answer: Duration,
    /// How long a body may be silent.
    pub silence: Duration,
    /// How many bytes of a blob must come between two cuts. After `attempts` cuts with fewer bytes between them, the
    /// transfer fails.
    pub progress: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 5,
            pause: Duration::from_millis(500),
            longest: Duration::from_secs(120),
            answer: Duration::from_secs(60),
            silence: Duration::from_secs(30),
            progress: 1024 * 1024,
        }
    }
}

impl Patience {
    /// The pause after this failed attempt, counted from 1; `None` if there is no further attempt. `asked` is the pause
    /// that the registry asks for.
    pub(super) fn pause_after(&self, attempt: u32, asked: Option<Duration>) -> Option<Duration> {
        if attempt >= self.attempts || asked.is_some_and(|asked| asked > self.longest) {
            return None;
        }
        let pause = self.pause.saturating_mul(1 << (attempt - 1).min(10)).min(self.longest);
        // Half of it is random, so that many clients do not come back together.
        let pause = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        Some(asked.map_or(pause, |asked| asked.max(pause)))
    }
}

/// The pause of a `Retry-After` header: seconds, or a date. Source: RFC 9110, section 10.2.3.
pub(super) fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    match header.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(header).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_are_bounded_and_honour_the_registry() {
        let patience = Patience { attempts: 4, ..Patience::default() };
        let range = |attempt| patience.pause_after(attempt, None).unwrap();
        assert!((250..=500).contains(&range(1).as_millis()));
        assert!((1000..=2000).contains(&range(3).as_millis()));
        assert_eq!(patience.pause_after(4, None), None);
        let asked = Duration::from_secs(60);
        assert_eq!(patience.pause_after(1, Some(asked)), Some(asked));
        assert_eq!(patience.pause_after(1, Some(Duration::from_secs(121))), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sat, 28 Nov 2026 17:00:00 GMT").unwrap();
        let table = [
            ("7", Some(7)),
            ("Sat, 28 Nov 2026 17:01:00 GMT", Some(60)),
            ("Sat, 28 Nov 2026 16:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ];
        for (header, seconds) in table {
            assert_eq!(retry_after(header, now), seconds.map(Duration::from_secs), "{header}");
        }
    }
}
