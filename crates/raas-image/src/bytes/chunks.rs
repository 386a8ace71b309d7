//! Pulp 3 exports in several files (chunks), and the table of contents that lists them.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use raas_types::{Sha256, null_as_default};
use serde::Deserialize;

use super::{FileAt, ReadAt};
use crate::error::legible;
use crate::{ImageError, Rule};

/// The files of an export in order, each with its checksum if a table of contents has it.
#[derive(Debug)]
pub(crate) struct Chunks {
    files: Vec<(PathBuf, Option<String>)>,
    checksum: Checksum,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Checksum {
    #[default]
    Sha256,
    Crc32,
}

/// The table of contents of both generations of Pulp 3.
#[derive(Deserialize)]
struct Toc {
    #[serde(default, deserialize_with = "null_as_default")]
    meta: Meta,
    files: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default, deserialize_with = "null_as_default")]
    checksum_type: Checksum,
}

const MAX_TOC: u64 = 4 * 1024 * 1024;

impl Chunks {
    /// The export of a table of contents, whose files lie beside it.
    pub(crate) fn from_toc(path: &Path) -> Result<Self, ImageError> {
        let shown = path.display().to_string();
        let file = File::open(path).map_err(ImageError::read(&shown))?;
        let mut bytes = Vec::new();
        file.take(MAX_TOC + 1).read_to_end(&mut bytes).map_err(ImageError::read(&shown))?;
        if bytes.len() as u64 > MAX_TOC {
            return Err(ImageError::refused(
                shown,
                Rule::TooLarge { size: bytes.len() as u64, limit: MAX_TOC },
            ));
        }
        let toc: Toc = serde_json::from_slice(&bytes).map_err(|error| ImageError::NotAnImage {
            what: shown.clone(),
            found: legible(&format!("JSON, and not the table of contents of a Pulp export: {error}"), 1000),
        })?;
        if toc.files.is_empty() {
            return Err(ImageError::content(shown, "the table of contents lists no file"));
        }
        let mut listed: Vec<(String, String)> = toc.files.into_iter().collect();
        for (name, _) in &listed {
            // A hostile table of contents must not name files elsewhere.
            if name.contains('/') || name == ".." || name == "." {
                let message = format!("the table of contents lists `{name}`, which is no file beside it");
                return Err(ImageError::content(shown, message));
            }
        }
        // By number: `.10000` comes behind `.9999`.
        listed.sort_by_cached_key(|(name, _)| numbered(name).map(|(base, number)| (base.to_owned(), number)));
        check_listed(path, &shown, &listed)?;
        let files = listed.into_iter().map(|(name, sum)| (path.with_file_name(name), Some(sum))).collect();
        Ok(Self { files, checksum: toc.meta.checksum_type })
    }

    /// The export whose first chunk is this file, if the file has such a name. The table of contents beside it lists
    /// the chunks; without one they are found by their names.
    pub(crate) fn from_first(path: &Path) -> Result<Option<Self>, ImageError> {
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
            return Ok(None);
        };
        let Some((base, number)) = numbered(name) else {
            return Ok(None);
        };
        let first = path.with_file_name(format!("{base}.0000"));
        if number > 0 && first.is_file() {
            return Err(ImageError::choice(format!(
                "{} is chunk {number} of an export; give the first one, {}, or the table of contents",
                path.display(),
                first.display()
            )));
        }
        if number > 0 {
            return Ok(None);
        }
        let stem = base.strip_suffix(".gz").unwrap_or(base);
        let toc = path.with_file_name(format!("{}-toc.json", stem.strip_suffix(".tar").unwrap_or(stem)));
        if toc.is_file() {
            let chunks = Self::from_toc(&toc)?;
            if chunks.files.iter().any(|(file, _)| file.file_name() == path.file_name()) {
                return Ok(Some(chunks));
            }
        }
        let files = beside(path, base)?.into_iter().map(|file| (file, None)).collect();
        Ok(Some(Self { files, checksum: Checksum::Sha256 }))
    }

    /// Compares every file with the table of contents. Members of an export that are no artifacts have no other
    /// checksum.
    pub(crate) fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<(), ImageError> {
        for (path, expected) in &self.files {
            let Some(expected) = expected else { continue };
            let found =
                self.checksum_of(path, progress).map_err(ImageError::read(path.display().to_string()))?;
            if !found.eq_ignore_ascii_case(expected) {
                let rule = Rule::Checksum { expected: expected.clone(), found };
                return Err(ImageError::refused(path.display().to_string(), rule));
            }
        }
        Ok(())
    }

    fn checksum_of(&self, path: &Path, progress: &mut dyn FnMut(u64)) -> io::Result<String> {
        let mut file = File::open(path)?;
        let mut sha256 = Sha256::default();
        let mut crc32 = crc32fast::Hasher::new();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let got = file.read(&mut buffer)?;
            if got == 0 {
                break;
            }
            match self.checksum {
                Checksum::Sha256 => sha256.update(&buffer[..got]),
                Checksum::Crc32 => crc32.update(&buffer[..got]),
            }
            progress(got as u64);
        }
        Ok(match self.checksum {
            Checksum::Sha256 => sha256.finish().hex(),
            Checksum::Crc32 => format!("{:08x}", crc32.finalize()),
        })
    }

    /// All files as one.
    pub(crate) fn open(&self) -> Result<Joined, ImageError> {
        let mut files = Vec::new();
        let mut length = 0;
        for (path, _) in &self.files {
            let file = fs::metadata(path).map_err(ImageError::read(path.display().to_string()))?;
            files.push(JoinedFile { start: length, path: path.clone(), length: file.len() });
            length += file.len();
        }
        Ok(Joined { files, length, open: Mutex::default() })
    }
}

