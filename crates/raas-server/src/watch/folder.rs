//! Follows a metadata folder.
//!
//! The publisher updates the folder in place while it is read. It writes new manifests, then documents (each by a
//! rename), then the revision, and then removes old manifests. So a document is always complete, but a manifest that it
//! names may be removed before it is read. Such a document is read again at the next poll. Until it loads, its last
//! valid content is served.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use raas_types::crane::{Document, tree};

use super::document_store::{DocumentStore, Missing};
use super::documents::{self, FolderListing, Scope};
use crate::catalog::{Catalog, Fault, Loader, MetadataFiles, OverBudget, load, load_as_crane};
use crate::files::FileVersion;
use crate::site::LoadStats;

/// The layout of a folder, and how changes are detected.
pub(super) enum Layout {
    /// A metadata tree with a `revision` file.
    Raas,
    /// A legacy Crane's: documents anywhere, some of them links, without a revision. It is read every `every`.
    Crane { every: Duration, looked: Option<Instant> },
}

/// A metadata folder, and what was last read of it.
pub(super) struct MetadataFolder {
    root: PathBuf,
    layout: Layout,
    store: DocumentStore<FileVersion>,
    /// What loading has come to.
    stats: Arc<LoadStats>,
    /// The version of the revision file when all documents were last read without an error.
    settled: Option<FileVersion>,
    /// Whether the folder was read at some time.
    is_read: bool,
    /// The version of the revision file when the documents were last read.
    read: Option<FileVersion>,
    /// The last error of the folder itself. The same error is logged once.
    last_error: Option<String>,
    /// The folders below that cannot be read. Each is logged once.
    unreadable: Vec<String>,
    /// Set while documents are not served because they would take too much memory.
    over_memory: Option<OverBudget>,
}

impl MetadataFolder {
    pub(super) fn new(root: PathBuf, layout: Layout, stats: Arc<LoadStats>) -> Self {
        Self {
            store: DocumentStore::new(root.display().to_string(), Arc::clone(&stats)),
            stats,
            root,
            layout,
            settled: None,
            is_read: false,
            read: None,
            last_error: None,
            unreadable: Vec::new(),
            over_memory: None,
        }
    }

    pub(super) fn catalog(&self) -> Arc<Catalog> {
        self.store.catalog()
    }

    /// Whether the folder was read at some time.
    pub(super) fn is_read(&self) -> bool {
        self.is_read
    }

    /// What loading has come to.
    pub(super) fn stats(&self) -> &Arc<LoadStats> {
        &self.stats
    }

    /// Reads what has changed. Returns whether the catalog has changed. A folder that cannot be read changes nothing.
    pub(super) fn poll(&mut self) -> bool {
        if let Layout::Crane { every, looked } = &mut self.layout {
            if looked.is_some_and(|looked| looked.elapsed() < *every) {
                if self.last_error.is_none() {
                    self.stats.is_read_as_often_as_configured();
                }
                return false;
            }
            *looked = Some(Instant::now());
        }
        match self.try_poll() {
            Ok(changed) => {
                if self.last_error.take().is_some() {
                    tracing::info!(folder = %self.root.display(), "the metadata can be read again");
                }
                self.is_read = true;
                match self.over_memory {
                    Some(error) => self.stats.refused(format!("{error}; some documents are not served")),
                    None => self.stats.read(),
                }
                changed
            }
            Err(error) => {
                self.stats.refused("the metadata folder cannot be read; what was last read is served".into());
                let last_error = error.to_string();
                if self.last_error.as_ref() != Some(&last_error) {
                    let folder = self.root.display();
                    tracing::warn!(%folder, %error, "cannot read the metadata; serving what was last read");
                    self.last_error = Some(last_error);
                }
                self.settled = None;
                false
            }
        }
    }

