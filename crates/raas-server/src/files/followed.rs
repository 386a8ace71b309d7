//! A file that is read again when it changes. An invalid file changes nothing: the last valid content stays.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use crate::files::FileVersion;

/// The longest file, in bytes.
const MAX_SIZE: u64 = 4 * 1024 * 1024;

/// A file and its last valid content.
#[derive(Debug)]
pub(crate) struct FollowedFile<T> {
    file: PathBuf,
    /// The name for the log.
    what: &'static str,
    parse: fn(&[u8]) -> Result<T, String>,
    current: ArcSwapOption<T>,
    state: Mutex<FollowState>,
}

#[derive(Debug, Default)]
struct FollowState {
    version: Option<FileVersion>,
    /// The last error. The same error is logged once.
    last_error: Option<String>,
}

impl<T> FollowedFile<T> {
    /// Reads the file for the first time.
    pub(crate) fn new(file: &Path, what: &'static str, parse: fn(&[u8]) -> Result<T, String>) -> Self {
        let new = Self {
            file: file.to_owned(),
            what,
            parse,
            current: ArcSwapOption::empty(),
            state: Mutex::default(),
        };
        new.poll();
        new
    }

    /// The last valid content. None if the file never was valid.
    pub(crate) fn current(&self) -> Option<Arc<T>> {
        self.current.load_full()
    }

    /// Whether the file could not be read at the last poll, or was not valid.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).last_error.is_some()
    }

    /// Reads the file if it has changed.
    pub(crate) fn poll(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, what) = (self.file.display(), self.what);
        match self.read(state.version) {
            // The version is that of valid content.
            Ok(None) => state.last_error = None,
            Ok(Some((version, value))) => {
                tracing::info!(%file, "{what} loaded");
                self.current.store(Some(Arc::new(value)));
                *state = FollowState { version: Some(version), last_error: None };
            }
            Err(error) => {
                if state.last_error.as_ref() != Some(&error) {
                    tracing::error!(%file, error, "cannot read {what}");
                    state.last_error = Some(error);
                }
            }
        }
    }

    fn read(&self, seen: Option<FileVersion>) -> Result<Option<(FileVersion, T)>, String> {
        let read = || -> io::Result<_> {
            let file = File::open(&self.file)?;
            let version = FileVersion::from(&file.metadata()?);
            if seen == Some(version) {
                return Ok(None);
            }
            let mut text = Vec::new();
            file.take(MAX_SIZE).read_to_end(&mut text)?;
            Ok(Some((version, text)))
        };
        match read().map_err(|error| error.to_string())? {
            None => Ok(None),
            Some((version, text)) => Ok(Some((version, (self.parse)(&text)?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_valid_content_stays() {
        let parse = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::len).map_err(|e| e.to_string());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let followed = FollowedFile::new(&path, "a file", parse);
        assert_eq!(followed.current(), None);
        for (bytes, expected) in [(b"abc".as_slice(), 3), (b"\xff\xff\xff\xff", 3), (b"a", 1)] {
            fs::write(&path, bytes).unwrap();
            followed.poll();
            assert_eq!(followed.current().as_deref(), Some(&expected));
        }
        assert!(!followed.is_unreadable());
        let aside = folder.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        followed.poll();
        assert_eq!(followed.current().as_deref(), Some(&1));
        assert!(followed.is_unreadable());
        // The same file again has nothing new to read.
        fs::rename(&aside, &path).unwrap();
        followed.poll();
        assert!(!followed.is_unreadable());
    }
}
