//! Files of the repository that are made from the code: the tests compare them, or write them if `UPDATE` is set.

use std::fs;
use std::path::{Path, PathBuf};

/// Compares a file of the repository, by its path from the root, with what the code makes. `make` gets the file's text.
/// `tests` are the arguments for `cargo test` that select the calling test.
///
/// # Panics
/// The file differs, and `UPDATE` is not set. The message has the command that writes the file.
pub fn check(path: &str, tests: &str, make: impl FnOnce(&str) -> String) {
    let file = root().join(path);
    let old = fs::read_to_string(&file).unwrap_or_default();
    let new = make(&old);
    if old == new {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, new).unwrap();
        return;
    }
    let line = 1 + old.lines().zip(new.lines()).take_while(|(old, new)| old == new).count();
    panic!(
        "{path} is not what the code says, from line {line} on; run: UPDATE=1 cargo test --workspace {tests}"
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