    fn try_poll(&mut self) -> io::Result<bool> {
        // Read before the documents. So the documents are at least as new as the revision.
        let (version, folder, scope) = match self.layout {
            Layout::Raas => (self.revision_version()?, tree::DATA, Scope::Published),
            Layout::Crane { .. } => (None, ".", Scope::Everything),
        };
        if version.is_some() && version == self.settled {
            return Ok(false);
        }
        if version.is_none() && self.read.is_some() {
            // The publisher never removes it. The folder is damaged, or another one is in its place.
            return Err(io::Error::new(ErrorKind::NotFound, format!("{} is gone", tree::REVISION)));
        }
        let revision = if version.is_some() { self.read_revision()? } else { Bytes::new() };
        let found = match documents::find(&self.root, folder, scope) {
            // Nothing is published yet, or everything was removed.
            Err(error) if error.kind() == ErrorKind::NotFound && version.is_some() => {
                FolderListing::default()
            }
            found => found?,
        };
        if found.unreadable != self.unreadable {
            for reason in &found.unreadable {
                tracing::warn!(root = %self.root.display(), reason, "cannot read a metadata folder");
            }
            self.unreadable = found.unreadable;
        }
        let (root, stats, as_crane) = (&self.root, &self.stats, matches!(self.layout, Layout::Crane { .. }));
        let pool = self.store.pool();
        let documents = self.store.load(found.documents, |path, version, before| {
            let bytes = read_document(root, path, version)?;
            if as_crane {
                return load_as_crane(pool, &bytes).map(|(loaded, left_out)| {
                    stats.left_out.fetch_add(left_out.len() as u64, Ordering::Relaxed);
                    log_left_out(root, path, &left_out);
                    loaded
                });
            }
            load(&Loader { files: &Beside(root), pool }, path, &bytes, before)
        });
        if let Some(error) = pool.budget.take_exceeded() {
            self.over_memory = Some(error);
            pool.sweep_now();
            tracing::error!(folder = %root.display(), reason = error.to_string(), "some documents are not served");
        }
        // The publisher removes a document before it writes the next revision. Below the same revision, somebody removes the
        // folder, and documents vanish before the revision does.
        let is_same_revision = version.is_some() && version == self.read;
        // A directory listing may miss a file that is renamed at the same time, so the file is looked up by its name.
        let outcome = self.store.reconcile(documents, |path| match fs::symlink_metadata(root.join(path)) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                if is_same_revision {
                    Missing::Overlooked
                } else {
                    Missing::Deleted
                }
            }
            _ => Missing::Overlooked,
        });
        self.read = version.or(self.read);
        if outcome.faulty == 0 {
            self.over_memory = None;
        }
        let faulty = outcome.faulty > 0 || !self.unreadable.is_empty();
        self.settled = version.filter(|_| !faulty);
        // A new error may come from reading while the publisher writes, and be gone at the next poll. Publishers wait
        // for the revision, so it is held back until then.
        let reported = self.store.catalog().revision.clone();
        let revision = if outcome.newly_faulty { reported.clone() } else { revision };
        if !outcome.changed && revision == reported {
            return Ok(false);
        }
        // The publisher writes the revision file last.
        self.store.assemble(revision, version.map(|version| version.modified()));
        Ok(true)
    }

    fn revision_version(&self) -> io::Result<Option<FileVersion>> {
        match fs::metadata(self.root.join(tree::REVISION)) {
            Ok(metadata) => Ok(Some(FileVersion::from(&metadata))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_revision(&self) -> io::Result<Bytes> {
        /// Far longer than a commit id.
        const LIMIT: u64 = 1024;
        let mut bytes = Vec::new();
        File::open(self.root.join(tree::REVISION))?.take(LIMIT).read_to_end(&mut bytes)?;
        Ok(Bytes::copy_from_slice(bytes.trim_ascii()))
    }
}

/// Reads a document. `version` becomes the version of the file that was read.
fn read_document(root: &Path, path: &str, version: &mut FileVersion) -> Result<Vec<u8>, Fault> {
    let file = File::open(root.join(path))?;
    *version = FileVersion::from(&file.metadata()?);
    if version.length() > Document::MAX_SIZE {
        return Err(Fault::TooLong);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(version.length()).map_err(|_| Fault::TooLong)?);
    file.take(Document::MAX_SIZE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Logs the entries of a document that are not served.
fn log_left_out(root: &Path, path: &str, left_out: &[String]) {
    /// A document may have thousands of entries.
    const LOGGED: usize = 5;
    let folder = root.display();
    for reason in left_out.iter().take(LOGGED) {
        let reason: String = reason.chars().take(400).collect();
        tracing::warn!(%folder, path, reason, "an entry of a document is not served");
    }
    if let Some(further @ 1..) = left_out.len().checked_sub(LOGGED) {
        tracing::warn!(%folder, path, further, "further entries of a document are not served");
    }
}

/// The files of a metadata folder.
struct Beside<'a>(&'a Path);

impl MetadataFiles for Beside<'_> {
    fn read(&self, path: &str, limit: u64) -> io::Result<Cow<'_, [u8]>> {
        let file = File::open(self.0.join(path))?;
        let mut bytes = Vec::new();
        bytes.reserve_exact(usize::try_from(limit.min(file.metadata()?.len() + 1)).unwrap_or(0));
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}
