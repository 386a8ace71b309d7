//! One site's metadata folder, followed.
//!
//! The folder is updated in place while it is read. Its publisher writes new manifests, then documents (each by a
//! rename), then the revision, then takes away manifests that are gone. So a document is whole in itself, but a
//! manifest that it names may be gone by the time it is looked for. Such a document is looked at again at the next
//! poll, and until it loads, what it last was good for goes on being served.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use raas_types::crane::tree;

use super::documents::{self, Found};
use super::stamp::Stamp;
use crate::catalog::{Catalog, Fault, Good, load};

/// A metadata folder and what was last read of it.
pub(super) struct Tree {
    root: PathBuf,
    /// By path below the root.
    documents: BTreeMap<String, Document>,
    catalog: Arc<Catalog>,
    /// The revision file as it was when everything was last read without a new fault.
    settled: Option<Stamp>,
    /// The documents that lost their name to another, so that it is told once.
    claimed: BTreeSet<String>,
    /// The last error with the folder itself, so that it is told once.
    complaint: Option<String>,
    /// The folders below that could not be read, so that they are told once.
    unreadable: Vec<String>,
}

/// A document.
struct Document {
    stamp: Stamp,
    /// What it last was good for.
    good: Option<Good>,
    /// Why that is not what the file says now.
    fault: Option<String>,
}

/// What looking at the documents found.
#[derive(Default)]
struct Outcome {
    /// Something is served otherwise than before.
    changed: bool,
    /// A document does not load.
    faulty: bool,
    /// A document that loaded does not any more, or does not for another reason.
    newly_faulty: bool,
}

impl Tree {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            documents: BTreeMap::new(),
            catalog: Arc::default(),
            settled: None,
            claimed: BTreeSet::new(),
            complaint: None,
            unreadable: Vec::new(),
        }
    }

    pub(super) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    /// Reads what changed; whether the catalog did. A folder that cannot be read changes nothing.
    pub(super) fn poll(&mut self) -> bool {
        match self.try_poll() {
            Ok(changed) => {
                self.complaint = None;
                changed
            }
            Err(error) => {
                let complaint = error.to_string();
                if self.complaint.as_ref() != Some(&complaint) {
                    let folder = self.root.display();
                    tracing::warn!(%folder, %error, "the metadata cannot be read; what was read last is served");
                    self.complaint = Some(complaint);
                }
                self.settled = None;
                false
            }
        }
    }

    fn try_poll(&mut self) -> io::Result<bool> {
        // Read before the documents, so that the documents are at least what it names.
        let stamp = self.revision_stamp()?;
        if stamp.is_some() && stamp == self.settled {
            return Ok(false);
        }
        let revision = if stamp.is_some() { self.read_revision()? } else { Bytes::new() };
        let found = match documents::find(&self.root, tree::DATA) {
            // Nothing is published yet, or nothing any more.
            Err(error) if error.kind() == ErrorKind::NotFound && stamp.is_some() => Found::default(),
            found => found?,
        };
        if found.unreadable != self.unreadable {
            for reason in &found.unreadable {
                tracing::warn!(root = %self.root.display(), reason, "a metadata folder cannot be read");
            }
            self.unreadable = found.unreadable;
        }
        let mut outcome = self.read_documents(found.documents);
        outcome.faulty |= !self.unreadable.is_empty();
        self.settled = stamp.filter(|_| !outcome.faulty);
        // A fault that is new may come of reading while the publisher writes, and be gone at the next poll. Until
        // then the revision, which publishers wait for, is not told.
        let revision = if outcome.newly_faulty { self.catalog.revision.clone() } else { revision };
        if !outcome.changed && revision == self.catalog.revision {
            return Ok(false);
        }
        self.assemble(revision);
        Ok(true)
    }

    fn revision_stamp(&self) -> io::Result<Option<Stamp>> {
        match fs::metadata(self.root.join(tree::REVISION)) {
            Ok(metadata) => Ok(Some(Stamp::from(&metadata))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_revision(&self) -> io::Result<Bytes> {
        /// Far more than a commit's id.
        const LIMIT: u64 = 1024;
        let mut bytes = Vec::new();
        File::open(self.root.join(tree::REVISION))?.take(LIMIT).read_to_end(&mut bytes)?;
        Ok(Bytes::copy_from_slice(bytes.trim_ascii()))
    }

    fn read_documents(&mut self, found: Vec<(String, Stamp)>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut before = std::mem::take(&mut self.documents);
        for (path, stamp) in found {
            let known = before.remove(&path);
            let document = match known {
                Some(known) if known.stamp == stamp && known.fault.is_none() => known,
                known => self.read_document(&path, stamp, known, &mut outcome),
            };
            outcome.faulty |= document.fault.is_some();
            self.documents.insert(path, document);
        }
        for (path, document) in before {
            // A listing may miss a file that is renamed into place meanwhile, so it is asked for by its name.
            match fs::symlink_metadata(self.root.join(&path)) {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    outcome.changed |= document.good.is_some();
                }
                _ => {
                    outcome.faulty = true;
                    self.documents.insert(path, document);
                }
            }
        }
        outcome
    }

    fn read_document(
        &self,
        path: &str,
        listed: Stamp,
        known: Option<Document>,
        outcome: &mut Outcome,
    ) -> Document {
        let (good, fault, before) = known.map_or((None, None, None), |d| (d.good, d.fault, Some(d.stamp)));
        let mut stamp = listed;
        let loaded = File::open(self.root.join(path)).map_err(Fault::from).and_then(|file| {
            stamp = Stamp::from(&file.metadata()?);
            load(&self.root, &file, stamp.length(), good.as_ref())
        });
        match loaded {
            Ok(loaded) => {
                outcome.changed = true;
                Document { stamp, good: Some(loaded), fault: None }
            }
            Err(error) => {
                let reason = error.to_string();
                if fault.as_ref() != Some(&reason) || before != Some(stamp) {
                    let serves = if good.is_some() { "its last good version" } else { "nothing" };
                    let file = self.root.join(path);
                    tracing::warn!(path = %file.display(), reason, serves, "a document is not served");
                    outcome.newly_faulty = true;
                }
                Document { stamp, good, fault: Some(reason) }
            }
        }
    }

    fn assemble(&mut self, revision: Bytes) {
        let good = self.documents.iter().filter_map(|(path, d)| Some((path.as_str(), d.good.as_ref()?)));
        let mut documents: Vec<(&str, &Good)> = good.collect();
        // The document that lies where its name says comes before one that lies elsewhere.
        documents.sort_by_key(|(path, good)| !is_home(path, good));
        let (catalog, claimed) = Catalog::new(revision, documents.iter().copied());
        let mut losers = BTreeSet::new();
        for loser in claimed {
            if !self.claimed.contains(loser.document) {
                let path = self.root.join(loser.document);
                let reason = Fault::Claimed(loser.name);
                tracing::warn!(path = %path.display(), %reason, "a document is not served");
            }
            losers.insert(loser.document.to_owned());
        }
        self.claimed = losers;
        let revision = String::from_utf8_lossy(&catalog.revision);
        let repositories = catalog.repositories.len();
        let (folder, v1) = (self.root.display(), catalog.v1.len());
        tracing::info!(%folder, %revision, repositories, v1, "metadata loaded");
        self.catalog = Arc::new(catalog);
    }
}

fn is_home(path: &str, good: &Good) -> bool {
    match good {
        Good::V1(repository) => path == tree::v1_document(&repository.name),
        Good::V2(repository) => path == tree::document(&repository.name),
        Good::Protected(_) => true,
    }
}
