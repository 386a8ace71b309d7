//! The results of `raas status` as metrics, for a collector that reads files.
//!
//! Source: Prometheus, "Exposition formats", text format 0.0.4.

use std::fmt::{Display, Write as _};

use raas_types::Utc;

use super::{Outcome, ScrubProgress, Status};

/// The metrics of a vendor's status.
pub(crate) fn render(status: &Status) -> String {
    let mut page = Page { vendor: status.vendor.as_str(), text: String::new() };
    page.gauge(
        "raas_status_healthy",
        "1 if no check failed, else 0. Warnings do not count.",
        u8::from(status.healthy),
    );
    let failed = status.checks.iter().filter(|check| check.outcome == Outcome::Failed).count();
    page.gauge("raas_status_failed_checks", "Checks that failed.", failed);
    let Some(ScrubProgress { begun, finished, objects, bytes, wrong, .. }) = &status.reading else {
        return page.text;
    };
    page.gauge("raas_scrub_objects", "Stored objects that the current scrub has read.", objects);
    page.gauge("raas_scrub_bytes", "Bytes that the current scrub has read.", bytes);
    page.gauge(
        "raas_scrub_damaged_objects",
        "Stored objects whose content differs from the published one.",
        wrong.len(),
    );
    for (name, help, time) in [
        ("raas_scrub_begun_timestamp_seconds", "When the current scrub began.", begun),
        ("raas_scrub_finished_timestamp_seconds", "When the current scrub had read all objects.", finished),
    ] {
        if let Some(time) = time.as_deref().and_then(Utc::parse) {
            page.gauge(name, help, time.unix());
        }
    }
    page.text
}

struct Page<'a> {
    vendor: &'a str,
    text: String,
}

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        // A vendor's name has no character that a label would have to escape. Writing to a string cannot fail.
        let _ = writeln!(
            self.text,
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{{vendor=\"{}\"}} {value}",
            self.vendor
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::Check;
    use super::*;

    #[test]
    fn a_scrub_has_its_metrics() {
        let reading = ScrubProgress {
            begun: Some("2026-01-01T00:00:00Z".into()),
            objects: 3,
            bytes: 10,
            wrong: [("a".to_owned(), "missing".to_owned())].into(),
            ..ScrubProgress::default()
        };
        let status = Status {
            vendor: "acme".parse().unwrap(),
            platform: "local",
            healthy: false,
            checks: vec![Check::failed("content", "x", "y")],
            reading: Some(reading),
        };
        let page = render(&status);
        for line in [
            "raas_status_healthy{vendor=\"acme\"} 0\n",
            "raas_status_failed_checks{vendor=\"acme\"} 1\n",
            "raas_scrub_objects{vendor=\"acme\"} 3\n",
            "raas_scrub_damaged_objects{vendor=\"acme\"} 1\n",
            "raas_scrub_begun_timestamp_seconds{vendor=\"acme\"} 1767225600\n",
        ] {
            assert!(page.contains(line), "{page}");
        }
        assert!(!page.contains("finished"), "{page}");
        let documented = include_str!("../../../../docs/metrics.md");
        for line in page.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
            let (name, help) = line.split_once(' ').unwrap();
            let row = format!("| `{name}` | gauge | `vendor` | {help} |\n");
            assert!(documented.contains(&row), "docs/metrics.md has no {row}");
        }
    }
}
