//! Finding documents in a metadata folder.

use std::fs::{self, ReadDir};
use std::io;
use std::path::Path;

use crate::stamp::Stamp;

/// What a metadata folder holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Every document, with its path relative to the root, in no order.
    pub(super) documents: Vec<(String, Stamp)>,
    /// Folders that could not be read, with the reason.
    pub(super) unreadable: Vec<String>,
}

/// Finds every document below `folder`, which is relative to `root`.
///
/// As in Crane, every `.json` file is one. Links are not followed, and folders whose name begins with `_` or `.`
/// are left: they hold manifests, or are a version control system's own. Only `folder` itself must be readable.
pub(super) fn find(root: &Path, folder: &str) -> io::Result<Found> {
    let mut found = Found::default();
    let mut folders = Vec::new();
    look(folder, fs::read_dir(root.join(folder))?, &mut folders, &mut found);
    while let Some(folder) = folders.pop() {
        match fs::read_dir(root.join(&folder)) {
            Ok(entries) => look(&folder, entries, &mut folders, &mut found),
            // Gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => found.unreadable.push(format!("{folder}: {error}")),
        }
    }
    Ok(found)
}

fn look(folder: &str, entries: ReadDir, folders: &mut Vec<String>, found: &mut Found) {
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                found.unreadable.push(format!("{folder}: {error}"));
                return;
            }
        };
        // No repository's files have a name that is not UTF-8.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && !name.starts_with(['_', '.']) {
            folders.push(format!("{folder}/{name}"));
        } else if kind.is_file()
            && name.ends_with(".json")
            && !name.starts_with('.')
            // Gone since it was listed, if this fails.
            && let Ok(metadata) = entry.metadata()
        {
            found.documents.push((format!("{folder}/{name}"), Stamp::from(&metadata)));
        }
    }
}
