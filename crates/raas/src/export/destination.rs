//! Where a bundle goes: a file that appears whole, or standard output.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::files;
use raas_base::interrupt::CleanUp;
use tempfile::NamedTempFile;

/// Where a bundle goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    File(PathBuf),
    Stdout,
}

impl From<&Path> for Destination {
    fn from(path: &Path) -> Self {
        if path == Path::new("-") { Self::Stdout } else { Self::File(path.to_owned()) }
    }
}

impl Destination {
    /// Checks what can be checked before the work.
    ///
    /// # Errors
    /// The bundle cannot go there.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self {
            Self::Stdout if io::stdout().is_terminal() => {
                Err(Failure::new(Kind::Usage, "standard output is a terminal, and a bundle is no text")
                    .hint("name a file with -o FILE, or redirect the output"))
            }
            Self::Stdout => Ok(()),
            Self::File(path) if path.is_dir() => Err(Failure::new(
                Kind::Usage,
                format!("{} is a folder, and a bundle is a file", path.display()),
            )
            .hint("name a file, such as -o bundle.tar")),
            Self::File(path) if !folder_of(path).is_dir() => {
                Err(Failure::new(Kind::Usage, format!("there is no folder {}", folder_of(path).display()))
                    .hint("make the folder, or name another file"))
            }
            Self::File(_) => Ok(()),
        }
    }

    /// Begins to write.
    ///
    /// # Errors
    /// The folder does not take a file.
    pub(crate) fn open(&self) -> Result<Output, Failure> {
        /// How much is written at once, in bytes.
        const CHUNK: usize = 256 * 1024;
        match self {
            Self::Stdout => Ok(Output::Stdout(BufWriter::with_capacity(CHUNK, io::stdout()))),
            Self::File(path) => {
                let folder = folder_of(path);
                let file = tempfile::Builder::new()
                    .prefix(".raas-bundle.")
                    .permissions(Permissions::from_mode(0o644))
                    .tempfile_in(folder)
                    .context(|| format!("cannot write in {}", folder.display()))?;
                let (unfinished, shown) = (file.path().to_owned(), path.display().to_string());
                let clean_up = CleanUp::new(move || {
                    fs::remove_file(&unfinished).ok()?;
                    Some(format!("{shown} is not written"))
                });
                let file = BufWriter::with_capacity(CHUNK, file);
                // A name alone has no folder above it that could be synced.
                let path = folder.join(path.file_name().unwrap_or_default());
                Ok(Output::File { file, path, _clean_up: clean_up })
            }
        }
    }

    /// What messages call it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdout => "standard output".to_owned(),
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A bundle that is being written. A file that is dropped before its end leaves nothing behind.
pub(crate) enum Output {
    Stdout(BufWriter<Stdout>),
    File {
        file: BufWriter<NamedTempFile>,
        path: PathBuf,
        /// Removes the unfinished file at an interrupt.
        _clean_up: CleanUp,
    },
}

impl Output {
    /// Gives a file its name, with everything on the disk.
    ///
    /// # Errors
    /// The disk is full, or the name cannot be given.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::Stdout(mut stdout) => stdout.flush(),
            Self::File { file, path, _clean_up } => {
                let file: NamedTempFile = file.into_inner()?;
                let synced: &File = file.as_file();
                synced.sync_all()?;
                files::move_into_place(&file.into_temp_path().keep()?, &path)
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File { file, .. } => file.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.tar");
        let destination = Destination::from(path.as_path());
        destination.check().unwrap();
        let mut output = destination.open().unwrap();
        output.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(output);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut output = destination.open().unwrap();
        output.write_all(b"whole").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_bundle_does_not_go_to_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let error = |path: &Path| Destination::from(path).check().unwrap_err().to_string();
        assert!(error(folder.path()).contains("is a folder"));
        assert!(error(&folder.path().join("no/bundle.tar")).contains("there is no folder"));
        assert_eq!(Destination::from(Path::new("-")), Destination::Stdout);
    }
}
