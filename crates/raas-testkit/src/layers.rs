//! Layers: small tars in the packings of image builders, and bombs.

use std::io::Write;

use crate::TarBuilder;

/// The packing of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pack {
    /// A plain tar.
    Plain,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Pack {
    /// The packed bytes.
    pub fn apply(self, plain: &[u8]) -> Vec<u8> {
        match self {
            Pack::Plain => plain.to_vec(),
            Pack::Gzip => gzip(plain),
            Pack::Zstd => zstd(plain),
        }
    }

    /// OCI's media type of a layer in this packing.
    pub fn media_type(self) -> &'static str {
        match self {
            Pack::Plain => "application/vnd.oci.image.layer.v1.tar",
            Pack::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Pack::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// A plain tar of these files.
pub fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    files.iter().fold(TarBuilder::new(), |tar, (name, content)| tar.file(name, content)).finish()
}

/// One gzip member.
pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("memory takes everything")
}

/// One Zstandard frame.
pub fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 0).expect("memory takes everything")
}

/// A stream of xz, whose one block holds the bytes as they are. Source: "The .xz File Format", version 1.2.1.
pub fn xz(plain: &[u8]) -> Vec<u8> {
    let with_crc = |bytes: &[u8]| [bytes, &crc32(bytes).to_le_bytes()].concat();
    // No check of the content.
    let flags = [0, 0];
    let mut stream = [b"\xfd7zXZ\0".as_slice(), &with_crc(&flags)].concat();
    // A block header of twelve bytes: one filter, LZMA2 with one property byte, its dictionary of 4 KiB.
    let header = with_crc(&[2, 0, 0x21, 1, 0, 0, 0, 0]);
    let mut block = header;
    for (n, piece) in plain.chunks(1 << 16).enumerate() {
        // A piece that is not packed; the first one resets the dictionary.
        block.push(if n == 0 { 1 } else { 2 });
        block.extend(((piece.len() - 1) as u16).to_be_bytes());
        block.extend(piece);
    }
    block.push(0);
    let unpadded = block.len();
    block.resize(unpadded.next_multiple_of(4), 0);
    stream.extend(block);
    let mut index = vec![0, 1];
    for number in [unpadded, plain.len()] {
        let mut rest = number;
        while rest >= 0x80 {
            index.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        index.push(rest as u8);
    }
    index.resize(index.len().next_multiple_of(4), 0);
    let index = with_crc(&index);
    let footer = [&((index.len() / 4 - 1) as u32).to_le_bytes(), flags.as_slice()].concat();
    stream.extend(&index);
    stream.extend(crc32(&footer).to_le_bytes());
    stream.extend(footer);
    stream.extend(b"YZ");
    stream
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A gzip stream of this number of GiB of zeros, about a megabyte long for each GiB.
pub fn gzip_bomb(gib: usize) -> Vec<u8> {
    gzip(&vec![0; BOMB_PART]).repeat(gib * ((1 << 30) / BOMB_PART))
}

/// A Zstandard stream of this number of GiB of zeros, a few dozen kilobytes long for each GiB.
pub fn zstd_bomb(gib: usize) -> Vec<u8> {
    zstd(&vec![0; BOMB_PART]).repeat(gib * ((1 << 30) / BOMB_PART))
}

const BOMB_PART: usize = 16 << 20;

/// Bytes that do not compress. Equal seeds give equal bytes.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..length).map(|_| random.next() as u8).collect()
}

/// A small generator of numbers (SplitMix64). Equal seeds give equal numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so it is not an iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below the bound.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
