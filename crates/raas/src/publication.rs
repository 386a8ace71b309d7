//! Changing what a vendor publishes: one commit under the vendor's lock, and what follows from it.
//!
//! The commit is the publication. A run that is killed before it has published nothing; one that is killed after
//! it leaves the objects named by tag and the checkout behind, which any later publication of the image, and any
//! server that starts, brings up to date.

mod documents;
mod message;
mod tag_objects;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use raas_types::crane::{Content, Document, V1Content, V2Extension, tree};
use raas_types::{Digest, ObjectKey, Reference, RepositoryName, Tag};

use crate::backup;
use crate::config::Config;
use crate::failure::{Failure, Kind};
use crate::held::Held;
use crate::home::{Home, Vendor};
use crate::inventory;
use crate::record::{CommitId, Record};
use crate::servers::Note;
use crate::snapshot;
use crate::storage::Storage;
use crate::wait;
pub(crate) use message::{Message, parse_tag_line};

/// Told of each object: its key, its length, and whether it had to be written.
pub(crate) type Tell<'a> = &'a mut dyn FnMut(&ObjectKey, u64, bool);

/// A publication in the making; others wait until it is dropped.
pub(crate) struct Publication<'a> {
    vendor: &'a Vendor,
    storage: &'a dyn Storage,
    /// What the bucket holds of the repository.
    held: Held<'a>,
    /// Whether the metadata goes into the bucket too, for servers elsewhere.
    snapshot: bool,
    pub(crate) record: Record,
    /// The last publication.
    pub(crate) head: Option<CommitId>,
    _lock: File,
}

/// What a repository publishes so far.
#[derive(Debug, Default)]
pub(crate) struct Current {
    pub(crate) v2: Option<V2Extension>,
    pub(crate) v1: Option<V1Content>,
    pub(crate) protected: bool,
}

/// A publication that was made, or was there already.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    /// The commit that holds it.
    pub(crate) commit: CommitId,
    /// Whether it is a new one.
    pub(crate) changed: bool,
}

impl<'a> Publication<'a> {
    /// Waits for the vendor's lock. What is published is of one repository, and of the operator.
    pub(crate) fn begin(
        vendor: &'a Vendor,
        config: &Config,
        storage: &'a dyn Storage,
        name: &'a RepositoryName,
    ) -> Result<Self, Failure> {
        let lock = vendor.lock()?;
        let record = vendor.record();
        let head = record.head()?;
        // Under the lock: what other pushes have stored under tags until now is seen.
        let published = published_keys(&record, head.as_ref(), name)?;
        let held = Held::read(storage, name, false, &published)?;
        let snapshot = config.vendor(vendor.name()).s3_bucket.is_some();
        if snapshot {
            snapshot::refuse_another_record(&record, storage)?;
        }
        Ok(Self { vendor, storage, held, snapshot, record, head, _lock: lock })
    }

    /// What the repository publishes so far.
    pub(crate) fn current(&self) -> Result<Current, Failure> {
        match &self.head {
            Some(head) => Current::read(&self.record, head, self.held.repository()),
            None => Ok(Current::default()),
        }
    }

    /// Stores a manifest under its digest.
    pub(crate) fn put_manifest(
        &self,
        digest: &Digest,
        media_type: &str,
        bytes: &[u8],
        tell: Tell<'_>,
    ) -> Result<(), Failure> {
        let key = ObjectKey::manifest(self.held.repository(), Reference::Digest(*digest), media_type);
        let written = self.held.put(&key, bytes)?;
        tell(&key, bytes.len() as u64, written);
        Ok(())
    }

