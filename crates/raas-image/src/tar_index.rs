//! The index of a tar archive: where each member's bytes lie, found in one walk over the headers.
//!
//! The headers' fields are read by the `tar` crate; the walk is our own, since an archive of unknown origin needs
//! bounds on every header (the crate reads an extended header of any length into memory) and since the same walk
//! must serve a file, where it seeks over the data, and a stream, where it spools the data as it passes.

mod member;
mod path;
mod walk;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;

use tar::EntryType;

use crate::error::legible;
use crate::{ImageError, Limits, Rule};
pub(crate) use member::Member;
pub(crate) use path::normalise;
pub(crate) use walk::{SeekWalk, SpoolWalk, Walk};

/// What an archive holds, by normalised name.
#[derive(Debug, Default)]
pub(crate) struct TarIndex {
    members: BTreeMap<Box<str>, Member>,
    name_bytes: usize,
}

/// What extended headers say about the member that follows them.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// An extended header holds a name, a link and some numbers: more than this is an attack.
const MAX_EXTENDED: u64 = 1024 * 1024;
const BLOCK: u64 = 512;

/// Headers that one member may take: its own, and extended ones for a long name, a long link and numbers.
const HEADERS_PER_MEMBER: usize = 4;

impl TarIndex {
    /// Walks the archive from its first header to its end mark.
    pub(crate) fn build(walk: &mut dyn Walk, what: &str, limits: &Limits) -> Result<Self, ImageError> {
        let mut index = TarIndex::default();
        let mut extended = Extended::default();
        let mut last = what.to_owned();
        let mut count = 0usize;
        let mut headers = 0usize;
        loop {
            let header = match next_header(walk) {
                Ok(Some(header)) => header,
                Ok(None) => break,
                Err(error) if headers == 0 && error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(no_tar(what));
                }
                Err(error) => return Err(walk_error(error, &last, what)),
            };
            if !check_sum(&header) {
                return Err(match headers {
                    0 => no_tar(what),
                    _ => {
                        let rule = Rule::Header("its checksum does not hold".into());
                        ImageError::refused(format!("the member after {last}"), rule)
                    }
                });
            }
            headers += 1;
            if headers > limits.members.saturating_mul(HEADERS_PER_MEMBER) {
                return Err(ImageError::refused(what, Rule::TooManyMembers(limits.members)));
            }
            let kind = header.entry_type();
            let size =
                header.entry_size().map_err(|e| ImageError::refused(&last, Rule::Header(e.to_string())))?;
            match kind {
                EntryType::XHeader
                | EntryType::GNULongName
                | EntryType::GNULongLink
                | EntryType::XGlobalHeader => {
                    let bytes = read_extended(walk, size, &last, what)?;
                    extended.take(kind, &bytes, &last)?;
                    continue;
                }
                _ => {}
            }
            let Extended { name, link, size: long_size } = std::mem::take(&mut extended);
            let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
            let link = link.or_else(|| header.link_name_bytes().map(|l| l.into_owned()));
            let member =
                member::Header { kind, link, size: long_size.unwrap_or(size), offset: walk.position() };
            let (name, member) = member.check(&name)?;
            count += 1;
            if count > limits.members {
                return Err(ImageError::refused(what, Rule::TooManyMembers(limits.members)));
            }
            last.clone_from(&name);
            if let Member::File { size, .. } = member {
                // A length that no number holds once it is padded is longer than every archive.
                let padded = size
                    .checked_next_multiple_of(BLOCK)
                    .ok_or_else(|| ImageError::refused(&name, Rule::Truncated))?;
                walk.skip(padded).map_err(|error| walk_error(error, &name, what))?;
            }
            index.insert(name, member, what, limits)?;
        }
        walk.finish().map_err(|error| walk_error(error, &last, what))?;
        Ok(index)
    }

    fn insert(
        &mut self,
        name: String,
        member: Member,
        what: &str,
        limits: &Limits,
    ) -> Result<(), ImageError> {
        let target = if let Member::Link { target } = &member { target.len() } else { 0 };
        self.name_bytes += name.len() + target;
        if self.name_bytes > limits.name_bytes {
            return Err(ImageError::refused(what, Rule::TooManyNames(limits.name_bytes)));
        }
        match self.members.entry(name.into_boxed_str()) {
            Entry::Vacant(place) => drop(place.insert(member)),
            // A folder may be named as often as anybody likes: it has no content.
            Entry::Occupied(old) if matches!((old.get(), &member), (Member::Folder, Member::Folder)) => {}
            Entry::Occupied(old) => return Err(ImageError::refused(old.key().as_ref(), Rule::Duplicate)),
        }
        Ok(())
    }

    /// Whether the archive has nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The names that begin with the prefix, in order.
    pub(crate) fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        self.members
            .range::<str, _>(from)
            .map(|(name, _)| name.as_ref())
            .take_while(move |name| name.starts_with(prefix))
    }

    /// Where the file of this name lies, links followed; `None` if there is none or it is a folder.
    pub(crate) fn file(&self, name: &str, limits: &Limits) -> Result<Option<(u64, u64)>, ImageError> {
        let mut at = name;
        for _ in 0..=limits.links {
            match self.members.get(at) {
                Some(Member::File { offset, size }) => return Ok(Some((*offset, *size))),
                Some(Member::Link { target }) => at = target,
                Some(Member::Folder) => return Ok(None),
                None if at == name => return Ok(None),
                None => return Err(ImageError::refused(name, Rule::LinkDangles(legible(at, 300)))),
            }
        }
        Err(ImageError::refused(name, Rule::LinkLoop(limits.links)))
    }
}

