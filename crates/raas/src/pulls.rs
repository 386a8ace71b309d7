//! Counts pulls in access logs, by the same rule as the server.

mod last_used;
mod line;
mod lines;
mod report;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use raas_types::access::CustomerName;
use raas_types::pulls::Counter;
use raas_types::{RepositoryName, Utc, VendorName};

pub(crate) use last_used::LastUsed;
use line::{Line, Skipped};
use raas_base::failure::{Failure, Kind};
pub(crate) use report::{CustomerCounts, Lines, Report, day};

/// Selects the requests to count.
#[derive(Debug, Default)]
pub(crate) struct PullFilter {
    pub(crate) vendor: Option<VendorName>,
    pub(crate) image: Option<RepositoryName>,
    /// Only requests of this customer.
    pub(crate) customer: Option<CustomerName>,
    /// The first second to count.
    pub(crate) since: Option<Utc>,
    /// The last second to count.
    pub(crate) until: Option<Utc>,
}

impl PullFilter {
    fn has_image(&self, line: &Line<'_>) -> bool {
        self.vendor.as_ref().is_none_or(|vendor| line.vendor.as_deref() == Some(vendor.as_str()))
            && self.image.as_ref().is_none_or(|image| line.repository.as_deref() == Some(image.as_str()))
            && self.customer.as_ref().is_none_or(|name| line.customer.as_deref() == Some(name.as_str()))
    }

    fn has_time(&self, time: Utc) -> bool {
        self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time <= until)
    }
}

/// Counts the pulls in logs, which are read in this order. `-` is standard input.
pub(crate) fn count(logs: &[PathBuf], filter: &PullFilter) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut counter = Counter::default();
    let mut lines = Lines::default();
    each_line(logs, &mut lines, |line| {
        if !filter.has_image(line) {
            return;
        }
        let Some(fetch) = line.fetch() else { return };
        // Requests before the first second are counted too, since this request may belong to a pull that began earlier.
        let counted = counter.count(&fetch);
        if filter.has_time(fetch.time) {
            report.add(&fetch, &counted);
        }
    })?;
    report.lines = lines;
    Ok(report)
}

/// Reads the lines of access logs, in this order. `-` is standard input. `count` gets the number of all lines.
fn each_line(logs: &[PathBuf], count: &mut Lines, mut visit: impl FnMut(&Line<'_>)) -> Result<(), Failure> {
    for log in logs {
        let (name, source): (_, Box<dyn BufRead>) = if log.as_os_str() == "-" {
            ("standard input".to_owned(), Box::new(io::stdin().lock()))
        } else {
            (log.display().to_string(), Box::new(open(log)?))
        };
        let read = unpacked(source).and_then(|log| each_line_of(log, count, &mut visit));
        let text = read.map_err(|error| cannot_read(&name, error))?;
        if text {
            return Err(Failure::new(
                Kind::Refused,
                format!("cannot read requests in {name}: it is a text log, which is for people"),
            )
            .hint("start the server with `raas serve --log json`, and read its log"));
        }
    }
    Ok(())
}

fn open(log: &Path) -> Result<BufReader<File>, Failure> {
    let file = File::open(log).map_err(|error| cannot_read(&log.display().to_string(), error))?;
    Ok(BufReader::with_capacity(256 * 1024, file))
}

fn cannot_read(name: &str, error: io::Error) -> Failure {
    Failure::new(Kind::of_named_file(&error), format!("cannot read {name}"))
        .caused_by(error)
        .hint("name access logs of `raas serve --log json`, or `-` for standard input")
}

/// Unpacks a log if its first two bytes are those of gzip.
fn unpacked(mut source: Box<dyn BufRead>) -> io::Result<Box<dyn BufRead>> {
    let packed = source.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { Box::new(BufReader::new(MultiGzDecoder::new(source))) } else { source })
}