    /// Publishes these files, each a path with its content or with nothing if it goes, and brings the repository's
    /// objects named by tag and the checkout up to date. Where nothing differs, the last commit is the one.
    pub(crate) fn commit(
        self,
        files: BTreeMap<String, Option<Vec<u8>>>,
        message: &Message,
        tell: Tell<'_>,
    ) -> Result<Done, Failure> {
        let mut changes = Vec::new();
        let reader = self.head.as_ref().map(|head| self.record.reader(head, tree::DATA)).transpose()?;
        for (path, content) in files {
            let old = reader.as_ref().map(|reader| reader.read(&path)).transpose()?.flatten();
            if old != content {
                changes.push((path, content));
            }
        }
        drop(reader);
        documents::check(&changes)?;
        let done = match &self.head {
            Some(head) if changes.is_empty() => Done { commit: head.clone(), changed: false },
            head => {
                let commit = self.record.commit(head.as_ref(), &changes, &message.to_string())?;
                Done { commit, changed: true }
            }
        };
        tag_objects::update(self.storage, &self.held, &self.record, &done.commit, tell)?;
        if self.snapshot {
            snapshot::publish(&self.record, self.storage, self.vendor.folder())?;
        }
        self.vendor.checkout().update(&self.record, &done.commit)?;
        self.record.tidy()?;
        Ok(done)
    }
}

/// The keys of the objects that the repository's publication names.
pub(crate) fn published_keys(
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

/// Brings everything that follows from the last publication up to date: the objects named by tag, the metadata in the
/// bucket, the checkout, whatever has become of them. A run that was killed may have left them behind.
pub(crate) fn complete(vendor: &Vendor, config: &Config, storage: &dyn Storage) -> Result<(), Failure> {
    let _lock = vendor.lock()?;
    let record = vendor.record();
    let Some(head) = record.head()? else { return Ok(()) };
    for name in repositories(&record, &head)? {
        let held = Held::read(storage, &name, false, &published_keys(&record, Some(&head), &name)?)?;
        tag_objects::update(storage, &held, &record, &head, &mut |_, _, _| {})?;
    }
    if config.vendor(vendor.name()).s3_bucket.is_some() {
        snapshot::publish(&record, storage, vendor.folder())?;
    }
    vendor.checkout().repair(&record, &head)
}

/// The vendor's own repositories.
fn repositories(record: &Record, head: &CommitId) -> Result<Vec<RepositoryName>, Failure> {
    let mut documents = record.files(head, tree::DATA)?;
    documents.retain(|file| file.path.ends_with(".json") && !tree::is_operators(&file.path));
    let mut names = Vec::new();
    record.read_each(&documents, |file, bytes| {
        // What does not parse is for `raas status` to tell.
        let name = Document::parse(&bytes).ok().map(|document| document.name);
        names.extend(name.filter(|name| tree::document(name) == file.path));
        Ok(())
    })?;
    Ok(names)
}

impl Current {
    /// What the repository publishes in a commit.
    pub(crate) fn read(record: &Record, commit: &CommitId, name: &RepositoryName) -> Result<Self, Failure> {
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
    pub(crate) fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.v2.iter().flat_map(|v2| v2.tags.keys())
    }

    /// Whether nothing is published.
    pub(crate) fn is_empty(&self) -> bool {
        self.v2.is_none() && self.v1.is_none()
    }
}

/// Waits until a publication is served, and keeps it in the configuration repository too.
pub(crate) struct FollowUp<'a> {
    pub(crate) home: &'a Home,
    pub(crate) config: &'a Config,
    pub(crate) vendor: &'a Vendor,
    pub(crate) name: &'a RepositoryName,
    /// `--nocommit`
    pub(crate) no_backup: bool,
    pub(crate) say: &'a dyn Fn(&str),
}

/// How that went.
pub(crate) struct Followed {
    /// The servers that serve it.
    pub(crate) servers: Vec<Note>,
    /// Whether the configuration repository has it.
    pub(crate) backed_up: bool,
}

impl FollowUp<'_> {
    pub(crate) fn run(&self, commit: &CommitId) -> Result<Followed, Failure> {
        let servers = wait::servers_of(self.home, self.vendor)?;
        let served = wait::until_served(self.home, &servers, self.vendor, commit, self.say);
        // What is published is worth keeping, whether or not the server is well.
        let backed_up =
            !self.no_backup && backup::keep(self.config, self.vendor, commit, self.name, self.say)?;
        served?;
        Ok(Followed { servers, backed_up })
    }
}
