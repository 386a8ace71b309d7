//! The file in which a home notes the keys of its own lease objects, a line each: of this run, and of its killed runs until
//! their leases are reclaimed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use raas_base::failure::{Context as _, Failure};
use raas_base::files;
use raas_types::ObjectKey;

/// The note of a home. The caller holds the vendor's lock.
#[derive(Debug)]
pub(super) struct LeaseNote {
    path: PathBuf,
    keys: Vec<String>,
}

impl LeaseNote {
    /// The note in this file, which need not exist. Without the note of its key, the lease of a killed run ends by its
    /// age.
    pub(super) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let keys = text
            .lines()
            .filter(|line| line.starts_with(ObjectKey::PUBLISH_LEASES))
            .map(str::to_owned)
            .collect();
        Self { path: path.to_owned(), keys }
    }

    /// Whether an object is of this home.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|own| own == key)
    }

    /// Adds an object, before it is stored.
    pub(super) fn add(&mut self, key: &ObjectKey) -> Result<(), Failure> {
        self.keys.push(key.to_string());
        self.write()
    }

    /// Forgets an object that is removed.
    pub(super) fn remove(&mut self, key: &ObjectKey) -> Result<(), Failure> {
        let key = key.to_string();
        self.keys.retain(|own| *own != key);
        self.write()
    }

    /// Forgets all objects except one.
    pub(super) fn keep_only(&mut self, key: &ObjectKey) -> Result<(), Failure> {
        if self.keys.len() > 1 {
            self.keys = vec![key.to_string()];
            self.write()?;
        }
        Ok(())
    }

    fn write(&self) -> Result<(), Failure> {
        let written = if self.keys.is_empty() {
            match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        } else {
            files::replace(&self.path, (self.keys.join("\n") + "\n").as_bytes())
        };
        written.context(|| format!("cannot write {}", self.path.display()))
    }
}
