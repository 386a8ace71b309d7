//! Pulp 3 exports in several files, and the table of contents that lists them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use raas_types::Sha256;
use serde::Deserialize;

use super::{FileAt, ReadAt};
use crate::{ImageError, Rule};

/// The files of an export, in order, with the checksum of each where a table of contents says it.
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
    meta: Meta,
    files: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    checksum_type: Checksum,
}

const MAX_TOC: u64 = 4 * 1024 * 1024;

impl Chunks {
    /// The export that a table of contents lists; its files lie beside it.
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
            found: format!("JSON, and not the table of contents of a Pulp export: {error}"),
        })?;
        if toc.files.is_empty() {
            return Err(ImageError::content(shown, "the table of contents lists no file"));
        }
        let mut files = Vec::new();
        for (name, sum) in toc.files {
            // The names come from the file: they may name what lies beside it and nothing else.
            if name.contains('/') || name == ".." || name == "." {
                return Err(ImageError::content(
                    shown,
                    format!("the table of contents lists `{name}`, which is no file beside it"),
                ));
            }
            let file = path.with_file_name(&name);
            if !file.is_file() {
                return Err(ImageError::missing(name, format!("{shown} lists it, and it is not beside it")));
            }
            files.push((file, Some(sum)));
        }
        Ok(Self { files, checksum: toc.meta.checksum_type })
    }

    /// The export that begins with this file, if its name says that it is the first of several: by the table of
    /// contents beside it that lists it, or else by counting on.
    pub(crate) fn from_first(path: &Path) -> Result<Option<Self>, ImageError> {
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
            return Ok(None);
        };
        let Some(base) = name.strip_suffix(".0000") else {
            return Ok(None);
        };
        let stem = base.strip_suffix(".gz").unwrap_or(base);
        let toc = path.with_file_name(format!("{}-toc.json", stem.strip_suffix(".tar").unwrap_or(stem)));
        if toc.is_file() {
            let chunks = Self::from_toc(&toc)?;
            if chunks.files.iter().any(|(file, _)| file.file_name() == path.file_name()) {
                return Ok(Some(chunks));
            }
        }
        let numbered = (0..).map(|n| path.with_file_name(format!("{base}.{n:04}")));
        let files = numbered.take_while(|file| file.is_file()).map(|file| (file, None)).collect();
        Ok(Some(Self { files, checksum: Checksum::Sha256 }))
    }

    /// Reads every file through and compares it with the table of contents, the only guard that the parts of an
    /// export which are no artifacts have.
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
        let mut parts = Vec::new();
        let mut length = 0;
        for (path, _) in &self.files {
            let file = File::open(path).and_then(FileAt::new);
            let file = file.map_err(ImageError::read(path.display().to_string()))?;
            parts.push((length, file));
            length += parts[parts.len() - 1].1.length();
        }
        Ok(Joined { parts, length })
    }
}

/// Files read as one.
pub(crate) struct Joined {
    /// Each file and the offset at which it begins, in order.
    parts: Vec<(u64, FileAt)>,
    length: u64,
}

impl ReadAt for Joined {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let behind = self.parts.partition_point(|(start, _)| *start <= offset);
        // Behind an empty file stands another one of the same start; the last one of them has the byte.
        match behind.checked_sub(1).and_then(|n| self.parts.get(n)) {
            Some((start, file)) => file.read_at(offset - start, buffer),
            None => Ok(0),
        }
    }

    fn length(&self) -> u64 {
        self.length
    }
}
