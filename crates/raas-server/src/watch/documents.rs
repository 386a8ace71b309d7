//! Finding documents in a metadata folder.

use std::fs::{self, ReadDir};
use std::io;
use std::path::Path;

use crate::files::FileVersion;

/// What a metadata folder holds.
#[derive(Debug, Default)]
pub(super) struct FolderListing {
    /// Every document, with its path relative to the root, in no order.
    pub(super) documents: Vec<(String, FileVersion)>,
    /// Folders that could not be read, with the reason.
    pub(super) unreadable: Vec<String>,
}

/// Which files of a folder are documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// What raas publishes: no links, and no folders whose name begins with `_`, which hold manifests.
    Published,
    /// What a Crane would read: files that are links too, as Pulp makes them, and folders of any name.
    Everything,
}

/// Finds every document below `folder`, which is relative to `root`.
///
/// As in Crane, every `.json` file is one. Links to folders are not followed, and folders whose name begins with `.`
/// are left: they are a version control system's own. Only `folder` itself must be readable.
pub(super) fn find(root: &Path, folder: &str, scope: Scope) -> io::Result<FolderListing> {
    let mut found = FolderListing::default();
    let mut folders = Vec::new();
    look(folder, fs::read_dir(root.join(folder))?, scope, &mut folders, &mut found);
    while let Some(folder) = folders.pop() {
        match fs::read_dir(root.join(&folder)) {
            Ok(entries) => look(&folder, entries, scope, &mut folders, &mut found),
            // Gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => found.unreadable.push(format!("{folder}: {error}")),
        }
    }
    Ok(found)
}

fn look(folder: &str, entries: ReadDir, scope: Scope, folders: &mut Vec<String>, found: &mut FolderListing) {
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
        let is_left = name.starts_with('.') || (scope == Scope::Published && name.starts_with('_'));
        let links = scope == Scope::Everything;
        if kind.is_dir() && !is_left {
            folders.push(format!("{folder}/{name}"));
        } else if (kind.is_file() || (links && kind.is_symlink()))
            && name.ends_with(".json")
            && !name.starts_with('.')
            // Gone since it was listed, or a link to nothing, if this fails.
            && let Ok(metadata) = if links { fs::metadata(entry.path()) } else { entry.metadata() }
            && metadata.is_file()
        {
            found.documents.push((format!("{folder}/{name}"), FileVersion::from(&metadata)));
        }
    }
}