impl Extended {
    fn take(&mut self, kind: EntryType, bytes: &[u8], after: &str) -> Result<(), ImageError> {
        let text = |bytes: &[u8]| bytes.split(|b| *b == 0).next().unwrap_or_default().to_vec();
        match kind {
            EntryType::GNULongName => self.name = Some(text(bytes)),
            EntryType::GNULongLink => self.link = Some(text(bytes)),
            EntryType::XHeader => {
                let damaged = |e: io::Error| {
                    ImageError::refused(
                        format!("the extended header after {after}"),
                        Rule::Header(e.to_string()),
                    )
                };
                for extension in tar::PaxExtensions::new(bytes) {
                    let extension = extension.map_err(damaged)?;
                    match extension.key_bytes() {
                        b"path" => self.name = Some(extension.value_bytes().to_vec()),
                        b"linkpath" => self.link = Some(extension.value_bytes().to_vec()),
                        b"size" => {
                            let size = extension.value().ok().and_then(|value| value.parse().ok());
                            self.size =
                                Some(size.ok_or_else(|| damaged(io::Error::other("its size is no number")))?);
                        }
                        key if key.starts_with(b"GNU.sparse.") => {
                            return Err(damaged(io::Error::other("the member after it is a sparse file")));
                        }
                        _ => {}
                    }
                }
            }
            // A global header carries comments (git archive writes one); nothing in it changes a member.
            _ => {}
        }
        Ok(())
    }
}

fn next_header(walk: &mut dyn Walk) -> io::Result<Option<tar::Header>> {
    let mut block = [0; BLOCK as usize];
    walk.read_exact(&mut block)?;
    if block.iter().all(|b| *b == 0) {
        return Ok(None);
    }
    Ok(Some(tar::Header::from_byte_slice(&block).clone()))
}

fn no_tar(what: &str) -> ImageError {
    ImageError::NotAnImage {
        what: what.to_owned(),
        found: "it is neither a tar archive, plain or packed, nor the table of contents of a Pulp export"
            .into(),
    }
}

fn check_sum(header: &tar::Header) -> bool {
    let bytes = header.as_bytes();
    // The sum is taken with its own eight bytes as spaces.
    let of = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let sum = of(&bytes[..148]) + of(&[b' '; 8]) + of(&bytes[156..]);
    header.cksum().is_ok_and(|claimed| claimed == sum)
}

fn read_extended(walk: &mut dyn Walk, size: u64, after: &str, what: &str) -> Result<Vec<u8>, ImageError> {
    if size > MAX_EXTENDED {
        let member = format!("the extended header after {after}");
        return Err(ImageError::refused(member, Rule::TooLarge { size, limit: MAX_EXTENDED }));
    }
    let mut bytes = vec![0; size.next_multiple_of(BLOCK) as usize];
    walk.read_exact(&mut bytes).map_err(|error| walk_error(error, after, what))?;
    bytes.truncate(size as usize);
    Ok(bytes)
}

/// An early end is the archive's fault, everything else the system's.
fn walk_error(error: io::Error, member: &str, what: &str) -> ImageError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ImageError::refused(member, Rule::Truncated),
        _ => match error.downcast::<ImageError>() {
            Ok(refused) => refused,
            Err(source) => ImageError::Read { what: what.to_owned(), source },
        },
    }
}
