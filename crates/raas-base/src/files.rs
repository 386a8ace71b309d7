//! Files that are written whole or not at all, and walks over folders.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
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

/// Writes a file by way of a second file, so that a reader sees the old content or the new content.
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
