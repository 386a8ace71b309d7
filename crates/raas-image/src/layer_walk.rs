//! What the file system of a layer has: its entries, one after the other, without their content.

use std::io::{self, Read};

use raas_types::{Digest, Sha256};
use tar::EntryType;

use crate::stream::sniff;
use crate::tar_index::{Extended, Next, Walk, check_sum, next_header, read_extended, walk_error};
use crate::{Content, ImageError, Limits, Rule};

/// An entry of a layer's tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerEntry<'a> {
    /// The path from the root, without a slash at its beginning and its end. Bytes that are no UTF-8 are replaced.
    pub path: &'a str,
    /// What the entry is.
    pub kind: LayerEntryKind,
    /// The permissions, with the bits for setuid (4000), setgid (2000) and sticky (1000) in octal digits.
    pub mode: u32,
}

/// What an entry of a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerEntryKind {
    /// A regular file.
    File,
    /// A hard or a symbolic link.
    Link,
    /// A folder.
    Folder,
    /// A device or a pipe.
    Special,
}

/// The digest that the bytes of a layer must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerDigest {
    /// Of the bytes as they are in the source.
    Blob(Digest),
    /// Of the plain tar.
    DiffId(Digest),
}

/// The longest path. Linux has 4,096.
const MAX_PATH: usize = 16 * 1024;

