//! Finds the documents in a metadata folder.

use std::fs::{self, ReadDir};
use std::io;
use std::path::Path;

use raas_types::crane::tree;

use crate::files::FileVersion;

/// The content of a metadata folder.
#[derive(Debug, Default)]
pub(super) struct FolderListing {
    /// Every document, with its path relative to the root, in no order.
    pub(super) documents: Vec<(String, FileVersion)>,
    /// The folders that cannot be read, with the reason.
    pub(super) unreadable: Vec<String>,
}

/// Which files are documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// As raas publishes: no links, and nothing below folders whose name begins with `_`, which hold manifests.
    Published,
    /// As Crane reads: also links to files, as Pulp makes them, and all folders.
    Everything,
}

/// Finds every document below `folder`, which is relative to `root`.
///
/// As in Crane, every `.json` file is a document. Links to folders are not followed. Folders whose name begins with `.`
/// are skipped, because they belong to version control systems.
///
/// # Errors
/// `folder` itself cannot be read. Unreadable folders below it are returned.
pub(super) fn find(root: &Path, folder: &str, scope: Scope) -> io::Result<FolderListing> {
    let mut found = FolderListing::default();
    let mut folders = Vec::new();
    if scope == Scope::Published {
        find_customers(root, &mut found);
    }
    look(folder, fs::read_dir(root.join(folder))?, scope, &mut folders, &mut found);
    while let Some(folder) = folders.pop() {
        match fs::read_dir(root.join(&folder)) {
            Ok(entries) => look(&folder, entries, scope, &mut folders, &mut found),
            // Removed since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => found.unreadable.push(format!("{folder}: {error}")),
        }
    }
    Ok(found)
}

/// Finds the files of customers. There need not be any.
fn find_customers(root: &Path, found: &mut FolderListing) {
    let folder = tree::CUSTOMERS.trim_end_matches('/');
    let entries = match fs::read_dir(root.join(folder)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return found.unreadable.push(format!("{folder}: {error}")),
        Ok(entries) => entries,
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{folder}/{name}");
        // Fails for a file that was removed since it was listed.
        if tree::customer_of(&path).is_some()
            && let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            found.documents.push((path, FileVersion::from(&metadata)));
        }
    }
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
        // No file of a repository has a name that is not UTF-8.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        let is_skipped = name.starts_with('.') || (scope == Scope::Published && name.starts_with('_'));
        let links = scope == Scope::Everything;
        if kind.is_dir() && !is_skipped {
            folders.push(format!("{folder}/{name}"));
        } else if (kind.is_file() || (links && kind.is_symlink()))
            && name.ends_with(".json")
            && !name.starts_with('.')
            // Fails for a file that was removed since it was listed, and for a dangling link.
            && let Ok(metadata) = if links { fs::metadata(entry.path()) } else { entry.metadata() }
            && metadata.is_file()
        {
            found.documents.push((format!("{folder}/{name}"), FileVersion::from(&metadata)));
        }
    }
}
