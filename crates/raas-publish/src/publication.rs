//! Changing what a vendor publishes: one commit under the vendor's lock, and what follows from it.
//!
//! The commit is the publication. A run that is killed before it has published nothing; one that is killed after
//! it leaves the objects named by tag, the metadata in the bucket and the checkout behind, which any later publication
//! brings up to date, whatever image it is of, and any server of this home that starts.
//!
//! Where the objects are in a bucket of a service, several homes may publish to it. A home publishes in its turn, and on
//! top of what the others have published ([`crate::catch_up`]).

mod documents;
mod settle;
mod tag_objects;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use raas_types::crane::{Content, Document, V1Content, V2Extension, tree};
use raas_types::{Digest, ObjectKey, Reference, RepositoryName, Tag};

use crate::catch_up::When;
use crate::held::Held;
use crate::home::Vendor;
use crate::inventory;
use crate::record::{Message, Record};
use crate::registry::Registry;
use crate::snapshot::{self, Holder, Look, Patience, Publisher, Standing, Turn};
use crate::storage::Storage;
use raas_base::failure::{Failure, Kind};
use raas_git::{Change, CommitId};
pub use settle::{complete, put_right, recover};

/// Told of each object: its key, its length, and whether it had to be written.
pub type Tell<'a> = &'a mut dyn FnMut(&ObjectKey, u64, bool);

/// A publication in the making; others wait until it is dropped.
pub struct Publication<'a> {
    vendor: &'a Vendor,
    storage: &'a dyn Storage,
    /// What the bucket holds of the repository.
    held: Held<'a>,
    /// Whether other homes may publish to the bucket too, and servers elsewhere read it.
    shared: bool,
    /// Where what follows from the last publication is not done yet: up to which commit it is.
    unsettled: Option<settle::Since>,
    /// The vendor's record.
    pub record: Record,
    /// The last publication.
    pub head: Option<CommitId>,
    /// The turn among homes, if it was taken.
    turn: Option<Turn<'a>>,
    _lock: File,
}

/// What a repository publishes so far.
#[derive(Debug, Default)]
pub struct Current {
    /// Content for today's clients.
    pub v2: Option<V2Extension>,
    /// Docker v1 content.
    pub v1: Option<V1Content>,
    /// Whether only users may see the repository.
    pub protected: bool,
}

/// A publication that was made, or was there already.
#[derive(Debug, Clone)]
pub struct Done {
    /// The commit that holds it.
    pub commit: CommitId,
    /// Whether it is a new one.
    pub changed: bool,
}

impl<'a> Publication<'a> {
    /// Waits for the vendor's lock, and takes in what other homes have published. What is published is of one
    /// repository, and of the operator. Before the turn it is seen what there is to do, and where other homes may publish
    /// too, nothing can be changed.
    pub fn begin(registry: &Registry<'a>, name: &'a RepositoryName, when: When) -> Result<Self, Failure> {
        let Registry { vendor, storage, shared, .. } = *registry;
        let lock = vendor.lock()?;
        let record = vendor.record();
        let turn = match when {
            When::InTurn if shared => Some(take_turn(registry, Some(name))?),
            When::Now | When::InTurn => None,
        };
        let unsettled = settle::since(registry, &record, when)?;
        let head = record.head()?;
        // Under the lock: what other pushes have stored under tags until now is seen.
        let published = published_keys(&record, head.as_ref(), name)?;
        let held = Held::read(storage, name, false, &published)?;
        Ok(Self { vendor, storage, held, shared, unsettled, record, head, turn, _lock: lock })
    }

    /// What the repository publishes so far.
    pub fn current(&self) -> Result<Current, Failure> {
        match &self.head {
            Some(head) => Current::read(&self.record, head, self.held.repository()),
            None => Ok(Current::default()),
        }
    }

