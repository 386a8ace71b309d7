//! The progress of a scrub. It is kept in the vendor's folder, so that the next run continues.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use raas_types::Utc;
use serde::{Deserialize, Serialize};

use super::CYCLE;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::files;
use raas_publish::home::Vendor;

/// A scrub, finished or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScrubProgress {
    /// When it began, in RFC 3339.
    pub(crate) begun: Option<String>,
    /// When it had read all objects, in RFC 3339.
    pub(crate) finished: Option<String>,
    /// The key of the last object that was read. Objects are read in the order of their keys.
    pub(crate) after: Option<String>,
    /// How many objects were read.
    pub(crate) objects: usize,
    /// How many bytes were read.
    pub(crate) bytes: u64,
    /// The objects with the wrong content, each with its problem.
    pub(crate) wrong: BTreeMap<String, String>,
}

impl ScrubProgress {
    /// Reads the file of a vendor. `None` without a file.
    ///
    /// # Errors
    /// The file is damaged. It may have named damaged objects.
    pub(super) fn load(vendor: &Vendor) -> Result<Option<Self>, Failure> {
        let path = path(vendor);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                Failure::new(Kind::Environment, format!("{} is damaged", path.display()))
                    .caused_by(error)
                    .hint("remove that file: the next scrub then reads all objects again")
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(super) fn save(&self, vendor: &Vendor) -> Result<(), Failure> {
        let path = path(vendor);
        let text = serde_json::to_vec_pretty(self).expect("a reading has text keys only");
        files::replace(&path, &text).context(|| format!("cannot write {}", path.display()))
    }

    /// Sets the time when it began, unless an earlier run has set it.
    pub(super) fn begin(&mut self, now: SystemTime) {
        self.begun.get_or_insert_with(|| Utc::of(now).to_string());
    }

    /// Whether it is finished, and old enough for the next one to begin.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        let Some(finished) = &self.finished else { return false };
        // A damaged time counts as long ago.
        let finished = Utc::parse(finished).map_or(0, |time| time.unix());
        Utc::of(now).unix().saturating_sub(finished) >= CYCLE.as_secs()
    }
}

fn path(vendor: &Vendor) -> PathBuf {
    vendor.folder().join("scrub.json")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_finished_reading_is_due_again_after_four_weeks() {
        let now = SystemTime::now();
        let mut reading = ScrubProgress::default();
        assert!(!reading.is_due(now), "it goes on");
        reading.finished = Some(Utc::of(now).to_string());
        assert!(!reading.is_due(now + Duration::from_secs(27 * 24 * 3600)));
        assert!(reading.is_due(now + Duration::from_secs(29 * 24 * 3600)));
        reading.finished = Some("nonsense".into());
        assert!(reading.is_due(now));
    }
}