/// Reads a layer to its end, and calls `each` for each entry. Memory does not grow with the layer.
///
/// # Errors
/// The layer cannot be read, does not unpack, is no tar, has another digest, or `each` fails.
pub fn walk_layer(
    content: &Content,
    digest: LayerDigest,
    limits: &Limits,
    each: &mut dyn FnMut(LayerEntry<'_>) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let name = content.name();
    let coding = sniff(content)?;
    let mut packed = Hashing::new(content.open().map_err(ImageError::read(name))?);
    let plain = {
        let plain = coding.reader(&mut packed, name).map_err(ImageError::read(name))?;
        let stream = Hashing::new(plain);
        let mut walk = StreamWalk { stream, position: 0, limit: limits.unpacked_layer, name };
        entries(&mut walk, name, each)?;
        let StreamWalk { stream: Hashing { hash, .. }, .. } = walk;
        hash.finish()
    };
    let (expected, found) = match digest {
        LayerDigest::Blob(expected) => (expected, packed.hash.finish()),
        LayerDigest::DiffId(expected) => (expected, plain),
    };
    if expected == found {
        return Ok(());
    }
    Err(ImageError::refused(
        name,
        match digest {
            LayerDigest::Blob(_) => Rule::Digest { expected, found },
            LayerDigest::DiffId(_) => Rule::DiffId { expected, found },
        },
    ))
}

fn entries(
    walk: &mut dyn Walk,
    what: &str,
    each: &mut dyn FnMut(LayerEntry<'_>) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let mut extended = Extended::default();
    let mut last = what.to_owned();
    // Old programs end a layer without an end mark.
    while let Next::Header(header) = next_header(walk).map_err(|error| walk_error(error, &last, what))? {
        if !check_sum(&header) {
            let rule = Rule::Header("its checksum does not hold".into());
            return Err(ImageError::refused(format!("the entry after {last}"), rule));
        }
        let kind = header.entry_type();
        let wrong = |error: io::Error| ImageError::refused(&last, Rule::Header(error.to_string()));
        let size = header.entry_size().map_err(wrong)?;
        if matches!(
            kind,
            EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink | EntryType::XGlobalHeader
        ) {
            let bytes = read_extended(walk, size, &last, what)?;
            extended.take(kind, &bytes, &last)?;
            continue;
        }
        let mode = header.mode().map_err(wrong)?;
        let Extended { name, size: long_size, .. } = std::mem::take(&mut extended);
        let raw = name.unwrap_or_else(|| header.path_bytes().into_owned());
        let path = path(&raw).map_err(|rule| ImageError::refused(String::from_utf8_lossy(&raw), rule))?;
        let is_folder = kind == EntryType::Directory || (kind == EntryType::Regular && raw.ends_with(b"/"));
        let kind = match kind {
            _ if is_folder => LayerEntryKind::Folder,
            EntryType::Link | EntryType::Symlink => LayerEntryKind::Link,
            EntryType::Char | EntryType::Block | EntryType::Fifo => LayerEntryKind::Special,
            _ => LayerEntryKind::File,
        };
        if !path.is_empty() {
            each(LayerEntry { path: &path, kind, mode })?;
        }
        // Only files have content, whatever the header of a link says.
        if kind == LayerEntryKind::File {
            let padded = long_size.unwrap_or(size).checked_next_multiple_of(512);
            let padded = padded.ok_or_else(|| ImageError::refused(&path, Rule::Truncated))?;
            walk.skip(padded).map_err(|error| walk_error(error, &path, what))?;
        }
        last = path;
    }
    walk.finish().map_err(|error| walk_error(error, &last, what))
}

/// The path without `.`, doubled slashes, and slashes at its ends. Builders write `./etc` and `/etc` too.
fn path(raw: &[u8]) -> Result<String, Rule> {
    if raw.len() > MAX_PATH {
        return Err(Rule::Header(format!("its path has more than {MAX_PATH} bytes")));
    }
    let text = String::from_utf8_lossy(raw);
    if text.split('/').any(|part| part == "..") {
        return Err(Rule::ParentPath);
    }
    Ok(text.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/"))
}

/// Hashes what is read.
struct Hashing<R> {
    stream: R,
    hash: Sha256,
}

impl<R> Hashing<R> {
    fn new(stream: R) -> Self {
        Self { stream, hash: Sha256::default() }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.stream.read(buffer)?;
        self.hash.update(&buffer[..got]);
        Ok(got)
    }
}

/// Walks over a stream, and keeps nothing of it.
struct StreamWalk<'a, R> {
    stream: R,
    position: u64,
    limit: u64,
    name: &'a str,
}

impl<R: Read> StreamWalk<'_, R> {
    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(got) => {
                    self.position += got as u64;
                    if self.position > self.limit {
                        let rule = Rule::Inflates(self.limit);
                        return Err(io::Error::other(ImageError::refused(self.name, rule)));
                    }
                    return Ok(got);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl<R: Read> Walk for StreamWalk<'_, R> {
    fn position(&self) -> u64 {
        self.position
    }

    fn read_up_to(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.read_some(&mut buffer[read..])? {
                0 => break,
                got => read += got,
            }
        }
        Ok(read)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        let mut left = bytes;
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match self.read_some(&mut buffer[..most])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                got => left -= got as u64,
            }
        }
        Ok(())
    }

    /// Reads to the end of the stream: the digest is of all bytes.
    fn finish(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        while self.read_some(&mut buffer)? > 0 {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use raas_testkit::layers::{self, Pack};
    use raas_testkit::tar::{TarBuilder, kind};

    use super::*;

    fn walk(bytes: &[u8], digest: LayerDigest, limits: &Limits) -> Result<Vec<String>, ImageError> {
        let mut found = Vec::new();
        walk_layer(&Content::memory("layer", bytes), digest, limits, &mut |entry| {
            found.push(format!("{} {:?} {:o}", entry.path, entry.kind, entry.mode & 0o7000));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn every_packing_has_the_same_entries_and_digests_are_compared() {
        let plain = layers::layer(&[("bin/sh", b"shell"), ("etc/motd", &[b'x'; 5000])]);
        let limits = Limits::default();
        for packed in [plain.clone(), Pack::Gzip.apply(&plain), Pack::Zstd.apply(&plain)] {
            for digest in [LayerDigest::Blob(Digest::of(&packed)), LayerDigest::DiffId(Digest::of(&plain))] {
                let found = walk(&packed, digest, &limits).unwrap();
                let files: Vec<&String> = found.iter().filter(|line| line.contains("File")).collect();
                assert_eq!(files, ["bin/sh File 0", "etc/motd File 0"]);
            }
            let other = Digest::of(b"other");
            for digest in [LayerDigest::Blob(other), LayerDigest::DiffId(other)] {
                assert!(walk(&packed, digest, &limits).is_err());
            }
            let low = Limits { unpacked_layer: 1024, ..Limits::default() };
            let error = walk(&packed, LayerDigest::DiffId(Digest::of(&plain)), &low).unwrap_err();
            assert!(matches!(error, ImageError::Refused { rule: Rule::Inflates(1024), .. }), "{error}");
        }
    }

    #[test]
    fn odd_layers_are_read_and_broken_ones_are_errors() {
        let limits = Limits::default();
        let check = |tar: Vec<u8>| walk(&tar, LayerDigest::DiffId(Digest::of(&tar)), &limits);
        let odd = TarBuilder::new()
            .folder("./etc/")
            .file("/etc//passwd", "x")
            .symlink("bin", "/usr/bin")
            .special("dev/null", kind::CHAR_DEVICE)
            .file("l/".repeat(300) + "long", "y")
            .finish();
        let found = check(odd.clone()).unwrap();
        let paths: Vec<&str> = found.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(paths[..4], ["etc", "etc/passwd", "bin", "dev/null"]);
        assert!(paths[4].ends_with("l/long") && paths.len() == 5, "{paths:?}");
        let without_end = odd[..odd.len() - 1024].to_vec();
        assert_eq!(check(without_end).unwrap(), found);
        for broken in [
            TarBuilder::new().file("a/../../b", "x").finish(),
            TarBuilder::new().file("x/".repeat(9000), "x").finish(),
            TarBuilder::new().claiming("huge", u64::MAX >> 1, "x").finish(),
            TarBuilder::new().extended(kind::PAX, &[b'x'; 2 << 20]).file("x", "x").finish(),
            vec![b'x'; 1024],
            odd[..700].to_vec(),
        ] {
            assert!(check(broken).is_err());
        }
    }
}
