//! Files that appear whole or not at all.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

/// Moves a finished file to its place, replacing what is there, and sees to it that the name reaches the disk too.
pub fn publish(from: &Path, to: &Path) -> io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let mut tries = 0;
    loop {
        match fs::rename(from, to).and_then(|()| File::open(folder)?.sync_all()) {
            // The folders of a key are made when the first object comes, and go with the last one: perhaps just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < 10 && from.exists() => {
                tries += 1;
                fs::create_dir_all(folder)?;
            }
            result => return result,
        }
    }
}

/// Writes a file through a neighbour, so that a reader sees the old content or the new.
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
    publish(&neighbour, path)
}

/// Names each file below `root/folder` by its path from the root, with what is known of it; nothing if there is no such
/// folder.
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
        // What raas writes has names in UTF-8; what does not is none of its files.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        match entry.metadata() {
            Ok(found) if found.is_dir() => walk(root, &path, each)?,
            Ok(found) => each(&path, &found),
            // It went away while the listing went on.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// When a file was written.
pub fn modified(found: &Metadata) -> SystemTime {
    // Every system that raas is built for has the time.
    found.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}
