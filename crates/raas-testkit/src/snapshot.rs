//! Snapshots of metadata in a bucket, whole or with a chosen fault.

use flate2::Compression;
use flate2::write::GzEncoder;
use raas_types::crane::partition;
use raas_types::{Digest, ObjectKey, Part, Pointer};

/// Files of a metadata tree, each with its path.
pub type TreeFiles = Vec<(String, Vec<u8>)>;

/// A pointer, and the archives of its parts.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The pointer.
    pub pointer: Pointer,
    /// The archives, in the order of the parts.
    pub archives: Vec<Vec<u8>>,
}

impl Snapshot {
    /// A snapshot of these files with this number of parts.
    pub fn of(revision: &str, files: &[(String, Vec<u8>)], parts: usize) -> Self {
        let mut each = vec![TreeFiles::new(); parts];
        for file in files {
            each[partition::part_of(&file.0, parts)].push(file.clone());
        }
        Self::with(revision, each.iter().map(|files| archive(files)).collect())
    }

    /// A snapshot of these archives, valid or not.
    pub fn with(revision: &str, archives: Vec<Vec<u8>>) -> Self {
        let part = |bytes: &Vec<u8>| Part { digest: Digest::of(bytes), size: bytes.len() as u64 };
        let pointer = Pointer {
            format: Pointer::FORMAT,
            parts_format: Pointer::PARTS_FORMAT,
            revision: revision.to_owned(),
            sequence: 1,
            published: "2026-01-01T00:00:00Z".to_owned(),
            vendor: None,
            parts: archives.iter().map(part).collect(),
            history: Vec::new(),
            unknown: Default::default(),
        };
        Self { pointer, archives }
    }

    /// All objects with their keys, the pointer last.
    pub fn objects(&self) -> Vec<(String, Vec<u8>)> {
        let parts = self.pointer.parts.iter().map(|part| part.key().to_string());
        let mut objects: Vec<_> = parts.zip(self.archives.iter().cloned()).collect();
        objects.push((ObjectKey::Pointer.to_string(), self.pointer.to_bytes()));
        objects
    }
}

/// An archive of these files, in the order of their paths.
pub fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut files: Vec<_> = files.iter().collect();
    files.sort();
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, bytes.as_slice()).expect("a path that a tar can have");
    }
    tar.into_inner().and_then(GzEncoder::finish).expect("memory takes all")
}