    /// Refuses to publish content that has gone since it was stored, as by a `gc` that gave it too little time. What is
    /// named by its digest was seen in the listing that this publication began with.
    pub fn check_stored(&self, content: &[(ObjectKey, u64)]) -> Result<(), Failure> {
        for (key, size) in content {
            if !self.held.is_there(key, *size)? {
                let message = format!("{key} was stored, and is not in {} any more", self.storage.place());
                return Err(Failure::new(Kind::Environment, message)
                    .hint("did a `raas gc` with little grace run at the same time? nothing was published; push again"));
            }
        }
        Ok(())
    }

    /// Stores a manifest under its digest.
    pub fn put_manifest(
        &mut self,
        digest: &Digest,
        media_type: &str,
        bytes: &[u8],
        tell: Tell<'_>,
    ) -> Result<(), Failure> {
        Turn::keep_any(self.turn.as_mut())?;
        let key = ObjectKey::manifest(self.held.repository(), Reference::Digest(*digest), media_type);
        let written = self.held.put(&key, bytes)?;
        tell(&key, bytes.len() as u64, written);
        Ok(())
    }

    /// What of these files, each a path with its content or with nothing if it goes, is not published so.
    pub fn changes(&self, files: BTreeMap<String, Option<Vec<u8>>>) -> Result<Vec<Change>, Failure> {
        let mut changes = Vec::new();
        let reader = self.head.as_ref().map(|head| self.record.reader(head, tree::DATA)).transpose()?;
        for (path, content) in files {
            let old = reader.as_ref().map(|reader| reader.read(&path)).transpose()?.flatten();
            if old != content {
                changes.push((path, content));
            }
        }
        Ok(changes)
    }

    /// Whether that needs the turn, which this publication does not have: then it is to be begun anew.
    pub fn waits_for_turn(&self, changes: &[Change]) -> Result<bool, Failure> {
        if !self.shared || self.turn.is_some() {
            return Ok(false);
        }
        if self.unsettled.is_some() || !changes.is_empty() {
            return Ok(true);
        }
        match &self.head {
            // Another hand may have changed what is stored under tags.
            Some(head) => Ok(!tag_objects::are_whole(&self.held, &self.record, head)?),
            None => Ok(false),
        }
    }

    /// Publishes changes, and brings the repository's objects named by tag, the metadata in the bucket and the checkout
    /// up to date. Where nothing changes, the last commit is the one.
    pub fn commit(mut self, changes: &[Change], message: &Message, tell: Tell<'_>) -> Result<Done, Failure> {
        debug_assert!(!self.shared || self.turn.is_some() || changes.is_empty(), "others may publish too");
        documents::check(changes)?;
        if let Some(turn) = &mut self.turn {
            settle::put_right(self.storage, &self.record, self.head.as_ref(), turn)?;
        }
        let mut keep = || Turn::keep_any(self.turn.as_mut());
        keep()?;
        if let (Some(since), Some(head)) = (&self.unsettled, &self.head) {
            let name = self.held.repository();
            settle::tag_objects(self.storage, &self.record, since, head, Some(name), &mut keep)?;
        }
        let done = match &self.head {
            Some(head) if changes.is_empty() => Done { commit: head.clone(), changed: false },
            head => {
                let commit = self.record.commit(head.as_ref(), changes, &message.to_string())?;
                if self.shared && head.is_none() {
                    // Another home's first publication has nothing in common with this one.
                    self.record.mark_unconfirmed(Some(&commit))?;
                }
                Done { commit, changed: true }
            }
        };
        let told = self.tell_others(&done, tell);
        if let Err(failure) = told {
            self.take_back();
            return Err(failure);
        }
        self.vendor.checkout().update(&self.record, &done.commit)?;
        self.record.tidy()?;
        Ok(done)
    }
}

