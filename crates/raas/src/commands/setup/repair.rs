//! `raas setup --repair`.

use std::fs;

use serde::Serialize;

use crate::backup;
use crate::config::Config;
use crate::progress::Progress;
use crate::storage::OpenRegistry;
use raas_base::failure::{Context as _, Failure};
use raas_publish::home::Vendor;
use raas_publish::repair::{self, LostHistory, Report};

/// What a repair did.
#[derive(Debug, Default, Serialize)]
pub(super) struct Repaired {
    /// What is right again, a sentence each.
    pub(super) mended: Vec<String>,
    /// What could not be mended, each with what to do.
    pub(super) lost: Vec<String>,
}

impl Repaired {
    fn add(&mut self, report: Report) {
        self.mended.extend(report.mended);
        self.lost.extend(report.lost);
    }

    /// Mends what the home says about its own formats: nothing else can be read before.
    pub(super) fn begin(vendor: &Vendor) -> Result<Self, Failure> {
        let mut repaired = Self::default();
        repaired.add(repair::formats(vendor)?);
        Ok(repaired)
    }

    /// The results for people, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        if self.mended.is_empty() && self.lost.is_empty() {
            return vec!["Nothing had to be repaired".to_owned()];
        }
        let mended = self.mended.iter().map(|what| format!("Repaired: {what}"));
        mended.chain(self.lost.iter().map(|what| format!("Not repaired: {what}"))).collect()
    }
}

/// Repairs the record and the checkout.
pub(super) fn metadata(
    repaired: &mut Repaired,
    open: &OpenRegistry<'_>,
    vendor: &Vendor,
    config: &Config,
    history: LostHistory,
) -> Result<(), Failure> {
    let folder = vendor.bucket();
    fs::create_dir_all(&folder).context(|| format!("cannot make {}", folder.display()))?;
    let backup = || backup::documents_of_backup(config, vendor.name());
    repaired.add(repair::record(&open.registry(), history, &backup)?);
    Ok(())
}

/// Repairs the content in the bucket. Reads all of it.
pub(super) fn content(open: &OpenRegistry<'_>, repaired: &mut Repaired, quiet: bool) -> Result<(), Failure> {
    let progress = if quiet { Progress::quiet() } else { Progress::shown() };
    let bar = progress.reading(None);
    repaired.add(repair::content(&open.registry(), &|bytes| bar.advance(bytes))?);
    bar.done();
    Ok(())
}
