//! The metrics of a run, as a file for the textfile collector of Prometheus' node_exporter.

use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use raas_base::failure::{Context as _, Failure};

use super::{Outcome, Report};

/// Writes the metrics. A reader sees the old file or the new one, never a part.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(path: &Path, report: &Report) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text(report, now).as_bytes())?;
        // The collector runs as another user.
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(permissions)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok::<(), std::io::Error>(())
    };
    write().context(|| format!("cannot write the metrics {}", path.display()))
}

fn text(report: &Report, now: u64) -> String {
    let mut text = String::new();
    let mut family = |name: &str, help: &str, value: &dyn Fn(&super::ImageReport) -> f64| {
        text.push_str(&format!("# HELP raas_sync_{name} {help}\n# TYPE raas_sync_{name} gauge\n"));
        for image in &report.images {
            // Names of vendors and images have no character that needs an escape.
            let labels = format!("isv=\"{}\",image=\"{}\"", image.vendor, image.image);
            text.push_str(&format!("raas_sync_{name}{{{labels}}} {}\n", value(image)));
        }
    };
    let is = |image: &super::ImageReport, outcome| f64::from(u8::from(image.outcome == outcome));
    family("failed", "Whether the image could not be compared or published.", &|image| {
        is(image, Outcome::Failed)
    });
    family("changed", "Whether the image was published.", &|image| is(image, Outcome::Changed));
    family("tags", "Wanted tags at the source.", &|image| image.tags as f64);
    family("changed_tags", "Tags that were new, moved or newly signed.", &|image| image.changed.len() as f64);
    family("removed_tags", "Tags that were removed.", &|image| image.removed.len() as f64);
    family("seconds", "Duration of the run for the image.", &|image| image.seconds);
    text.push_str(&format!(
        "# HELP raas_sync_end_time_seconds When the run ended.\n# TYPE raas_sync_end_time_seconds gauge\n\
         raas_sync_end_time_seconds {now}\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::ImageReport;

    #[test]
    fn each_image_has_a_line_in_each_family() {
        let image = ImageReport {
            vendor: "acme".parse().unwrap(),
            image: "tools/app".parse().unwrap(),
            source: None,
            outcome: Outcome::Failed,
            tags: 3,
            changed: vec!["1".parse().unwrap()],
            removed: Vec::new(),
            commit: None,
            error: None,
            requests: 4,
            seconds: 0.5,
        };
        let report = Report { images: vec![image], dry_run: false, seconds: 1.0 };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("raas.prom");
        write(&path, &report).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for line in [
            "raas_sync_failed{isv=\"acme\",image=\"tools/app\"} 1",
            "raas_sync_tags{isv=\"acme\",image=\"tools/app\"} 3",
            "raas_sync_seconds{isv=\"acme\",image=\"tools/app\"} 0.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_documented(&text);
    }

    fn assert_documented(text: &str) {
        let page = include_str!("../../../../docs/metrics.md");
        for line in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
            let (name, help) = line.split_once(' ').unwrap();
            let row = page.lines().find(|row| row.starts_with(&format!("| `{name}` | gauge |")));
            assert!(
                row.is_some_and(|row| row.ends_with(&format!("| {help} |"))),
                "{line} is not in docs/metrics.md"
            );
        }
    }
}