impl Publication<'_> {
    /// Makes what others read of the bucket what a commit says.
    fn tell_others(&mut self, done: &Done, tell: Tell<'_>) -> Result<(), Failure> {
        let mut keep = || Turn::keep_any(self.turn.as_mut());
        tag_objects::update(self.storage, &self.held, &self.record, &done.commit, tell, &mut keep)?;
        if self.shared && (done.changed || self.unsettled.is_some()) {
            keep()?;
            let Self { record, storage, vendor, turn, .. } = self;
            let (vendor, spool) = (vendor.name(), vendor.folder());
            let publisher = Publisher { vendor, record, storage: *storage, spool };
            publisher.publish(Look::Parts, turn.as_mut())?;
            self.record.mark_unconfirmed(None)?;
        }
        Ok(())
    }

    /// Where the bucket does not say yet that it is published, another home may be the next to publish: then what is
    /// stored under tags must be what is published still.
    fn take_back(&mut self) {
        let Some(turn) = &mut self.turn else { return };
        let ours = self.record.head().ok().flatten().map(|head| head.to_string());
        let standing = snapshot::standing(self.storage).map(Standing::pointer);
        let published = match (turn.confirm(), standing) {
            (Ok(()), Ok(Some(pointer))) if Some(&pointer.revision) != ours.as_ref() => self.head.as_ref(),
            // It is published after all, or it cannot be known: that is left for whoever has the next turn.
            _ => None,
        };
        let name = [self.held.repository().clone()];
        let restored =
            published.map(|head| settle::restore(self.storage, &self.record, head, &name, &mut || Ok(())));
        if restored.is_none_or(|restored| restored.is_err()) {
            turn.die();
        }
    }
}

/// Waits until no other home publishes to the bucket. The caller holds the vendor's lock.
pub fn take_turn<'a>(registry: &Registry<'a>, name: Option<&RepositoryName>) -> Result<Turn<'a>, Failure> {
    let Registry { vendor, storage, say, .. } = *registry;
    Turn::take(storage, &Holder::new(name), &vendor.turn(), &Patience::default(), say)
}

/// The keys of the objects that the repository's publication names.
pub fn published_keys(
    record: &Record,
    head: Option<&CommitId>,
    name: &RepositoryName,
) -> Result<BTreeSet<String>, Failure> {
    let mut keys = BTreeSet::new();
    let Some(head) = head else { return Ok(keys) };
    for path in [tree::document(name), tree::v1_document(name)] {
        // One that cannot be read names nothing: all of it is stored anew.
        let document = record.read(head, &path)?.and_then(|bytes| Document::parse(&bytes).ok());
        if let Some(document) = document {
            inventory::objects(&document, &mut |key, _| {
                keys.insert(key.to_string());
            });
        }
    }
    Ok(keys)
}

impl Current {
    /// What the repository publishes in a commit.
    pub fn read(record: &Record, commit: &CommitId, name: &RepositoryName) -> Result<Self, Failure> {
        let mut current = Self::default();
        let read = |path: String| -> Result<Option<Document>, Failure> {
            let Some(bytes) = record.read(commit, &path)? else { return Ok(None) };
            let document = Document::parse(&bytes).map_err(|error| {
                Failure::new(Kind::Environment, format!("{path} of commit {commit} cannot be read"))
                    .caused_by(error)
                    .hint("correct it in the record with git, or publish the image under another name")
            })?;
            Ok(Some(document))
        };
        if let Some(document) = read(tree::document(name))? {
            current.protected = document.protected;
            if let Content::V2(v2) = document.content {
                current.v2 = v2.raas;
            }
        }
        if let Some(document) = read(tree::v1_document(name))?
            && let Content::V1(v1) = document.content
        {
            current.protected |= document.protected;
            current.v1 = Some(v1);
        }
        Ok(current)
    }

    /// The tags that today's clients can pull.
    pub fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.v2.iter().flat_map(|v2| v2.tags.keys())
    }

    /// Whether nothing is published.
    pub fn is_empty(&self) -> bool {
        self.v2.is_none() && self.v1.is_none()
    }
}
