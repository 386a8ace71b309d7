//! The tar of a layout.

use std::io::{self, Read, Write};

use raas_types::{Digest, Sha256};
use tar::{EntryType, Header};

/// The length of a block of a tar in bytes.
const BLOCK: u64 = 512;

/// How much is read at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// What every layout of version 1 has in `oci-layout`.
const MARK: &[u8] = b"{\"imageLayoutVersion\":\"1.0.0\"}";

/// The path of an atomic signature in a layout that raas writes.
pub(crate) fn signature_path(of: &Digest, number: usize) -> String {
    format!("signatures/{}/signature-{number}", of.hex())
}

/// Writes an OCI image layout as a tar. Blobs stream through it, and each is compared with its digest.
///
/// ```
/// use raas_image::LayoutWriter;
/// use raas_types::Digest;
///
/// let (index, blob) = (b"{}", b"content");
/// let mut writer = LayoutWriter::start(Vec::new(), index)?;
/// writer.blob(&Digest::of(blob), 7, &mut &blob[..], &mut |_| {})?;
/// let tar = writer.finish()?;
/// assert_eq!(tar.len() as u64, LayoutWriter::<Vec<u8>>::length(index, [7]));
/// # Ok::<(), raas_image::LayoutError>(())
/// ```
pub struct LayoutWriter<W> {
    out: W,
}

