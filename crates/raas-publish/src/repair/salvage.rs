//! Collects every good object of a record in a repository of its own.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use flate2::read::ZlibDecoder;
use raas_types::crane::tree;
use raas_types::{Digest, ObjectKey, Reference};
use sha1::{Digest as _, Sha1};
use tempfile::TempDir;

use crate::record::Record;
use crate::registry::Registry;
use crate::snapshot;
use crate::storage::{Storage, StorageError};
use raas_base::failure::{Context as _, Failure};
use raas_base::files;
use raas_git::CommitId;

/// The longest object that is salvaged, in bytes. Documents and manifests are far shorter.
const MAX_OBJECT: u64 = 1 << 30;

/// The objects that could be salvaged.
pub(super) struct Salvage {
    /// The folder with the repository of the objects.
    folder: TempDir,
    record: Record,
}

impl Salvage {
    /// Collects the objects of a record from every place that may have them.
    pub(super) fn collect(registry: &Registry<'_>, damaged: &Record) -> Result<Self, Failure> {
        let cannot = || format!("cannot salvage objects in {}", registry.vendor.folder().display());
        // Beside the record, so that a pack can be moved into it.
        let folder = tempfile::Builder::new()
            .prefix("repair-")
            .tempdir_in(registry.vendor.folder())
            .context(cannot)?;
        let record = Record::new(folder.path().join("r.git"));
        record.create()?;
        let salvage = Self { folder, record };
        let mut folders = vec![damaged.git().folder().join("objects")];
        // An earlier repair may have been killed after it had moved objects there.
        for entry in fs::read_dir(registry.vendor.folder()).context(cannot)? {
            let path = entry.context(cannot)?.path();
            let is_aside =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("damaged-"));
            folders.extend(is_aside.then_some(path));
        }
        for objects in folders {
            salvage.take_loose(&objects).context(cannot)?;
            salvage.take_packs(&objects.join("pack")).context(cannot)?;
        }
        salvage.take_checkout(&registry.vendor.checkout().folder().join(tree::DATA))?;
        salvage.take_manifests(registry.storage)?;
        if let Some(storage) = registry.shared_storage() {
            salvage.take_history(storage)?;
        }
        Ok(salvage)
    }

    /// The repository of the objects. It has no branch.
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// The objects in the history of a commit that could not be salvaged.
    pub(super) fn lacks(&self, commit: &CommitId) -> Result<Vec<String>, Failure> {
        let arguments = ["rev-list", "--objects", "--missing=print", commit.as_str()];
        // A commit or a tree that is missing ends the command.
        let Ok(listing) = self.record.git().run(&arguments) else { return Ok(vec![commit.to_string()]) };
        Ok(listing.lines().filter_map(|line| line.strip_prefix('?')).map(str::to_owned).collect())
    }

    /// Moves the objects of these commits and of their history into a folder of packs, as one pack. Returns the names of
    /// its files; there are none without objects.
    pub(super) fn install(&self, commits: &[&CommitId], packs: &Path) -> Result<Vec<String>, Failure> {
        let cannot = || format!("cannot make a pack in {}", packs.display());
        let git = self.record.git();
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        let arguments = ["rev-list", "--objects", "--no-object-names"].into_iter();
        let ids =
            git.run(&arguments.chain(commits.iter().map(|commit| commit.as_str())).collect::<Vec<_>>())?;
        let list = file_of(ids.as_bytes()).context(cannot)?;
        let base = self.folder.path().join("pack");
        let base = base.to_string_lossy().into_owned();
        let mut named = tempfile::tempfile().context(cannot)?;
        let output = Stdio::from(named.try_clone().context(cannot)?);
        git.pass(&["pack-objects", "--quiet", &base], Stdio::from(list), output)?;
        named.rewind().context(cannot)?;
        let mut id = String::new();
        named.read_to_string(&mut id).context(cannot)?;
        let name = format!("pack-{}", id.trim());
        fs::create_dir_all(packs).context(cannot)?;
        // The index last: git sees a pack by its index.
        let mut installed = Vec::new();
        for end in ["pack", "rev", "idx"] {
            let file = format!("{name}.{end}");
            let from = self.folder.path().join(&file);
            if from.exists() {
                File::open(&from).and_then(|file| file.sync_all()).context(cannot)?;
                files::move_into_place(&from, &packs.join(&file)).context(cannot)?;
                installed.push(file);
            }
        }
        Ok(installed)
    }

    /// Takes the loose objects whose content has their name.
    fn take_loose(&self, objects: &Path) -> io::Result<()> {
        let mut paths = Vec::new();
        files::walk(objects, "", &mut |path, _| {
            if let Some((fan, rest)) = path.split_once('/')
                && fan.len() == 2
                && rest.len() == 38
            {
                paths.push((path.to_owned(), format!("{fan}{rest}")));
            }
        })?;
        for (path, id) in paths {
            let from = objects.join(&path);
            if is_sound(&from, &id) {
                let to = self.record.git().folder().join("objects").join(&path);
                fs::create_dir_all(to.parent().unwrap_or(Path::new(".")))?;
                fs::copy(&from, &to)?;
            }
        }
        Ok(())
    }

    /// Takes every object of the packs that can be unpacked.
    fn take_packs(&self, packs: &Path) -> io::Result<()> {
        let mut paths = Vec::new();
        files::walk(packs, "", &mut |path, _| {
            if path.ends_with(".pack") {
                paths.push(packs.join(path));
            }
        })?;
        for path in paths {
            // Of a damaged pack, git keeps what it can and then fails.
            let Ok(file) = File::open(&path) else { continue };
            drop(self.record.git().pass(&["unpack-objects", "-r", "-q"], Stdio::from(file), Stdio::null()));
        }
        Ok(())
    }

    /// Takes the files of the checkout: each may be the content of an object.
    fn take_checkout(&self, folder: &Path) -> Result<(), Failure> {
        let mut paths = Vec::new();
        files::walk(folder, "", &mut |path, _| paths.push(folder.join(path)))
            .context(|| format!("cannot read {}", folder.display()))?;
        self.take_blobs(&mut paths.into_iter().filter_map(|path| fs::read(path).ok()))
    }

    /// Takes the manifests that the bucket has under their digests.
    fn take_manifests(&self, storage: &dyn Storage) -> Result<(), Failure> {
        let mut keys = Vec::new();
        storage.list("", &mut |listed| keys.extend(manifest_key(&listed.key)))?;
        let mut failure = None;
        self.take_blobs(&mut keys.into_iter().filter_map(|(key, digest)| {
            let bytes = read_small(storage, &key).unwrap_or_else(|error| {
                failure.get_or_insert(error);
                None
            })?;
            (Digest::of(&bytes) == digest).then_some(bytes)
        }))?;
        failure.map_or(Ok(()), Err)
    }

    /// Takes the history that the bucket has, in an order in which each pack finds what it builds on.
    fn take_history(&self, storage: &dyn Storage) -> Result<(), Failure> {
        let mut left = Vec::new();
        storage.list(ObjectKey::RECORD, &mut |listed| left.push(listed))?;
        left.sort_by_key(|listed| listed.modified);
        loop {
            let before = left.len();
            let mut later = Vec::new();
            for listed in left {
                if !snapshot::take_piece(&self.record, storage, &listed, self.folder.path())? {
                    later.push(listed);
                }
            }
            if later.is_empty() || later.len() == before {
                return Ok(());
            }
            left = later;
        }
    }

    /// Makes objects of these contents.
    fn take_blobs(&self, contents: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), Failure> {
        let cannot = || "cannot salvage files".to_owned();
        let mut stream = BufWriter::new(tempfile::tempfile_in(self.folder.path()).context(cannot)?);
        let mut write = |content: &[u8]| {
            writeln!(stream, "blob\ndata {}", content.len())?;
            stream.write_all(content)?;
            writeln!(stream)
        };
        for content in contents {
            write(&content).context(cannot)?;
        }
        writeln!(stream, "done").context(cannot)?;
        let mut stream = stream.into_inner().map_err(io::IntoInnerError::into_error).context(cannot)?;
        stream.rewind().context(cannot)?;
        Ok(self.record.git().pass(
            &["fast-import", "--quiet", "--done"],
            Stdio::from(stream),
            Stdio::null(),
        )?)
    }
}

