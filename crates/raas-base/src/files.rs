//! Files that are written whole or not at all, and walks over folders.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

/// Renames a finished file, replacing any file of that name, and syncs the folder so that the name is on the disk.
pub fn move_into_place(from: &Path, to: &Path) -> io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let mut tries = 0;
    loop {
        match fs::rename(from, to).and_then(|()| File::open(folder)?.sync_all()) {
            // Another run removes the folder of a key with its last object, perhaps between our steps.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < 10 && from.exists() => {
                tries += 1;
                fs::create_dir_all(folder)?;
            }
            result => return result,
        }
    }
}

/// Writes a file that one process at a time writes. It goes by way of a second file, so that a reader sees the old content or the new content.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let neighbour = path.with_file_name(name);
    let mut file = File::create(&neighbour)?;
    file.write_all(content)?;
    file.sync_data()?;
    move_into_place(&neighbour, path)
}

/// Writes a file that several processes may write at once, all with the same content. A reader sees no part of it.
pub fn write_shared(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Each process has a temporary file of its own. The file is for all who may read the folder.
    let mut file = tempfile::Builder::new()
        .prefix(".new.")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_data()?;
    move_into_place(&file.into_temp_path().keep()?, path)
}

/// Calls `each` for every file below `root/folder`, with its path from the root. A missing folder has no files.
pub fn walk(root: &Path, folder: &str, each: &mut dyn FnMut(&str, &Metadata)) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        // All names that raas writes are UTF-8.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        match entry.metadata() {
            Ok(found) if found.is_dir() => walk(root, &path, each)?,
            Ok(found) => each(&path, &found),
            // The file was removed during the walk.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The time of the last change of a file.
pub fn modified(found: &Metadata) -> SystemTime {
    // All systems that raas runs on know this time.
    found.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_file_can_be_written_by_many_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/format");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..50).for_each(|_| write_shared(&path, b"1\n").unwrap()));
            }
        });
        assert_eq!(fs::read(&path).unwrap(), b"1\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o444, 0o444);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
    }
}
