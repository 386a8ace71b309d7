//! The objects of a bucket that a repair has read as damaged, noted in the home.
//!
//! A bad answer does not prove that the stored bytes are bad, so a repair removes nothing from a bucket. A push takes a
//! noted object for missing, and stores it anew from its source. That harms nothing if the object was good.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::home::Vendor;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::files;

/// The keys of damaged objects, each with the time when the damaged object was stored, in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DamagedObjects {
    stored: BTreeMap<String, u64>,
}

impl DamagedObjects {
    /// Reads the note of a vendor.
    ///
    /// # Errors
    /// The note cannot be read.
    pub fn load(vendor: &Vendor) -> Result<Self, Failure> {
        let path = path(vendor);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            bytes => bytes.context(|| format!("cannot read {}", path.display()))?,
        };
        let stored = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(Kind::Environment, format!("{} is no note of raas", path.display()))
                .caused_by(error)
                .hint(format!(
                    "run `raas setup {} --repair`, which reads all objects and writes it anew",
                    vendor.name()
                ))
        })?;
        Ok(Self { stored })
    }

    /// Writes the note of a vendor. Without damaged objects there is no note.
    pub(crate) fn save(&self, vendor: &Vendor) -> Result<(), Failure> {
        let path = path(vendor);
        let cannot = || format!("cannot write {}", path.display());
        if self.stored.is_empty() {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context(cannot),
                _ => Ok(()),
            };
        }
        let text = serde_json::to_vec_pretty(&self.stored).expect("a note has text keys only");
        files::replace(&path, &text).context(cannot)
    }

    /// Adds an object that was stored at this time.
    pub(crate) fn add(&mut self, key: String, stored: SystemTime) {
        self.stored.insert(key, seconds(stored));
    }

    /// Whether the object under this key is the damaged one. An object that was stored later is another.
    pub(crate) fn has(&self, key: &str, stored: SystemTime) -> bool {
        // The times of a listing may be more exact than those of a single answer.
        self.stored.get(key).is_some_and(|damaged| seconds(stored) <= *damaged)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn path(vendor: &Vendor) -> PathBuf {
    vendor.folder().join("damaged-objects.json")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::home::Home;

    #[test]
    fn a_note_holds_until_the_object_is_stored_anew() {
        let folder = tempfile::tempdir().unwrap();
        let vendor = Home::new(Some(folder.path().to_owned())).unwrap().vendor(&"acme".parse().unwrap());
        vendor.create(&raas_base::Say::nothing()).unwrap();
        let stored = UNIX_EPOCH + Duration::from_millis(5_000);
        let mut noted = DamagedObjects::default();
        noted.add("app/x".to_owned(), stored);
        noted.save(&vendor).unwrap();
        let read = DamagedObjects::load(&vendor).unwrap();
        assert_eq!(read, noted);
        assert!(read.has("app/x", stored + Duration::from_millis(300)));
        assert!(!read.has("app/x", stored + Duration::from_secs(2)) && !read.has("app/y", stored));
        fs::write(path(&vendor), "{").unwrap();
        assert!(DamagedObjects::load(&vendor).unwrap_err().to_string().contains("--repair"));
        DamagedObjects::default().save(&vendor).unwrap();
        assert_eq!(DamagedObjects::load(&vendor).unwrap(), DamagedObjects::default());
    }
}
