//! Tar archives without validation, so that tests can make hostile ones.

const BLOCK: usize = 512;

/// Kinds of members, by their type flags. Source: POSIX.1-2017, pax, "ustar Interchange Format", and GNU tar.
pub mod kind {
    /// A regular file.
    pub const FILE: u8 = b'0';
    /// A hard link.
    pub const HARD_LINK: u8 = b'1';
    /// A symbolic link.
    pub const SYMLINK: u8 = b'2';
    /// A character device.
    pub const CHAR_DEVICE: u8 = b'3';
    /// A block device.
    pub const BLOCK_DEVICE: u8 = b'4';
    /// A folder.
    pub const FOLDER: u8 = b'5';
    /// A named pipe.
    pub const FIFO: u8 = b'6';
    /// The next member's extended header.
    pub const PAX: u8 = b'x';
    /// An extended header for the whole archive.
    pub const PAX_GLOBAL: u8 = b'g';
    /// The next member's name, in GNU's form.
    pub const GNU_LONG_NAME: u8 = b'L';
    /// The next member's link target, in GNU's form.
    pub const GNU_LONG_LINK: u8 = b'K';
    /// A sparse file, in GNU's old form.
    pub const GNU_SPARSE: u8 = b'S';
}

/// A member by its header, which need not be true.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// The name, of any bytes; only the first 100 are written.
    pub name: &'a [u8],
    /// The type flag, see [`kind`].
    pub kind: u8,
    /// The link's target; only the first 100 bytes are written.
    pub link: &'a [u8],
    /// The length that the header claims.
    pub size: u64,
    /// The bytes behind the header, which are padded to a block.
    pub content: &'a [u8],
}

/// Writes a tar archive, member by member.
#[derive(Debug, Clone, Default)]
pub struct TarBuilder {
    bytes: Vec<u8>,
    last_header: usize,
}

impl TarBuilder {
    /// An archive without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// A regular file. A name of more than 100 bytes has GNU's form.
    pub fn file(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let (name, content) = (name.as_ref(), content.as_ref());
        let size = content.len() as u64;
        self.long(name, b"").member(&Member { name, kind: kind::FILE, link: b"", size, content })
    }

    /// A folder.
    pub fn folder(self, name: impl AsRef<[u8]>) -> Self {
        self.special(name, kind::FOLDER)
    }

    /// A symbolic link.
    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.link(name.as_ref(), target.as_ref(), kind::SYMLINK)
    }

    /// A hard link.
    pub fn hard_link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.link(name.as_ref(), target.as_ref(), kind::HARD_LINK)
    }

    /// A member without content: a folder, a device, a pipe, or another type flag.
    pub fn special(self, name: impl AsRef<[u8]>, kind: u8) -> Self {
        let name = name.as_ref();
        self.long(name, b"").member(&Member { name, kind, link: b"", size: 0, content: b"" })
    }

    /// A regular file whose header has this size, whatever the length of its content.
    pub fn claiming(self, name: impl AsRef<[u8]>, size: u64, content: impl AsRef<[u8]>) -> Self {
        let (name, content) = (name.as_ref(), content.as_ref());
        self.member(&Member { name, kind: kind::FILE, link: b"", size, content })
    }

    /// An extended header with these records for the next member.
    pub fn pax<'a>(self, records: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        self.extended(kind::PAX, &pax_records(records))
    }

    /// An extended header with these records for the whole archive.
    pub fn pax_global<'a>(self, records: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        self.extended(kind::PAX_GLOBAL, &pax_records(records))
    }

    /// An extended header of any kind with any content.
    pub fn extended(self, kind: u8, content: &[u8]) -> Self {
        let size = content.len() as u64;
        self.member(&Member { name: b"././@extended", kind, link: b"", size, content })
    }

    /// A member with exactly these fields.
    pub fn member(mut self, member: &Member<'_>) -> Self {
        self.last_header = self.bytes.len();
        self.bytes.extend_from_slice(&header(member));
        self.bytes.extend_from_slice(member.content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// Damages the checksum of the last member's header.
    pub fn damage_header(mut self) -> Self {
        let at = self.last_header + 148;
        self.bytes[at] = if self.bytes[at] == b'7' { b'0' } else { b'7' };
        self
    }

    /// The archive, with its end mark.
    pub fn finish(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        bytes
    }

    /// The archive without its end mark.
    pub fn without_end_mark(self) -> Vec<u8> {
        self.bytes
    }

    fn link(self, name: &[u8], link: &[u8], kind: u8) -> Self {
        self.long(name, link).member(&Member { name, kind, link, size: 0, content: b"" })
    }

    fn long(self, name: &[u8], link: &[u8]) -> Self {
        let mut tar = self;
        if link.len() > 100 {
            tar = tar.extended(kind::GNU_LONG_LINK, &[link, b"\0"].concat());
        }
        if name.len() > 100 {
            tar = tar.extended(kind::GNU_LONG_NAME, &[name, b"\0"].concat());
        }
        tar
    }
}

/// A member's header block with a valid checksum.
pub fn header(member: &Member<'_>) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let put = |block: &mut [u8; BLOCK], at: usize, most: usize, bytes: &[u8]| {
        let length = bytes.len().min(most);
        block[at..at + length].copy_from_slice(&bytes[..length]);
    };
    put(&mut block, 0, 100, member.name);
    put(&mut block, 100, 8, b"0000644\0");
    put(&mut block, 108, 8, b"0000000\0");
    put(&mut block, 116, 8, b"0000000\0");
    put(&mut block, 124, 12, &number(member.size));
    put(&mut block, 136, 12, b"00000000000\0");
    block[156] = member.kind;
    put(&mut block, 157, 100, member.link);
    put(&mut block, 257, 8, b"ustar\x0000");
    repair_checksum(&mut block);
    block
}

/// Repairs a header's checksum after a change.
pub fn repair_checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A length in octal, or in GNU's binary form if eleven octal digits are too few.
fn number(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if value < 1 << 33 {
        field[..11].copy_from_slice(format!("{value:011o}").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&value.to_be_bytes());
    }
    field
}

/// The content of an extended header: `length key=value` lines, the length counting itself.
pub fn pax_records<'a>(records: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_record_counts_itself() {
        let long = [b'x'; 92];
        assert_eq!(pax_records([("path", b"a".as_slice())]), b"9 path=a\n");
        let record = pax_records([("path", long.as_slice())]);
        assert!(record.starts_with(format!("{} path=x", record.len()).as_bytes()));
    }

    #[test]
    fn sizes_that_octal_cannot_hold_are_binary() {
        assert_eq!(&number(8)[..], b"00000000010\0");
        assert_eq!(number(u64::MAX), [0x80, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
    }
}
