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
        match steps::rename(from, to).and_then(|()| steps::sync_folder(folder)) {
            // Another run removes the folder of a key with its last object, perhaps between our steps.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < 10 && from.exists() => {
                tries += 1;
                make_folders(folder)?;
            }
            result => return result,
        }
    }
}

/// Makes a folder and the missing folders above it. Each new name is on the disk when this returns: a file in a folder
/// whose own name was not synced is lost with the power.
pub fn make_folders(folder: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut above = Some(folder);
    while let Some(folder) = above.filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        missing.push(folder);
        above = folder.parent();
    }
    for folder in missing.into_iter().rev() {
        match steps::create_folder(folder) {
            // Another process has made it, and may not have synced it yet.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            made => made?,
        }
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        steps::sync_folder(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// Writes a file that one process at a time writes. The content goes to a second file, which then takes the name, so a
/// reader sees either the old or the new content.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        make_folders(folder)?;
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
    make_folders(folder)?;
    // Each process has a temporary file of its own. The file is for all who may read the folder.
    let mut file = tempfile::Builder::new()
        .prefix(".new.")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_data()?;
    move_into_place(&file.into_temp_path().keep()?, path)
}

/// Syncs everything below a folder that another program has made, and the folder's own name.
pub fn sync_below(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_below(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    steps::sync_folder(folder)?;
    folder.parent().map_or(Ok(()), steps::sync_folder)
}

/// Calls `each` for every file below `root/folder`, with its path from the root. A missing folder has no files.
///
/// The entries of each folder come in the order of their names. A file system lists them in an order of its own, which
/// changes when a file is written anew.
pub fn walk(root: &Path, folder: &str, each: &mut dyn FnMut(&str, &Metadata)) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    // All names that raas writes are UTF-8.
    let named = entries.filter_map(|entry| {
        let named = entry.map(|entry| (entry.file_name().into_string(), entry));
        named.map(|(name, entry)| name.ok().map(|name| (name, entry))).transpose()
    });
    let mut named = named.collect::<io::Result<Vec<_>>>()?;
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, entry) in named {
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

/// The steps whose order decides what a loss of power leaves. A test records them.
mod steps {
    use super::{File, Path, fs, io};

    pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        #[cfg(test)]
        record::add(record::Step::Named(to.to_owned()));
        Ok(())
    }

    pub(super) fn create_folder(folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)?;
        #[cfg(test)]
        record::add(record::Step::Named(folder.to_owned()));
        Ok(())
    }

    pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()?;
        #[cfg(test)]
        record::add(record::Step::Synced(folder.to_owned()));
        Ok(())
    }

    #[cfg(test)]
    pub(super) mod record {
        use std::cell::RefCell;
        use std::path::PathBuf;

        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(in crate::files) enum Step {
            /// A file or a folder got this name.
            Named(PathBuf),
            /// The names in this folder are on the disk.
            Synced(PathBuf),
        }

        thread_local! {
            static STEPS: RefCell<Vec<Step>> = const { RefCell::new(Vec::new()) };
        }

        pub(super) fn add(step: Step) {
            STEPS.with_borrow_mut(|steps| steps.push(step));
        }

        /// The steps of this thread since the last call.
        pub(in crate::files) fn take() -> Vec<Step> {
            STEPS.take()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::steps::record::{self, Step};
    use super::*;

    /// The names that a loss of power after these steps leaves.
    fn on_disk(steps: &[Step]) -> BTreeSet<PathBuf> {
        let (mut names, mut kept) = (BTreeSet::new(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Named(path) => drop(names.insert(path.clone())),
                Step::Synced(folder) => {
                    kept.extend(names.iter().filter(|path| path.parent() == Some(folder)).cloned());
                }
            }
        }
        // A name in a folder that is lost is lost too.
        let is_whole =
            |path: &PathBuf| path.ancestors().all(|above| !names.contains(above) || kept.contains(above));
        kept.iter().filter(|path| is_whole(path)).cloned().collect()
    }

    #[test]
    fn what_is_written_survives_a_loss_of_power_with_all_folders_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        type Write = fn(&Path) -> io::Result<()>;
        let writes: [(&str, Write); 3] = [
            ("replaced/a/b/c", |path| replace(path, b"x")),
            ("shared/a/b/c", |path| write_shared(path, b"x")),
            ("moved/a/b/c", |path| {
                let from = path.ancestors().nth(4).unwrap().join("from");
                fs::write(&from, b"x")?;
                move_into_place(&from, path)
            }),
        ];
        for (name, write) in writes {
            record::take();
            write(&path(name)).unwrap();
            let steps = record::take();
            let mut above = path(name);
            while above != folder.path() {
                assert!(on_disk(&steps).contains(&above), "{name}: {above:?} is lost: {steps:?}");
                above.pop();
            }
            // At no moment is a name on the disk without the folders above it.
            for end in 0..steps.len() {
                let names = on_disk(&steps[..end]);
                assert!(!names.contains(&path(name)), "{name}: it is whole only at the end");
            }
        }
    }

    #[test]
    fn a_walk_goes_in_the_order_of_names() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a", "b/1", "b/2", "b/3/x", "b/4", "c", "d", "e/1", "f"];
        // Neither the order of making the files nor its reverse: file systems list in both.
        for name in [3, 8, 1, 6, 0, 5, 7, 2, 4].map(|at: usize| names[at]) {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let mut found = Vec::new();
        walk(folder.path(), "", &mut |path, _| found.push(path.to_owned())).unwrap();
        assert_eq!(found, names);
    }

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
