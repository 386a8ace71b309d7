//! Format numbers of the home and of the record, each in a file of its own.
//!
//! Older versions wrote no numbers. A home or a record without a number is read as it always was, and gets its number from
//! the next command that writes. Each of these commands checks the numbers first.

use std::fs;
use std::io;
use std::path::PathBuf;

use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::files;

/// The newest format of a home that this raas knows, and the format that it writes.
pub const HOME_FORMAT: u32 = 1;

/// The newest format of a record that this raas knows, and the format that it writes.
pub const RECORD_FORMAT: u32 = 1;

/// A file with a format number.
pub(crate) struct FormatFile {
    /// What has the format, for people.
    pub(crate) of: String,
    /// The file's path.
    pub(crate) path: PathBuf,
    /// The newest format that this raas knows.
    pub(crate) known: u32,
}

impl FormatFile {
    /// Refuses a format that is newer than this raas knows.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.read().map(drop)
    }

    /// Writes the number if there is none.
    pub(crate) fn ensure(&self) -> Result<(), Failure> {
        if self.read()?.is_some() {
            return Ok(());
        }
        // Runs of several vendors write the home's number without a common lock.
        files::write_shared(&self.path, format!("{}\n", self.known).as_bytes())
            .context(|| format!("cannot write {}", self.path.display()))
    }

    /// What is wrong with the file, if it is damaged. The number of a newer raas is not damage.
    pub(crate) fn damage(&self) -> Option<String> {
        let Self { path, .. } = self;
        match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(format!("{}: {error}", path.display())),
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let number = text.strip_suffix('\n').and_then(|number| number.parse::<u32>().ok());
                let sound = number.is_some_and(|number| number > 0 && format!("{number}\n") == text);
                (!sound).then(|| format!("{}: damaged", path.display()))
            }
        }
    }

    /// Writes the number again if the file is damaged. Returns whether it was.
    pub(crate) fn mend(&self) -> Result<bool, Failure> {
        if self.damage().is_none() {
            return Ok(false);
        }
        let Self { path, .. } = self;
        fs::remove_file(path).context(|| format!("cannot remove {}", path.display()))?;
        self.ensure().map(|()| true)
    }

    /// The number; `None` if an older version wrote none.
    fn read(&self) -> Result<Option<u32>, Failure> {
        let text = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| {
                Failure::new(Kind::Environment, format!("cannot read {}", self.path.display()))
                    .caused_by(error)
                    .hint("check whose folder it is: the user who runs raas must be able to read it")
                    .hint("check the disk if the permissions are right")
            })?,
        };
        let text = String::from_utf8_lossy(&text);
        let Self { of, path, known } = self;
        match text.trim().parse::<u32>() {
            Ok(found) if found <= *known => Ok(Some(found)),
            Ok(found) => {
                let message = format!("{of} has format {found}; this raas knows formats up to {known}");
                Err(Failure::new(Kind::Environment, message)
                    .hint("upgrade this raas; nothing was written")
                    .hint(format!(
                        "check the disk if no newer raas was ever used here, since it has changed the number; then write `{known}` \
                         into {}",
                        path.display()
                    )))
            }
            Err(error) => {
                Err(Failure::new(Kind::Environment, format!("{} has no format number", path.display()))
                    .caused_by(error)
                    .hint(format!("run `raas setup ISV --repair`, or write `{known}` into it")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_number_is_mended_and_a_newer_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = FormatFile { of: "the home".into(), path: folder.path().join("f"), known: 1 };
        assert!(file.damage().is_none() && !file.mend().unwrap());
        for damaged in [&b""[..], b"0\n", b"1", b"x\n", b"1\n\n", b"-1\n", b"\xb1\n"] {
            fs::write(&file.path, damaged).unwrap();
            assert!(file.damage().is_some() && file.mend().unwrap(), "{damaged:?}");
            assert_eq!(fs::read(&file.path).unwrap(), b"1\n");
        }
        fs::write(&file.path, "2\n").unwrap();
        assert!(!file.mend().unwrap());
        let refused = file.check().unwrap_err().to_string();
        assert!(refused.contains("has format 2") && refused.contains("write `1` into "), "{refused}");
    }
}
