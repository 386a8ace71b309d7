//! A site's documents: what each was last good for, and the catalog that is made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use raas_types::crane::tree;

use crate::catalog::{Catalog, Fault, Good};

/// The documents that were last seen, by path. `S` tells whether one is still the same.
pub(super) struct Shelf<S> {
    /// What the log calls the place that they are from.
    place: String,
    documents: BTreeMap<String, Document<S>>,
    /// The documents that lost their name to another, so that it is told once.
    claimed: BTreeSet<String>,
    catalog: Arc<Catalog>,
}

/// A document.
struct Document<S> {
    stamp: S,
    /// What it last was good for.
    good: Option<Good>,
    /// Why that is not what the file says now.
    fault: Option<String>,
}

/// What looking at the documents found.
#[derive(Default)]
pub(super) struct Outcome {
    /// Something is served otherwise than before.
    pub(super) changed: bool,
    /// How many documents do not load.
    pub(super) faulty: usize,
    /// A document that loaded does not any more, or does not for another reason.
    pub(super) newly_faulty: bool,
}

impl<S: PartialEq> Shelf<S> {
    pub(super) fn new(place: String) -> Self {
        Self { place, documents: BTreeMap::new(), claimed: BTreeSet::new(), catalog: Arc::default() }
    }

    pub(super) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    /// Takes the documents that there are now. `load` reads one that is not as before; `is_gone` is asked for each
    /// that was there and is not listed.
    pub(super) fn take(
        &mut self,
        found: Vec<(String, S)>,
        mut load: impl FnMut(&str, &mut S, Option<&Good>) -> Result<Good, Fault>,
        mut is_gone: impl FnMut(&str) -> bool,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut before = std::mem::take(&mut self.documents);
        for (path, stamp) in found {
            let document = match before.remove(&path) {
                Some(known) if known.stamp == stamp && known.fault.is_none() => known,
                known => self.load(&path, stamp, known, &mut load, &mut outcome),
            };
            outcome.faulty += usize::from(document.fault.is_some());
            self.documents.insert(path, document);
        }
        for (path, document) in before {
            if is_gone(&path) {
                outcome.changed |= document.good.is_some();
            } else {
                outcome.faulty += 1;
                self.documents.insert(path, document);
            }
        }
        outcome
    }

    fn load(
        &self,
        path: &str,
        mut stamp: S,
        known: Option<Document<S>>,
        load: &mut impl FnMut(&str, &mut S, Option<&Good>) -> Result<Good, Fault>,
        outcome: &mut Outcome,
    ) -> Document<S> {
        let (good, fault, before) = known.map_or((None, None, None), |d| (d.good, d.fault, Some(d.stamp)));
        match load(path, &mut stamp, good.as_ref()) {
            Ok(loaded) => {
                outcome.changed = true;
                Document { stamp, good: Some(loaded), fault: None }
            }
            Err(error) => {
                let reason = error.to_string();
                if fault.as_ref() != Some(&reason) || before.as_ref() != Some(&stamp) {
                    let serves = if good.is_some() { "its last good version" } else { "nothing" };
                    tracing::warn!(place = self.place, path, reason, serves, "a document is not served");
                    outcome.newly_faulty = true;
                }
                Document { stamp, good, fault: Some(reason) }
            }
        }
    }

    /// Makes the catalog anew.
    pub(super) fn assemble(&mut self, revision: Bytes) {
        let good = self.documents.iter().filter_map(|(path, d)| Some((path.as_str(), d.good.as_ref()?)));
        let mut documents: Vec<(&str, &Good)> = good.collect();
        // The document that lies where its name says comes before one that lies elsewhere.
        documents.sort_by_key(|(path, good)| !is_home(path, good));
        let (catalog, claimed) = Catalog::new(revision, documents.iter().copied());
        let mut losers = BTreeSet::new();
        for loser in claimed {
            let path = loser.document;
            if !self.claimed.contains(path) {
                let reason = Fault::Claimed(loser.name);
                tracing::warn!(place = self.place, path, %reason, "a document is not served");
            }
            losers.insert(path.to_owned());
        }
        self.claimed = losers;
        let revision = String::from_utf8_lossy(&catalog.revision);
        let (repositories, v1) = (catalog.repositories.len() + catalog.legacy.len(), catalog.v1.len());
        tracing::info!(place = self.place, %revision, repositories, v1, "metadata loaded");
        self.catalog = Arc::new(catalog);
    }
}

fn is_home(path: &str, good: &Good) -> bool {
    match good {
        Good::V1(repository) => path == tree::v1_document(&repository.name),
        Good::V2(repository) => path == tree::document(&repository.name),
        Good::Legacy(repository) => path == tree::document(&repository.name),
        Good::Protected(_) => true,
    }
}