/// Whether the content of a loose object has its name, which is the SHA-1 of its unpacked bytes.
fn is_sound(path: &Path, id: &str) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let mut reader = ZlibDecoder::new(file).take(MAX_OBJECT);
    let mut hash = Sha1::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => hash.update(&buffer[..got]),
            Err(_) => return false,
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>() == id
}

/// The key of a manifest under its digest, with the digest.
fn manifest_key(key: &str) -> Option<(ObjectKey, Digest)> {
    let (repository, rest) = key.split_once("/_v2/manifests/")?;
    let (folder, name) = rest.split_once('/')?;
    let digest: Digest = name.parse().ok()?;
    let key = ObjectKey::Manifest {
        repository: repository.parse().ok()?,
        index: folder == "list",
        reference: Reference::Digest(digest),
        media_type: String::new(),
    };
    Some((key, digest))
}

/// The bytes of an object as long as a manifest; `None` if there is no such object.
pub(super) fn read_small(storage: &dyn Storage, key: &ObjectKey) -> Result<Option<Vec<u8>>, Failure> {
    let Some(stream) = storage.read(key)? else { return Ok(None) };
    let mut bytes = Vec::new();
    stream.take(MAX_OBJECT).read_to_end(&mut bytes).map_err(|error| StorageError::reading(key, error))?;
    Ok(Some(bytes))
}

fn file_of(bytes: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
