//! Scrubs a bucket: reads every stored object, and compares its content with what is published. The scrub of a large
//! bucket can continue where the last run ended, and can be limited to a rate.

mod pace;
mod scrub_progress;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use raas_types::Utc;
use raas_types::crane::Document;

use crate::progress::Progress;
use pace::Pace;
use raas_base::failure::Failure;
use raas_base::parallel;
use raas_publish::home::Vendor;
use raas_publish::scrub::{self, Expectation, Expectations};
use raas_publish::storage::Storage;
pub(crate) use scrub_progress::ScrubProgress;

/// The most objects that are read at once.
const AT_ONCE: usize = 4;

/// How many objects are read before the progress is saved.
const BATCH: usize = 64;

/// How old a finished scrub may be before the next one begins.
const CYCLE: Duration = Duration::from_secs(28 * 24 * 3600);

/// How the stored objects are read.
pub(crate) struct Deep<'a> {
    pub(crate) progress: &'a Progress,
    /// The most bytes to read in a second.
    pub(crate) rate: Option<u64>,
    /// Whether the scrub continues where the last run ended.
    pub(crate) resume: bool,
}

impl Deep<'_> {
    /// Reads the objects of the documents. With `resume`, only those that this scrub has not read yet.
    pub(super) fn read(
        &self,
        vendor: &Vendor,
        documents: &[Document],
        storage: &dyn Storage,
    ) -> Result<ScrubProgress, Failure> {
        let all = scrub::expectations(documents);
        let now = SystemTime::now();
        let mut reading = match self.resume {
            true => ScrubProgress::load(vendor)?.filter(|reading| !reading.is_due(now)).unwrap_or_default(),
            false => ScrubProgress::default(),
        };
        reading.begin(now);
        let left: Vec<(&String, &Expectation)> = match (&reading.finished, &reading.after) {
            (Some(_), _) => Vec::new(),
            (None, None) => all.iter().collect(),
            (None, Some(after)) => all.iter().filter(|(key, _)| *key > after).collect(),
        };
        let pace = Pace::new(self.rate);
        let bar = self.progress.layer("reading", left.iter().map(|(_, expected)| expected.size).sum());
        let check = |(key, expected): (&String, &Expectation)| {
            let mut bytes = 0;
            let wrong = expected.check(storage, &mut |count| {
                bytes += count;
                bar.advance(count);
                pace.passed(count);
            })?;
            Ok::<_, Failure>((bytes, wrong.map(|why| (key.clone(), why))))
        };
        for batch in left.chunks(BATCH) {
            for (bytes, wrong) in parallel::each(AT_ONCE, batch.to_vec(), check)? {
                reading.objects += 1;
                reading.bytes += bytes;
                reading.wrong.extend(wrong);
            }
            reading.after = batch.last().map(|(key, _)| (*key).clone());
            if self.resume {
                reading.save(vendor)?;
            }
        }
        reading.wrong = still_wrong(&all, std::mem::take(&mut reading.wrong), storage)?;
        reading.finished.get_or_insert_with(|| Utc::of(SystemTime::now()).to_string());
        if self.resume {
            reading.save(vendor)?;
        }
        Ok(reading)
    }
}

/// Reads once more what was wrong. It may have been mended since, and one bad answer of a service is no damage.
fn still_wrong(
    all: &Expectations,
    wrong: BTreeMap<String, String>,
    storage: &dyn Storage,
) -> Result<BTreeMap<String, String>, Failure> {
    let wrong = wrong.into_keys().filter_map(|key| Some((all.get(&key)?, key))).collect();
    let found = parallel::each(AT_ONCE, wrong, |(expected, key)| {
        Ok(expected.check(storage, &mut |_| {})?.map(|why| (key, why)))
    })?;
    Ok(found.into_iter().flatten().collect())
}
