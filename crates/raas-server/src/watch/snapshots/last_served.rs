//! The number of the last publication that a server has followed, kept across restarts.
//!
//! A server that has just started serves nothing, so it cannot tell an old pointer from the current one. With a folder for
//! its state it can. The file is a hint: a server that cannot read or write it serves all the same, and says so.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use raas_types::VendorName;
use serde::{Deserialize, Serialize};

/// The folder of these files in the folder for the server's state. No vendor's name begins with `_`.
const FOLDER: &str = "_followed";

/// The format of the files.
const FORMAT: u32 = 1;

/// The longest file that is read, in bytes. An address is shorter.
const MAX: u64 = 16 * 1024;

/// What a file says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    format: u32,
    /// The address of the metadata. The number says nothing about another place.
    place: String,
    sequence: u64,
}

/// The file of a vendor.
#[derive(Debug, Clone)]
pub(super) struct LastServed {
    path: PathBuf,
    place: String,
}

impl LastServed {
    /// The file of a vendor whose metadata is at this place.
    pub(super) fn new(state: &Path, vendor: &VendorName, place: &str) -> Self {
        Self { path: state.join(FOLDER).join(format!("{vendor}.json")), place: place.to_owned() }
    }

    /// The number of the last publication from this place. A file that cannot be used is logged, and counts as none.
    pub(super) fn read(&self) -> Option<u64> {
        let content = self.content();
        if let Err(reason) = &content {
            tracing::warn!(
                file = %self.path.display(),
                reason,
                "cannot tell which publication was served last; following what the bucket has"
            );
        }
        content.ok().flatten().filter(|content| content.place == self.place).map(|content| content.sequence)
    }

    /// Notes the number of the publication that is served. Another server with the same folder may have noted a later
    /// one, which stays, unless `lower` is set.
    pub(super) fn write(&self, sequence: u64, lower: bool) -> io::Result<()> {
        // A damaged file was logged at the start, and is replaced.
        let noted = self.content().ok().flatten().filter(|content| content.place == self.place);
        if noted.is_some_and(|noted| noted.sequence == sequence || (noted.sequence > sequence && !lower)) {
            return Ok(());
        }
        let content = Content { format: FORMAT, place: self.place.clone(), sequence };
        let bytes = serde_json::to_vec(&content).map_err(io::Error::other)?;
        let folder = self.path.parent().expect("the file is in a folder");
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // A crash leaves the old file or the new one.
        let new = self.path.with_extension(format!("{}.new", std::process::id()));
        let written = (|| {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            File::open(folder)?.sync_all()
        })();
        if written.is_err() {
            // Only an unfinished file is left, if anything.
            let _ = fs::remove_file(&new);
        }
        written
    }

    /// The file's path, for the log.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn content(&self) -> Result<Option<Content>, String> {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(MAX).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
            Ok(_) => {}
        }
        let content: Content = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        match content.format {
            FORMAT => Ok(Some(content)),
            other => Err(format!("the file has the format {other}, and this raas reads {FORMAT}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_kept_for_each_vendor_and_place_and_only_rises() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let of = |vendor: &str, place: &str| LastServed::new(&state, &vendor.parse().unwrap(), place);
        let (acme, other) = (of("acme", "https://a/x"), of("other", "https://a/y"));
        assert_eq!(acme.read(), None);
        acme.write(5, false).unwrap();
        other.write(2, false).unwrap();
        assert_eq!((acme.read(), other.read()), (Some(5), Some(2)));
        acme.write(4, false).unwrap();
        assert_eq!(acme.read(), Some(5), "another server has served a later publication");
        acme.write(4, true).unwrap();
        assert_eq!(acme.read(), Some(4), "the operator has allowed it");
        // The vendor's metadata is at another place now.
        let moved = of("acme", "https://b/x");
        assert_eq!(moved.read(), None);
        moved.write(1, false).unwrap();
        assert_eq!((moved.read(), acme.read()), (Some(1), None));
        let left: Vec<_> =
            fs::read_dir(state.join(FOLDER)).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "nothing else is left: {left:?}");
    }

    #[test]
    fn a_file_that_cannot_be_used_counts_as_none_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = LastServed::new(folder.path(), &"acme".parse().unwrap(), "https://a");
        file.write(3, false).unwrap();
        let newer = r#"{"format":2,"place":"https://a","sequence":7}"#;
        for damaged in ["", "{", "{\"format\":1}", newer] {
            fs::write(file.path(), damaged).unwrap();
            assert_eq!(file.read(), None, "{damaged}");
            assert!(file.content().is_err(), "{damaged}");
            file.write(3, false).unwrap();
            assert_eq!(file.read(), Some(3), "{damaged}");
        }
        let nowhere =
            LastServed::new(&folder.path().join("_followed/acme.json"), &"acme".parse().unwrap(), "");
        assert!(nowhere.write(1, false).is_err(), "the folder is a file");
    }
}