/// Why a layout could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The tar cannot be written.
    #[error("the layout cannot be written")]
    Write(#[source] io::Error),
    /// The bytes of a blob cannot be read.
    #[error("{digest} cannot be read")]
    Read {
        /// The blob.
        digest: Digest,
        /// Why.
        source: io::Error,
    },
    /// A blob has other bytes than its digest says.
    #[error("{expected} has other content: its digest is {found}")]
    Digest {
        /// The blob.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// A blob has another length than its descriptor says.
    #[error("{digest} is {} than {expected} bytes", if *longer { "longer" } else { "shorter" })]
    Size {
        /// The blob.
        digest: Digest,
        /// The length in the descriptor.
        expected: u64,
        /// Whether there are more bytes.
        longer: bool,
    },
}

impl<W: Write> LayoutWriter<W> {
    /// Begins a layout with this `index.json`.
    ///
    /// # Errors
    /// The tar cannot be written.
    pub fn start(out: W, index: &[u8]) -> Result<Self, LayoutError> {
        let mut writer = Self { out };
        writer.header(EntryType::Directory, "blobs/", 0)?;
        writer.header(EntryType::Directory, "blobs/sha256/", 0)?;
        for (name, bytes) in [("index.json", index), ("oci-layout", MARK)] {
            writer.file(name, bytes)?;
        }
        Ok(writer)
    }

    /// Adds a blob. The bytes of the layout depend on the order of the blobs: callers add them in the order of their
    /// digests. `passed` is called with the number of bytes that were written.
    ///
    /// # Errors
    /// The bytes cannot be read or written, or are not those of the digest. The layout is then of no use.
    pub fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
        from: &mut dyn Read,
        passed: &mut dyn FnMut(u64),
    ) -> Result<(), LayoutError> {
        self.header(EntryType::Regular, &format!("blobs/sha256/{}", digest.hex()), size)?;
        let wrong_size = |longer| LayoutError::Size { digest: *digest, expected: size, longer };
        let mut hash = Sha256::default();
        let mut buffer = vec![0; CHUNK];
        let mut left = size;
        loop {
            let got =
                from.read(&mut buffer).map_err(|source| LayoutError::Read { digest: *digest, source })?;
            if got == 0 {
                break;
            }
            left = left.checked_sub(got as u64).ok_or_else(|| wrong_size(true))?;
            hash.update(&buffer[..got]);
            self.out.write_all(&buffer[..got]).map_err(LayoutError::Write)?;
            passed(got as u64);
        }
        if left > 0 {
            return Err(wrong_size(false));
        }
        let found = hash.finish();
        if found != *digest {
            return Err(LayoutError::Digest { expected: *digest, found });
        }
        self.pad(size)
    }

    /// Adds an atomic signature of a manifest; `number` counts the signatures of the manifest from 1. No format has a place
    /// for it in a layout: programs other than raas ignore the file.
    ///
    /// # Errors
    /// The tar cannot be written.
    pub fn signature(&mut self, of: &Digest, number: usize, bytes: &[u8]) -> Result<(), LayoutError> {
        self.file(&signature_path(of, number), bytes)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), LayoutError> {
        let size = bytes.len() as u64;
        self.header(EntryType::Regular, name, size)?;
        self.out.write_all(bytes).map_err(LayoutError::Write)?;
        self.pad(size)
    }

    /// Ends the tar, and returns what it was written to.
    ///
    /// # Errors
    /// The end cannot be written.
    pub fn finish(mut self) -> Result<W, LayoutError> {
        self.out.write_all(&[0; 2 * BLOCK as usize]).map_err(LayoutError::Write)?;
        self.out.flush().map_err(LayoutError::Write)?;
        Ok(self.out)
    }

    /// The length in bytes of a layout with this `index.json`, and with blobs and signatures of these lengths.
    pub fn length(index: &[u8], files: impl IntoIterator<Item = u64>) -> u64 {
        let file = |size: u64| BLOCK + size.next_multiple_of(BLOCK);
        let own = [index.len() as u64, MARK.len() as u64].map(file).iter().sum::<u64>();
        // Two folders, and two empty blocks at the end.
        4 * BLOCK + own + files.into_iter().map(file).sum::<u64>()
    }

    fn header(&mut self, kind: EntryType, name: &str, size: u64) -> Result<(), LayoutError> {
        // This form has sizes above 8 GiB.
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path(name).map_err(LayoutError::Write)?;
        header.set_size(size);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        self.out.write_all(header.as_bytes()).map_err(LayoutError::Write)
    }

    fn pad(&mut self, size: u64) -> Result<(), LayoutError> {
        let missing = size.next_multiple_of(BLOCK) - size;
        let zeros = [0; BLOCK as usize];
        self.out.write_all(&zeros[..usize::try_from(missing).unwrap_or(0)]).map_err(LayoutError::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8], digest: &Digest, size: u64) -> Result<Vec<u8>, LayoutError> {
        let mut writer = LayoutWriter::start(Vec::new(), b"{}")?;
        writer.blob(digest, size, &mut &bytes[..], &mut |_| {})?;
        writer.finish()
    }

    #[test]
    fn a_layout_has_its_files_in_order_and_no_times() {
        let bytes = vec![7; 1000];
        let digest = Digest::of(&bytes);
        let tar = written(&bytes, &digest, 1000).unwrap();
        assert_eq!(tar, written(&bytes, &digest, 1000).unwrap());
        assert_eq!(tar.len() as u64, LayoutWriter::<Vec<u8>>::length(b"{}", [1000]));
        let mut archive = tar::Archive::new(&tar[..]);
        let found: Vec<(String, Vec<u8>)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let header = entry.header();
                assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (0, 0));
                let name = entry.path().unwrap().to_str().unwrap().to_owned();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                (name, content)
            })
            .collect();
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        let blob = format!("blobs/sha256/{}", digest.hex());
        assert_eq!(names, ["blobs/", "blobs/sha256/", "index.json", "oci-layout", &blob]);
        assert_eq!(found[4].1, bytes);
    }

    #[test]
    fn signatures_follow_the_blobs() {
        let mut writer = LayoutWriter::start(Vec::new(), b"{}").unwrap();
        let digest = Digest::of(b"");
        writer.signature(&digest, 1, b"owG").unwrap();
        let tar = writer.finish().unwrap();
        assert_eq!(tar.len() as u64, LayoutWriter::<Vec<u8>>::length(b"{}", [3]));
        let mut archive = tar::Archive::new(&tar[..]);
        let last = archive.entries().unwrap().last().unwrap().unwrap();
        assert_eq!(last.path().unwrap().to_str().unwrap(), signature_path(&digest, 1));
    }

    #[test]
    fn a_blob_with_other_bytes_or_another_length_is_an_error() {
        let digest = Digest::of(b"abc");
        assert!(matches!(written(b"abd", &digest, 3), Err(LayoutError::Digest { .. })));
        assert!(matches!(written(b"abc", &digest, 2), Err(LayoutError::Size { longer: true, .. })));
        assert!(matches!(written(b"abc", &digest, 4), Err(LayoutError::Size { longer: false, .. })));
    }
}
