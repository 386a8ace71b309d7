//! Packings of archives and layers, and unpacking within bounds.

use std::io::{self, Read, Write};

use zstd::stream::raw::{self, Operation as _};

use crate::{ImageError, Rule};

/// The packings of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Plain,
    Gzip,
    Zstd,
}

/// The packings of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArchiveCoding {
    /// One that layers have too.
    Common(Coding),
    /// `docker load` reads it, and nobody packs layers with it.
    Xz,
}

/// The number of first bytes that tell the packing of a stream.
pub(crate) const SNIFF: usize = 6;

const XZ: &[u8] = b"\xfd7zXZ\0";

impl ArchiveCoding {
    /// The packing by the first bytes; an error for known packings that raas does not read.
    pub(crate) fn sniff(start: &[u8]) -> Result<Self, Rule> {
        if start.starts_with(XZ) {
            return Ok(ArchiveCoding::Xz);
        }
        match unsupported(start) {
            Some(name) => Err(Rule::Unpack(format!(
                "it is packed with {name}; raas reads archives that are plain or packed with gzip, Zstandard or xz"
            ))),
            None => Coding::sniff(start).map(ArchiveCoding::Common),
        }
    }

    /// As [`Coding::reader`].
    pub(crate) fn reader<'a>(self, packed: impl Read + 'a, name: &'a str) -> io::Result<Box<dyn Read + 'a>> {
        match self {
            ArchiveCoding::Common(coding) => coding.reader(packed, name),
            ArchiveCoding::Xz => {
                let plain = lzma_rust2::XzReader::new_mem_limit(Marking(packed), true, MAX_XZ_KIB);
                Ok(Box::new(Judging { plain, name }))
            }
        }
    }
}

/// The memory in KiB that unpacking xz may take: `xz -9` needs 65 MiB.
const MAX_XZ_KIB: u32 = 72 * 1024;

/// The name of a packing that raas knows and does not read.
fn unsupported(start: &[u8]) -> Option<&'static str> {
    const UNSUPPORTED: [(&[u8], &str); 3] = [(XZ, "xz"), (b"BZh", "bzip2"), (b"\x04\x22\x4d\x18", "lz4")];
    UNSUPPORTED.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, name)| *name)
}

impl Coding {
    /// The packing of a layer by its first bytes; an error for known packings that raas does not read.
    pub(crate) fn sniff(start: &[u8]) -> Result<Self, Rule> {
        match start {
            [0x1f, 0x8b, ..] => Ok(Coding::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Coding::Zstd),
            // A skippable frame, which Zstandard allows at the start of a stream.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Coding::Zstd),
            _ => match unsupported(start) {
                Some(name) => Err(Rule::Unpack(format!(
                    "it is packed with {name}; raas reads layers that are plain or packed with gzip or Zstandard"
                ))),
                None => Ok(Coding::Plain),
            },
        }
    }

    /// A reader of the plain bytes. If they do not unpack, its error holds the [`ImageError`] for the file `name`; errors
    /// of `packed` stay as they are.
    pub(crate) fn reader<'a>(self, packed: impl Read + 'a, name: &'a str) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Coding::Plain => Box::new(packed),
            Coding::Gzip => {
                Box::new(Judging { plain: flate2::read::MultiGzDecoder::new(Marking(packed)), name })
            }
            Coding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(Marking(packed))?;
                decoder.window_log_max(MAX_WINDOW_LOG)?;
                Box::new(Judging { plain: decoder, name })
            }
        })
    }
}

/// Marks the errors of a reader, to tell them from the errors of the decoder behind it.
struct Marking<R>(R);

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Marked(io::Error);

impl<R: Read> Read for Marking<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => io::Error::other(Marked(error)),
        })
    }
}

/// Turns the errors of a decoder into those of the file: damaged, or truncated.
struct Judging<'a, R> {
    plain: R,
    name: &'a str,
}

impl<R: Read> Read for Judging<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.plain.read(buffer).map_err(|error| match error.downcast::<Marked>() {
            Ok(Marked(error)) => error,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => error,
            Err(error) => {
                let rule = match error.kind() {
                    io::ErrorKind::UnexpectedEof => Rule::Truncated,
                    _ => Rule::Unpack(error.to_string()),
                };
                io::Error::other(ImageError::refused(self.name, rule))
            }
        })
    }
}

/// The default limit of Zstandard's decoder is 27 (128 MiB), more memory than a push may take. 25 (32 MiB) is above the
/// windows of `zstd -19` and of every image builder.
const MAX_WINDOW_LOG: u32 = 25;

/// Unpacks what is written to it into another writer.
pub(crate) enum Unpacker<W: Write> {
    Plain(W),
    Gzip(Box<flate2::write::MultiGzDecoder<W>>),
    Zstd(Box<ZstdWriter<W>>),
}

impl<W: Write> Unpacker<W> {
    pub(crate) fn new(coding: Coding, plain: W) -> io::Result<Self> {
        Ok(match coding {
            Coding::Plain => Unpacker::Plain(plain),
            Coding::Gzip => Unpacker::Gzip(Box::new(flate2::write::MultiGzDecoder::new(plain))),
            Coding::Zstd => Unpacker::Zstd(Box::new(ZstdWriter::new(plain)?)),
        })
    }

    /// Takes the next packed bytes.
    pub(crate) fn update(&mut self, packed: &[u8]) -> io::Result<()> {
        match self {
            Unpacker::Plain(plain) => plain.write_all(packed),
            Unpacker::Gzip(decoder) => decoder.write_all(packed),
            Unpacker::Zstd(decoder) => decoder.update(packed),
        }
    }

    /// The writer, once the packed bytes have come to their end.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Unpacker::Plain(plain) => Ok(plain),
            Unpacker::Gzip(decoder) => decoder.finish(),
            Unpacker::Zstd(decoder) if decoder.complete => Ok(decoder.plain),
            Unpacker::Zstd(_) => Err(io::Error::other("its last frame is incomplete")),
        }
    }
}

/// Like zstd's own writing decoder, which does not report an incomplete last frame.
pub(crate) struct ZstdWriter<W> {
    decoder: raw::Decoder<'static>,
    buffer: Vec<u8>,
    complete: bool,
    plain: W,
}

impl<W: Write> ZstdWriter<W> {
    fn new(plain: W) -> io::Result<Self> {
        let mut decoder = raw::Decoder::new()?;
        decoder.set_parameter(raw::DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
        Ok(Self { decoder, buffer: vec![0; 128 * 1024], complete: false, plain })
    }

    fn update(&mut self, packed: &[u8]) -> io::Result<()> {
        let mut input = raw::InBuffer::around(packed);
        loop {
            let mut output = raw::OutBuffer::around(&mut self.buffer[..]);
            // 0 behind the last byte of a frame; the next byte begins a new frame.
            let wanted = self.decoder.run(&mut input, &mut output)?;
            let made = output.pos();
            self.plain.write_all(&self.buffer[..made])?;
            self.complete = wanted == 0;
            let all_in = input.pos() == packed.len();
            if all_in && (self.complete || made < self.buffer.len()) {
                return Ok(());
            }
        }
    }
}
