//! Where a stream is kept while it is read.

use std::fs::File;
use std::io;
use std::path::Path;

/// A file without a name in the folder: it is gone when raas is, however raas ends.
pub(crate) fn create(folder: &Path) -> io::Result<File> {
    tempfile::tempfile_in(folder)
}