/// Reads the lines of one log. Returns whether it is a text log.
fn each_line_of(
    mut source: Box<dyn BufRead>,
    count: &mut Lines,
    visit: &mut impl FnMut(&Line<'_>),
) -> io::Result<bool> {
    let (mut text, mut json) = (0_u64, 0_u64);
    let mut buffer = Vec::new();
    while let Some(bytes) = lines::next(&mut *source, &mut buffer)? {
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let line = match Line::read(bytes) {
            Ok(line) => line,
            Err(skipped) => {
                match skipped {
                    Skipped::OtherJson => json += 1,
                    Skipped::TextLog => text += 1,
                    Skipped::Unreadable => {}
                }
                count.skipped(skipped);
                continue;
            }
        };
        json += 1;
        count.access += 1;
        visit(&line);
    }
    Ok(text > 0 && json == 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::{Value, json};

    use super::*;

    fn get(time: &str, agent: &str, more: Value) -> String {
        let mut line = json!({
            "timestamp": format!("2026-11-{time}.123456Z"), "level": "INFO", "target": "access", "method": "GET",
            "host": "x", "path": "/", "status": 200, "bytes": 5, "ms": 0.1, "user_agent": agent,
            "remote": "192.0.2.1:5", "vendor": "acme", "repository": "app",
        });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("{line}\n")
    }

    fn log() -> String {
        let tag = |tag: &str| json!({"kind": "manifest", "tag": tag, "digest": raas_types::Digest::of(tag.as_bytes())});
        let with = |mut value: Value, key: &str, other: Value| {
            value[key] = other;
            value
        };
        [
            get("23T23:59:00", "docker", with(tag("1.0"), "method", "HEAD".into())),
            get("23T23:59:01", "docker", tag("1.0")),
            get("24T00:00:01", "docker", tag("1.0")),
            get("24T09:00:00", "docker", tag("1.0")),
            get("24T09:00:00", "podman", tag("2.0")),
            get("24T09:00:00", "podman", with(tag("2.0"), "repository", "other".into())),
            get("24T09:01:00", "cosign", json!({"kind": "sig", "tag": "sha256-x.sig"})),
            get("24T09:01:00", "Nexus/3", tag("1.0")),
            get("24T09:02:00", "docker", with(tag("1.0"), "status", 404.into())),
            get("24T09:02:00", "docker", with(tag("1.0"), "vendor", "zeta".into())),
            get("24T09:02:00", "docker", json!({"kind": "blob", "status": 307})),
            "{\"timestamp\":\"2026-11-24T09:00:00Z\",\"level\":\"WARN\",\"message\":\"x\",\"target\":\"raas\"}\n".into(),
            "nonsense\n\n".into(),
        ]
        .concat()
    }

    fn counted(bytes: &[u8], filter: &PullFilter) -> Result<Report, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all(bytes).unwrap();
        count(&[file.path().to_owned()], filter)
    }

    #[test]
    fn pulls_are_counted_by_image_tag_and_day_and_other_requests_apart() {
        let filter = PullFilter { vendor: Some("acme".parse().unwrap()), ..PullFilter::default() };
        let report = counted(log().as_bytes(), &filter).unwrap();
        let shown = serde_json::to_value(&report).unwrap();
        let day = |tag: &str, day: &str| json!({"tag": tag, "day": day, "pulls": 1});
        assert_eq!(
            shown["repositories"],
            json!([
                {
                    "vendor": "acme", "repository": "app", "pulls": 3, "polls": 1, "mirror_pulls": 1,
                    "attachments": {"sig": 1},
                    "pulls_by_tag": [day("1.0", "2026-11-23"), day("1.0", "2026-11-24"), day("2.0", "2026-11-24")],
                },
                {
                    "vendor": "acme", "repository": "other", "pulls": 1, "polls": 0, "mirror_pulls": 0, "attachments": {},
                    "pulls_by_tag": [day("2.0", "2026-11-24")],
                },
            ])
        );
        assert_eq!(shown["lines"], json!({"access": 11, "other": 1, "unreadable": 1}));
    }

    #[test]
    fn pulls_are_counted_by_customer() {
        let of = |customer: Option<&str>, time: &str| {
            let mut more = json!({"kind": "manifest", "tag": "1.0"});
            if let Some(customer) = customer {
                more["customer"] = customer.into();
            }
            get(time, "docker", more)
        };
        let list = json!({"kind": "tags", "customer": "bigbank"});
        let log = [
            of(Some("bigbank"), "24T09:00:00"),
            of(Some("bigbank"), "24T19:00:00"),
            of(Some("smallshop"), "24T12:00:00"),
            // A mirror of a customer counts apart, and is none of another customer at the same address.
            get("24T22:00:00", "docker", list),
            of(Some("bigbank"), "24T22:00:01"),
            of(Some("smallshop"), "24T22:00:01"),
            of(None, "24T15:00:00"),
        ]
        .concat();
        let all = serde_json::to_value(counted(log.as_bytes(), &PullFilter::default()).unwrap()).unwrap();
        let row = |customer: &str, pulls: u64, mirrors: u64| json!({"customer": customer, "repository": "app", "pulls": pulls, "mirror_pulls": mirrors, "vendor": "acme"});
        assert_eq!(all["customers"], json!([row("", 1, 0), row("bigbank", 2, 1), row("smallshop", 2, 0)]));
        let customer = Some("bigbank".parse().unwrap());
        let one = counted(log.as_bytes(), &PullFilter { customer, ..PullFilter::default() }).unwrap();
        assert_eq!(one.pulls(), 2);
        let nobody = self::log();
        let none = serde_json::to_value(counted(nobody.as_bytes(), &PullFilter::default()).unwrap()).unwrap();
        assert_eq!(none["customers"], json!([]), "a log without customers has no rows of them");
    }

    #[test]
    fn a_pull_that_began_before_the_first_second_is_not_counted() {
        let since = Some("2026-11-24".parse().unwrap());
        let image = Some("app".parse().unwrap());
        let report =
            counted(log().as_bytes(), &PullFilter { since, image, ..PullFilter::default() }).unwrap();
        // The request one second after midnight belongs to a pull of the day before.
        assert_eq!(report.pulls(), 3, "{report:?}");
        let until = Some("2026-11-23T23:59:59Z".parse().unwrap());
        assert_eq!(
            counted(log().as_bytes(), &PullFilter { until, ..PullFilter::default() }).unwrap().pulls(),
            1
        );
    }

    #[test]
    fn packed_logs_are_read_and_text_logs_are_rejected() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(log().as_bytes()).unwrap();
        // A log that is rotated in pieces has several members.
        let both = [packed.finish().unwrap(), b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0".to_vec()]
            .concat();
        assert_eq!(counted(&both, &PullFilter::default()).unwrap().pulls(), 5);
        let text = "2026-11-24T09:00:00Z  INFO access: method=\"GET\" host=\"x\" path=\"/v2/\" status=200\n";
        let failure = counted(text.as_bytes(), &PullFilter::default()).unwrap_err().to_string();
        assert!(failure.contains("is a text log") && failure.contains("--log json"), "{failure}");
        let failure = count(&["/nonexistent/log".into()], &PullFilter::default()).unwrap_err().to_string();
        assert!(failure.contains("cannot read /nonexistent/log"), "{failure}");
    }

    #[test]
    fn a_file_that_is_no_log_takes_little_memory() {
        let report = counted(&vec![b'x'; 10 * 1024 * 1024], &PullFilter::default()).unwrap();
        assert_eq!((report.pulls(), report.lines.unreadable), (0, 1));
    }
}
