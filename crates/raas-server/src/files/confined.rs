//! Opens files of a folder, and nothing outside it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};

/// A file in a folder, not opened yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfinedFile {
    /// The folder. It may itself be a link.
    pub(crate) folder: PathBuf,
    /// The path in the folder, with slashes.
    pub(crate) path: String,
    pub(crate) links: Links,
}

/// How symbolic links in the folder are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// A link is an error. raas makes none, and a link that somebody else made could lead anywhere.
    Refused,
    /// Links are followed. Folders that Pulp publishes consist of them.
    Followed,
}

impl ConfinedFile {
    /// Opens the file and returns its length. Anything but a regular file counts as not found.
    pub(crate) fn open(&self) -> io::Result<(File, u64)> {
        if self.path.split('/').any(|part| matches!(part, "" | "." | "..") || part.contains('\0')) {
            return Err(ErrorKind::NotFound.into());
        }
        // Opening a pipe would block.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match self.links {
            Links::Followed => open(self.folder.join(&self.path), flags, Mode::empty())?,
            Links::Refused => {
                let (folders, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
                let mut folder = open(&self.folder, FOLDER, Mode::empty())?;
                for part in folders.split('/').filter(|part| !part.is_empty()) {
                    folder = openat(&folder, part, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
                }
                openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty())?
            }
        };
        let file = File::from(file);
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok((file, metadata.len())) } else { Err(ErrorKind::NotFound.into()) }
    }

    /// The path for the log.
    pub(crate) fn display_name(&self) -> String {
        Path::new(&self.folder).join(&self.path).display().to_string()
    }
}

/// Flags for a folder on the way. Linux needs no permission to list it.
#[cfg(target_os = "linux")]
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn neither_links_nor_paths_lead_out_of_a_folder() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        for folder in ["bucket/app/blobs", "outside/blobs"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("bucket/app/blobs/a"), "inside").unwrap();
        fs::write(at("outside/secret"), "secret").unwrap();
        fs::write(at("outside/blobs/a"), "secret").unwrap();
        fs::hard_link(at("bucket/app/blobs/a"), at("bucket/app/blobs/hard")).unwrap();
        symlink(at("outside/secret"), at("bucket/app/blobs/link")).unwrap();
        symlink("a", at("bucket/app/blobs/near")).unwrap();
        symlink(at("outside"), at("bucket/out")).unwrap();
        symlink(at("bucket"), at("named")).unwrap();
        let read = |folder: &str, path: &str, links| {
            let below = ConfinedFile { folder: at(folder), path: path.into(), links };
            let (mut file, length) = below.open().ok()?;
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text.len() as u64, length);
            Some(text)
        };
        // A path, and its content without links and with links.
        let table = [
            ("app/blobs/a", Some("inside"), Some("inside")),
            ("app/blobs/hard", Some("inside"), Some("inside")),
            ("app/blobs/near", None, Some("inside")),
            ("app/blobs/link", None, Some("secret")),
            ("out/blobs/a", None, Some("secret")),
            ("app/blobs/none", None, None),
            ("app/blobs", None, None),
            ("../outside/secret", None, None),
            ("app/../../outside/secret", None, None),
            ("app/./blobs/a", None, None),
            ("/app/blobs/a", None, None),
            ("app//blobs/a", None, None),
            ("", None, None),
        ];
        for (path, refused, followed) in table {
            assert_eq!(read("bucket", path, Links::Refused).as_deref(), refused, "{path}");
            assert_eq!(read("bucket", path, Links::Followed).as_deref(), followed, "{path}");
        }
        // The operator chooses the folder itself, so it may be a link.
        assert_eq!(read("named", "app/blobs/a", Links::Refused).as_deref(), Some("inside"));
    }
}
