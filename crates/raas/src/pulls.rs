//! Pulls, counted from access logs: by the rule by which the server counts them.

mod line;
mod lines;
mod report;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use raas_types::pulls::Counter;
use raas_types::{RepositoryName, Utc, VendorName};

use line::{Line, Unread};
use raas_base::failure::{Failure, Kind};
pub(crate) use report::{Report, day};

/// What is looked for.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) vendor: Option<VendorName>,
    pub(crate) image: Option<RepositoryName>,
    /// The first second.
    pub(crate) since: Option<Utc>,
    /// The last one.
    pub(crate) until: Option<Utc>,
}

impl Wanted {
    fn is_of(&self, line: &Line<'_>) -> bool {
        self.vendor.as_ref().is_none_or(|vendor| line.vendor.as_deref() == Some(vendor.as_str()))
            && self.image.as_ref().is_none_or(|image| line.repository.as_deref() == Some(image.as_str()))
    }

    fn is_then(&self, time: Utc) -> bool {
        self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time <= until)
    }
}

/// Reads logs one after the other, `-` for standard input, and counts what is in them.
pub(crate) fn count(logs: &[PathBuf], wanted: &Wanted) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut counter = Counter::default();
    for log in logs {
        let (name, source): (_, Box<dyn BufRead>) = if log.as_os_str() == "-" {
            ("standard input".to_owned(), Box::new(io::stdin().lock()))
        } else {
            (log.display().to_string(), Box::new(open(log)?))
        };
        let read = plain(source).and_then(|plain| count_one(plain, wanted, &mut counter, &mut report));
        let text = read.map_err(|error| cannot_read(&name, error))?;
        if text {
            return Err(Failure::new(Kind::Refused, format!("{name} is a log in text, which is for people"))
                .hint("let the server write it as JSON, `raas serve --log json`, and count that"));
        }
    }
    Ok(report)
}

fn open(log: &Path) -> Result<BufReader<File>, Failure> {
    let file = File::open(log).map_err(|error| cannot_read(&log.display().to_string(), error))?;
    Ok(BufReader::with_capacity(256 * 1024, file))
}

fn cannot_read(name: &str, error: io::Error) -> Failure {
    Failure::new(Kind::Environment, format!("cannot read {name}"))
        .caused_by(error)
        .hint("name access logs of `raas serve --log json`, or `-` for standard input")
}

/// A packed log is known by its first two bytes, whatever it is called.
fn plain(mut source: Box<dyn BufRead>) -> io::Result<Box<dyn BufRead>> {
    let packed = source.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { Box::new(BufReader::new(MultiGzDecoder::new(source))) } else { source })
}

/// Counts the lines of one log; whether it is one in text.
fn count_one(
    mut source: Box<dyn BufRead>,
    wanted: &Wanted,
    counter: &mut Counter,
    report: &mut Report,
) -> io::Result<bool> {
    let (mut text, mut json) = (0_u64, 0_u64);
    let mut buffer = Vec::new();
    while let Some(bytes) = lines::next(&mut *source, &mut buffer)? {
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let line = match Line::read(bytes) {
            Ok(line) => line,
            Err(unread) => {
                match unread {
                    Unread::Other => json += 1,
                    Unread::Text => text += 1,
                    Unread::Nothing => {}
                }
                report.skipped(unread);
                continue;
            }
        };
        json += 1;
        report.lines.access += 1;
        if !wanted.is_of(&line) {
            continue;
        }
        let Some(fetch) = line.fetch() else { continue };
        // What came before the first second may make this a part of it.
        let counted = counter.count(&fetch);
        if wanted.is_then(fetch.time) {
            report.add(&fetch, &counted);
        }
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

    fn counted(bytes: &[u8], wanted: &Wanted) -> Result<Report, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all(bytes).unwrap();
        count(&[file.path().to_owned()], wanted)
    }

    #[test]
    fn pulls_are_counted_by_image_tag_and_day_and_the_rest_apart() {
        let wanted = Wanted { vendor: Some("acme".parse().unwrap()), ..Wanted::default() };
        let report = counted(log().as_bytes(), &wanted).unwrap();
        let shown = serde_json::to_value(&report).unwrap();
        let day = |tag: &str, day: &str| json!({"tag": tag, "day": day, "pulls": 1});
        assert_eq!(
            shown["images"],
            json!([
                {
                    "vendor": "acme", "image": "app", "pulls": 3, "polls": 1, "mirror_pulls": 1,
                    "attachments": {"sig": 1},
                    "tags": [day("1.0", "2026-11-23"), day("1.0", "2026-11-24"), day("2.0", "2026-11-24")],
                },
                {
                    "vendor": "acme", "image": "other", "pulls": 1, "polls": 0, "mirror_pulls": 0, "attachments": {},
                    "tags": [day("2.0", "2026-11-24")],
                },
            ])
        );
        assert_eq!(shown["lines"], json!({"access": 11, "other": 1, "unreadable": 1}));
    }

    #[test]
    fn a_span_of_time_is_counted_by_what_came_before_it_too() {
        let since = Some("2026-11-24".parse().unwrap());
        let image = Some("app".parse().unwrap());
        let report = counted(log().as_bytes(), &Wanted { since, image, ..Wanted::default() }).unwrap();
        // The one a minute after midnight is part of yesterday's.
        assert_eq!(report.pulls(), 3, "{report:?}");
        let until = Some("2026-11-23T23:59:59Z".parse().unwrap());
        assert_eq!(counted(log().as_bytes(), &Wanted { until, ..Wanted::default() }).unwrap().pulls(), 1);
    }

    #[test]
    fn packed_logs_are_read_and_logs_in_text_are_refused() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(log().as_bytes()).unwrap();
        // A log that is rotated in pieces has several members.
        let both = [packed.finish().unwrap(), b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0".to_vec()]
            .concat();
        assert_eq!(counted(&both, &Wanted::default()).unwrap().pulls(), 5);
        let text = "2026-11-24T09:00:00Z  INFO access: method=\"GET\" host=\"x\" path=\"/v2/\" status=200\n";
        let failure = counted(text.as_bytes(), &Wanted::default()).unwrap_err().to_string();
        assert!(failure.contains("is a log in text") && failure.contains("--log json"), "{failure}");
        let failure = count(&["/nonexistent/log".into()], &Wanted::default()).unwrap_err().to_string();
        assert!(failure.contains("cannot read /nonexistent/log"), "{failure}");
    }

    #[test]
    fn what_is_no_log_takes_no_memory() {
        let report = counted(&vec![b'x'; 10 * 1024 * 1024], &Wanted::default()).unwrap();
        assert_eq!((report.pulls(), report.lines.unreadable), (0, 1));
    }
}
