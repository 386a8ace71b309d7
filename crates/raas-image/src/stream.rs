//! Streams a layer or config to its destination: each byte is read once, and hashed and checked on the way.

use std::io::{self, Read, Write};
use std::thread::Scope;

use raas_types::{Digest, Sha256};

use crate::diff_id::DiffIdWriter;
use crate::gzip::GzipWriter;
use crate::inflate::{Coding, SNIFF};
use crate::model::Blob;
use crate::{Content, ImageError, Limits, Rule};

const BUFFER: usize = 256 * 1024;

/// The packing of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// A plain tar.
    Plain,
    /// A gzipped tar.
    Gzip,
    /// A tar packed with Zstandard.
    Zstd,
}

impl From<Coding> for Packing {
    fn from(coding: Coding) -> Self {
        match coding {
            Coding::Plain => Packing::Plain,
            Coding::Gzip => Packing::Gzip,
            Coding::Zstd => Packing::Zstd,
        }
    }
}

/// The facts of a layer after its bytes were streamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Digest of the bytes in the source.
    pub raw: Digest,
    /// Length of the bytes in the source.
    pub raw_size: u64,
    /// Packing of the bytes in the source.
    pub raw_packing: Packing,
    /// Digest of the plain tar.
    pub diff_id: Digest,
    /// Digest of the packed layer; equal to `raw` if raas did not pack it.
    pub blob: Digest,
    /// Length of the packed layer.
    pub blob_size: u64,
    /// Packing of the packed layer.
    pub packing: Packing,
}

/// Copies a blob byte for byte and checks its size, its digest and, if the image has one, its diff id.
///
/// The last check may fail after the sink got all bytes, so the sink must not make them visible before this function
/// returns. `progress` gets the number of bytes of each step.
///
/// # Errors
/// The content does not fit the image, the source cannot be read, or the sink fails.
pub fn copy(
    content: &Content,
    blob: &Blob,
    sink: &mut dyn Write,
    limits: &Limits,
    progress: &dyn Fn(u64),
) -> Result<(), ImageError> {
    if content.size() != blob.size {
        let rule = Rule::Size { expected: blob.size, found: content.size() };
        return Err(ImageError::refused(content.name(), rule));
    }
    let mut hash = Sha256::default();
    let plain = std::thread::scope(|scope| {
        let mut unpack = None;
        each_piece(content, |piece, first| {
            if first && blob.diff_id.is_some() {
                let coding =
                    Coding::sniff(piece).map_err(|rule| ImageError::refused(content.name(), rule))?;
                // The diff id of a plain layer is the digest of its bytes, which need no second hash.
                if coding == Coding::Plain {
                    check_plain_size(content, limits)?;
                } else {
                    unpack = Some(diff_id_writer(coding, content, limits, scope)?);
                }
            }
            if let Some(unpack) = &mut unpack {
                unpack.update(piece)?;
            }
            hash.update(piece);
            write(sink, piece, content)?;
            progress(piece.len() as u64);
            Ok(())
        })?;
        unpack.map(DiffIdWriter::finish).transpose()
    })?;
    let found = hash.finish();
    if found != blob.digest {
        return Err(ImageError::refused(content.name(), Rule::Digest { expected: blob.digest, found }));
    }
    if let Some(expected) = blob.diff_id {
        let found = plain.map_or(found, Sha256::finish);
        if found != expected {
            return Err(ImageError::refused(content.name(), Rule::DiffId { expected, found }));
        }
    }
    Ok(())
}

/// Reads a layer to its end and returns its facts.
///
/// # Errors
/// The layer cannot be read or does not unpack.
pub fn fingerprint(content: &Content, limits: &Limits, progress: &dyn Fn(u64)) -> Result<Packed, ImageError> {
    pass(content, None, None, limits, progress)
}

/// Copies a layer of a Docker v1 or docker save source to two sinks: unchanged to `raw`, if there is one, and packed for
/// today's clients to `blob`. A gzipped layer stays as it is; `workers` threads gzip any other.
///
/// # Errors
/// The layer cannot be read or does not unpack, or one of the sinks fails.
pub fn pack(
    content: &Content,
    raw: Option<&mut dyn Write>,
    blob: &mut (dyn Write + Send),
    workers: usize,
    limits: &Limits,
    progress: &dyn Fn(u64),
) -> Result<Packed, ImageError> {
    let first = sniff(content)?;
    if first == Coding::Gzip {
        return pass(content, raw, Some(blob), limits, progress);
    }
    let mut plain_hash = Sha256::default();
    let mut counted = Tee { hash: Sha256::default(), sink: blob };
    // The plain bytes of a plain layer are those of the source, which need no second hash.
    let mut raw_hash = (first != Coding::Plain).then(Sha256::default);
    std::thread::scope(|scope| {
        let mut gzip = GzipWriter::new(&mut counted, workers, scope);
        let stream = content.open().map_err(ImageError::read(content.name()))?;
        let tapped = Tap { stream, hash: raw_hash.as_mut(), sink: raw, progress };
        let mut plain = first.reader(tapped, content.name()).map_err(ImageError::read(content.name()))?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let got = plain.read(&mut buffer).map_err(|error| unpack_error(error, content))?;
            if got == 0 {
                break;
            }
            plain_hash.update(&buffer[..got]);
            if plain_hash.length() > limits.unpacked_layer {
                return Err(ImageError::refused(content.name(), Rule::Inflates(limits.unpacked_layer)));
            }
            write(&mut gzip, &buffer[..got], content)?;
        }
        gzip.finish().map_err(write_error(content))?;
        Ok(())
    })?;
    let (blob_size, blob_hash) = (counted.hash.length(), counted.hash);
    let (plain_size, diff_id) = (plain_hash.length(), plain_hash.finish());
    let (raw_size, raw) = raw_hash.map_or((plain_size, diff_id), |hash| (hash.length(), hash.finish()));
    Ok(Packed {
        raw_size,
        raw,
        raw_packing: first.into(),
        diff_id,
        blob_size,
        blob: blob_hash.finish(),
        packing: Packing::Gzip,
    })
}