/// The base and the number of a chunk's name, `<base>.<four or more digits>`.
fn numbered(name: &str) -> Option<(&str, u64)> {
    let (base, number) = name.rsplit_once('.')?;
    let is_number = number.len() >= 4 && number.bytes().all(|b| b.is_ascii_digit());
    number.parse().ok().filter(|_| is_number && !base.is_empty()).map(|number| (base, number))
}

/// Whether the listed chunks are there and their numbers have no gap.
fn check_listed(toc: &Path, shown: &str, listed: &[(String, String)]) -> Result<(), ImageError> {
    let chunks: Vec<(&str, u64)> = listed.iter().filter_map(|(name, _)| numbered(name)).collect();
    let gap = (0..).zip(&chunks).find(|(expected, (_, number))| number != expected);
    if let Some((expected, (base, _))) = gap {
        let message = format!(
            "the table of contents does not list the chunk {base}.{expected:04}; make the export again, or copy all of it"
        );
        return Err(ImageError::content(shown, message));
    }
    if let Some((base, last)) = chunks.last() {
        let next = format!("{base}.{:04}", last + 1);
        if toc.with_file_name(&next).is_file() {
            let message =
                format!("the table of contents does not list the chunk {next}, which lies beside it");
            return Err(ImageError::content(shown, message));
        }
    }
    let missing: Vec<&str> = listed
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !toc.with_file_name(name).is_file())
        .collect();
    let Some(first) = missing.first() else {
        return Ok(());
    };
    let joined = numbered(first).map(|(base, _)| toc.with_file_name(base)).filter(|joined| joined.is_file());
    match joined {
        Some(joined) if missing.len() == listed.len() => Err(ImageError::missing(
            *first,
            format!(
                "{shown} lists it, and none of its chunks is there; an import that failed has joined them: give the \
                 joined file, {}",
                joined.display()
            ),
        )),
        _ => Err(ImageError::missing(*first, format!("{shown} lists it, and it is not beside it"))),
    }
}

/// The chunks of an export without a table of contents, in order.
fn beside(first: &Path, base: &str) -> Result<Vec<PathBuf>, ImageError> {
    let folder = first.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let read = || ImageError::read(folder.display().to_string());
    let mut chunks = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(read())? {
        let name = entry.map_err(read())?.file_name();
        match name.to_str().and_then(numbered) {
            Some((other, number)) if other == base => {
                chunks.insert(number, first.with_file_name(&name));
            }
            _ => {}
        }
    }
    let gap = (0..).zip(chunks.keys()).find(|(expected, number)| *number != expected);
    match gap {
        Some((expected, _)) => Err(ImageError::missing(
            format!("{base}.{expected:04}"),
            "chunks with higher numbers are there, and this one is not",
        )),
        None => Ok(chunks.into_values().collect()),
    }
}

/// Files read as one. An export may have more files than a process may open, so a few are open at a time.
pub(crate) struct Joined {
    files: Vec<JoinedFile>,
    length: u64,
    /// Open files with their places in `files`, the last used at the end.
    open: Mutex<VecDeque<(usize, Arc<FileAt>)>>,
}

/// A file, and the offset of its first byte.
struct JoinedFile {
    start: u64,
    path: PathBuf,
    length: u64,
}

const MOST_OPEN: usize = 16;

impl Joined {
    fn file(&self, n: usize) -> io::Result<Arc<FileAt>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.iter().position(|(place, _)| *place == n).and_then(|at| open.remove(at));
        let file = match known {
            Some((_, file)) => file,
            None => {
                let JoinedFile { path, length, .. } = &self.files[n];
                let named =
                    |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
                let file = File::open(path).and_then(FileAt::new).map_err(named)?;
                if file.length() != *length {
                    return Err(named(io::Error::other("the file has changed while raas was at work")));
                }
                if open.len() == MOST_OPEN {
                    open.pop_front();
                }
                Arc::new(file)
            }
        };
        open.push_back((n, file.clone()));
        Ok(file)
    }
}

impl ReadAt for Joined {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let behind = self.files.partition_point(|file| file.start <= offset);
        // An empty file has the same start as the next file; the last of them has the byte.
        match behind.checked_sub(1) {
            Some(n) => self.file(n)?.read_at(offset - self.files[n].start, buffer),
            None => Ok(0),
        }
    }

    fn length(&self) -> u64 {
        self.length
    }
}
