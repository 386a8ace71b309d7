//! The temporary file for a stream.

use std::fs::File;
use std::io;
use std::path::Path;

/// A file without a name in the folder. The system removes it when raas ends, in whatever way.
pub(crate) fn create(folder: &Path) -> io::Result<File> {
    tempfile::tempfile_in(folder)
}
