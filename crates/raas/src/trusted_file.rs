//! Reads the files of what a vendor trusts.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use raas_base::failure::{Failure, Kind};

/// How many bytes of a file raas reads. A key of OpenPGP may have many signatures of other people.
const MAX_FILE: u64 = 1024 * 1024;

/// Reads a file. `what` says what it is.
///
/// # Errors
/// The file cannot be read, or is too long.
pub(crate) fn read(file: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    let shown = file.display();
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|open| open.take(MAX_FILE + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        Failure::new(Kind::of_named_file(&error), format!("cannot read {shown}, {what}"))
            .caused_by(error)
            .hint("correct the path, or make the file readable")
    })?;
    if bytes.len() as u64 > MAX_FILE {
        let message = format!("{shown}, {what}, is longer than {MAX_FILE} bytes");
        return Err(
            Failure::new(Kind::Usage, message).hint("give a file as the documentation of the key says")
        );
    }
    Ok(bytes)
}
