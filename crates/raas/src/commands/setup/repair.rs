//! `raas setup --repair`.

use std::fs;

use serde::Serialize;

use crate::backup;
use crate::config::Config;
use crate::progress::Progress;
use crate::storage::OpenRegistry;
use raas_base::failure::{Context as _, Failure};
use raas_publish::home::Vendor;
use raas_publish::reading::Reading;
use raas_publish::repair::{self, LostHistory, Report};
use raas_publish::snapshot;
use raas_types::Pointer;

/// What a repair did.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Repaired {
    /// What is right again, a sentence each.
    pub(super) mended: Vec<String>,
    /// What could not be mended, each with what to do.
    pub(super) lost: Vec<String>,
    /// The pointer of the bucket before the repair.
    #[serde(skip)]
    pointer: Option<Reading<Pointer>>,
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

    /// Reads the pointer of a bucket, to tell afterwards whether it was repaired.
    fn note_pointer(&mut self, open: &OpenRegistry<'_>) -> Result<(), Failure> {
        let registry = open.registry();
        // A home without a publication gets the bucket's.
        if let (Some(storage), Some(_)) = (registry.shared_storage(), registry.vendor.record().head()?) {
            self.pointer = Some(snapshot::read_pointer(storage)?);
        }
        Ok(())
    }

    /// Says what has happened to the pointer of the bucket.
    fn compare_pointer(&mut self, open: &OpenRegistry<'_>) -> Result<(), Failure> {
        let (Some(before), Some(storage)) = (self.pointer.take(), open.registry().shared_storage()) else {
            return Ok(());
        };
        let Reading::There(now) = snapshot::read_pointer(storage)? else { return Ok(()) };
        let was = match before {
            Reading::There(before) if before == now => return Ok(()),
            // Another home has published meanwhile, or a killed run had not moved it.
            Reading::There(before) if before.sequence < now.sequence => "was not at the last publication",
            Reading::There(_) => "was wrong",
            Reading::Absent => "was missing",
            Reading::Unreadable(_) => "was damaged",
        };
        self.mended.push(format!("The pointer of the bucket {was}, and is written anew"));
        Ok(())
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
    repaired.note_pointer(open)
}

/// Goes on from the commit that the operator has chosen, in a bucket that has lost its pointer.
pub(super) fn history(
    repaired: &mut Repaired,
    open: &OpenRegistry<'_>,
    vendor: &Vendor,
    commit: &str,
) -> Result<(), Failure> {
    let existed = vendor.exists()?;
    open.remember_storage()?;
    vendor.create(open.registry().say)?;
    let chosen = repair::accept_history(&open.registry(), commit);
    if chosen.is_err() && !existed {
        // The first failure is the cause.
        drop(vendor.withdraw());
    }
    repaired.add(chosen?);
    Ok(())
}

/// Repairs the content in the bucket. Reads all of it.
pub(super) fn content(open: &OpenRegistry<'_>, repaired: &mut Repaired, quiet: bool) -> Result<(), Failure> {
    repaired.compare_pointer(open)?;
    let progress = if quiet { Progress::quiet() } else { Progress::shown() };
    let bar = progress.reading(None);
    repaired.add(repair::content(&open.registry(), &|bytes| bar.advance(bytes))?);
    bar.done();
    Ok(())
}