/// Copies bytes unchanged.
fn pass(
    content: &Content,
    mut raw: Option<&mut dyn Write>,
    mut blob: Option<&mut (dyn Write + Send)>,
    limits: &Limits,
    progress: &dyn Fn(u64),
) -> Result<Packed, ImageError> {
    let coding = sniff(content)?;
    if coding == Coding::Plain {
        check_plain_size(content, limits)?;
    }
    let mut hash = Sha256::default();
    let plain = std::thread::scope(|scope| {
        // The diff id of a plain layer is the digest of its bytes, which need no second hash.
        let mut unpack = match coding {
            Coding::Plain => None,
            packed => Some(diff_id_writer(packed, content, limits, scope)?),
        };
        each_piece(content, |piece, _| {
            if let Some(unpack) = &mut unpack {
                unpack.update(piece)?;
            }
            hash.update(piece);
            if let Some(raw) = &mut raw {
                write(*raw, piece, content)?;
            }
            if let Some(blob) = &mut blob {
                write(*blob, piece, content)?;
            }
            progress(piece.len() as u64);
            Ok(())
        })?;
        unpack.map(DiffIdWriter::finish).transpose()
    })?;
    let (size, raw) = (hash.length(), hash.finish());
    let diff_id = plain.map_or(raw, Sha256::finish);
    let packing = coding.into();
    Ok(Packed { raw, raw_size: size, raw_packing: packing, diff_id, blob: raw, blob_size: size, packing })
}

/// The packing of a layer, by its first bytes.
pub(crate) fn sniff(content: &Content) -> Result<Coding, ImageError> {
    let mut start = [0; SNIFF];
    let mut stream = content.open().map_err(ImageError::read(content.name()))?.take(SNIFF as u64);
    let mut have = 0;
    loop {
        match stream.read(&mut start[have..]).map_err(ImageError::read(content.name()))? {
            0 => break,
            got => have += got,
        }
    }
    Coding::sniff(&start[..have]).map_err(|rule| ImageError::refused(content.name(), rule))
}

fn check_plain_size(content: &Content, limits: &Limits) -> Result<(), ImageError> {
    if content.size() > limits.unpacked_layer {
        return Err(ImageError::refused(content.name(), Rule::Inflates(limits.unpacked_layer)));
    }
    Ok(())
}

fn diff_id_writer<'scope>(
    coding: Coding,
    content: &Content,
    limits: &Limits,
    scope: &'scope Scope<'scope, '_>,
) -> Result<DiffIdWriter<'scope>, ImageError> {
    DiffIdWriter::new(coding, content, limits, scope).map_err(ImageError::read(content.name()))
}

/// Reads the content to its end. `take` gets each piece, and whether it is the first. The first piece has at least
/// [`SNIFF`] bytes unless the content is shorter.
fn each_piece(
    content: &Content,
    mut take: impl FnMut(&[u8], bool) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let mut stream = content.open().map_err(ImageError::read(content.name()))?;
    let mut buffer = vec![0; BUFFER];
    let mut position = 0;
    let mut first = true;
    while position < content.size() {
        let mut have = 0;
        while have < SNIFF || !first {
            let got = stream.read(&mut buffer[have..]).map_err(ImageError::read(content.name()))?;
            have += got;
            if got == 0 || !first {
                break;
            }
        }
        if have == 0 {
            return Err(ImageError::refused(content.name(), Rule::Truncated));
        }
        position += have as u64;
        take(&buffer[..have], first)?;
        first = false;
    }
    Ok(())
}

fn write(sink: &mut (impl Write + ?Sized), bytes: &[u8], content: &Content) -> Result<(), ImageError> {
    sink.write_all(bytes).map_err(write_error(content))
}

fn write_error(content: &Content) -> impl FnOnce(io::Error) -> ImageError {
    let what = format!("what was read of {}", content.name());
    move |source| ImageError::Write { what, source }
}

/// An error while unpacking is one of the raw sink, of the packing, or of the source.
fn unpack_error(error: io::Error, content: &Content) -> ImageError {
    let error = match error.downcast::<TapError>() {
        Ok(TapError(source)) => return write_error(content)(source),
        Err(error) => error,
    };
    match error.downcast::<ImageError>() {
        Ok(refused) => refused,
        Err(source) => ImageError::Read { what: content.name().into(), source },
    }
}

/// Hashes and counts the bytes that are written.
struct Tee<'a> {
    hash: Sha256,
    sink: &'a mut (dyn Write + Send),
}

impl Write for Tee<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// Hashes, copies and reports the bytes that are read.
struct Tap<'a, 's, R> {
    stream: R,
    hash: Option<&'a mut Sha256>,
    sink: Option<&'a mut (dyn Write + 's)>,
    progress: &'a dyn Fn(u64),
}

/// Marks an error of a [`Tap`]'s sink, to tell it from an error of its stream.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct TapError(io::Error);

impl<R: Read> Read for Tap<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.stream.read(buffer)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..got]);
        }
        if let Some(sink) = &mut self.sink {
            sink.write_all(&buffer[..got]).map_err(|error| io::Error::other(TapError(error)))?;
        }
        (self.progress)(got as u64);
        Ok(got)
    }
}
