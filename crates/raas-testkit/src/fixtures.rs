//! The files under `fixtures/`, which real programs wrote.

use std::path::{Path, PathBuf};

/// A fixture's path.
pub fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
    assert!(path.exists(), "there is no fixture {}", path.display());
    path
}

/// A Pulp 2 export: six layers of a vendor on one base layer.
pub fn pulp2() -> PathBuf {
    path("bigdata-app.tar")
}

/// A docker save archive of one image.
pub fn docker_save() -> PathBuf {
    path("docker-save.tar")
}

/// The folder of an OCI layout with an index of two platforms.
pub fn oci_multi() -> PathBuf {
    path("oci-multi")
}

/// A whole Pulp 3 export of the newer generation.
pub fn pulp3_new() -> PathBuf {
    ending("pulp3/new-full", ".tar")
}

/// A whole Pulp 3 export of the older generation, gzipped.
pub fn pulp3_old() -> PathBuf {
    ending("pulp3/old-full", ".tar.gz")
}

/// The folder of a Pulp 3 export in chunks.
pub fn pulp3_chunked() -> PathBuf {
    path("pulp3/new-chunked")
}

/// The first file of that export.
pub fn pulp3_first_chunk() -> PathBuf {
    ending("pulp3/new-chunked", ".tar.0000")
}

/// The table of contents in a folder of a Pulp 3 export.
pub fn toc(folder: &Path) -> PathBuf {
    only(folder, "-toc.json")
}

fn ending(folder: &str, end: &str) -> PathBuf {
    only(&path(folder), end)
}

fn only(folder: &Path, end: &str) -> PathBuf {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut paths = entries.map(|entry| entry.expect("it can be listed").path());
    paths.find(|path| path.to_string_lossy().ends_with(end)).expect("the folder has such a file")
}
