//! The index of a tar archive: the place of each member's bytes, from one walk over the headers.
//!
//! The `tar` crate reads the fields of a header. The walk is not the crate's, for two reasons: the crate reads an
//! extended header of any length into memory, and the same walk must serve a file, where it skips the data, and a
//! stream, where it writes the data to a file.

mod member;
mod path;
mod walk;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read};
use std::sync::{Arc, OnceLock};

use tar::EntryType;

use crate::bytes::{ReadAt, Section};
use crate::error::legible;
use crate::{ImageError, Limits, Rule};
pub(crate) use member::Member;
pub(crate) use path::normalise;
pub(crate) use walk::{SeekWalk, SpoolWalk, Walk};

/// The members of an archive by their normalised names.
#[derive(Debug, Default)]
pub(crate) struct TarIndex {
    members: BTreeMap<Box<str>, Member>,
    /// Earlier members of the same name. As tar does, raas reads the last one.
    replaced: BTreeMap<Box<str>, Replaced>,
    name_bytes: usize,
    has_end_mark: bool,
    notes: Vec<String>,
}

/// Members that a later one of the same name replaces.
#[derive(Debug, Default)]
struct Replaced {
    members: Vec<Member>,
    /// Whether all of them equal the last one, once somebody has read the member.
    are_equal: OnceLock<bool>,
}

/// The values of extended headers for the member behind them.
#[derive(Default)]
pub(crate) struct Extended {
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
}

/// The most bytes of an extended header, which holds a name, a link and some numbers.
const MAX_EXTENDED: u64 = 1024 * 1024;
const BLOCK: u64 = 512;

/// The most headers of one member: its own, and extended ones for a long name, a long link and numbers.
const HEADERS_PER_MEMBER: usize = 4;

impl TarIndex {
    /// Walks over the archive from its first header to its end mark.
    pub(crate) fn build(walk: &mut dyn Walk, what: &str, limits: &Limits) -> Result<Self, ImageError> {
        let mut index = TarIndex { has_end_mark: true, ..TarIndex::default() };
        let mut extended = Extended::default();
        let mut last = what.to_owned();
        let mut count = 0usize;
        let mut headers = 0usize;
        loop {
            let header = match next_header(walk) {
                Ok(Next::Header(header)) => header,
                Ok(Next::EndMark) => break,
                Ok(Next::End) if headers > 0 && extended.is_empty() => {
                    index.has_end_mark = false;
                    index
                        .notes
                        .push("the archive has no end mark; all members up to its end are whole".to_owned());
                    break;
                }
                Err(error) if headers == 0 && error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(no_tar(what));
                }
                Ok(Next::End) if headers == 0 => return Err(no_tar(what)),
                Ok(Next::End) => return Err(ImageError::refused(&last, Rule::Truncated)),
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
                // The size in a hostile header may overflow with its padding. Such a member is longer than any archive.
                let padded = size
                    .checked_next_multiple_of(BLOCK)
                    .ok_or_else(|| ImageError::refused(&name, Rule::Truncated))?;
                walk.skip(size).map_err(|error| walk_error(error, &name, what))?;
                // At the end of the archive the padding may be missing like the end mark.
                let mut padding = [0; BLOCK as usize];
                let padding = &mut padding[..(padded - size) as usize];
                walk.read_up_to(padding).map_err(|error| walk_error(error, &name, what))?;
            }
            index.insert(name, member, what, limits)?;
        }
        walk.finish().map_err(|error| walk_error(error, &last, what))?;
        if !index.replaced.is_empty() {
            let first = index.replaced.keys().next().map(|name| legible(name, 100)).unwrap_or_default();
            index.notes.push(match index.replaced.len() {
                1 => format!("the archive has the member `{first}` more than once; the last one is read"),
                count => format!(
                    "the archive has {count} members more than once, such as `{first}`; the last one of each is read"
                ),
            });
        }
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
            // A folder has no content.
            Entry::Occupied(old) if matches!((old.get(), &member), (Member::Folder, Member::Folder)) => {}
            Entry::Occupied(mut old) => {
                let replaced = old.insert(member);
                self.replaced.entry(old.key().clone()).or_default().members.push(replaced);
            }
        }
        Ok(())
    }

    /// Whether the archive has no member.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The names with this prefix, in order.
    pub(crate) fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        self.members
            .range::<str, _>(from)
            .map(|(name, _)| name.as_ref())
            .take_while(move |name| name.starts_with(prefix))
    }

    /// Whether the archive ends with an end mark. Without one it may be truncated between two members.
    pub(crate) fn has_end_mark(&self) -> bool {
        self.has_end_mark
    }

    /// What the user should know about the archive.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The offset and the size of the file with this name, with links followed; `None` if there is none or it is a
    /// folder. `bytes` are those of the archive.
    pub(crate) fn file(
        &self,
        name: &str,
        bytes: &Arc<dyn ReadAt>,
        limits: &Limits,
    ) -> Result<Option<(u64, u64)>, ImageError> {
        let mut at = name;
        for _ in 0..=limits.links {
            let member = self.members.get(at);
            if let (Some(member), Some(replaced)) = (member, self.replaced.get(at))
                && !replaced.are_equal_to(member, bytes).map_err(ImageError::read(at))?
            {
                return Err(ImageError::refused(at, Rule::Duplicate));
            }
            match member {
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

impl Replaced {
    /// Whether all members equal the last one of their name.
    fn are_equal_to(&self, last: &Member, bytes: &Arc<dyn ReadAt>) -> io::Result<bool> {
        if let Some(known) = self.are_equal.get() {
            return Ok(*known);
        }
        let mut equal = true;
        for member in &self.members {
            equal &= match (member, last) {
                (Member::File { offset, size }, Member::File { offset: last_offset, size: last_size }) => {
                    let stretch = |offset| Section::new(bytes.clone(), offset, *size);
                    size == last_size && have_equal_bytes(stretch(*offset), stretch(*last_offset))?
                }
                (Member::Link { target }, Member::Link { target: last }) => target == last,
                _ => false,
            };
            if !equal {
                break;
            }
        }
        Ok(*self.are_equal.get_or_init(|| equal))
    }
}

/// Whether two stretches of the same length have the same bytes.
fn have_equal_bytes(mut one: Section, mut other: Section) -> io::Result<bool> {
    const PIECE: u64 = 64 * 1024;
    let (mut a, mut b) = (Vec::new(), Vec::new());
    loop {
        a.clear();
        b.clear();
        one.by_ref().take(PIECE).read_to_end(&mut a)?;
        other.by_ref().take(PIECE).read_to_end(&mut b)?;
        if a != b {
            return Ok(false);
        }
        if a.is_empty() {
            return Ok(true);
        }
    }
}

impl Extended {
    fn is_empty(&self) -> bool {
        self.name.is_none() && self.link.is_none() && self.size.is_none()
    }

    pub(crate) fn take(&mut self, kind: EntryType, bytes: &[u8], after: &str) -> Result<(), ImageError> {
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
            // A global header holds comments, such as those of `git archive`, which change no member.
            _ => {}
        }
        Ok(())
    }
}

/// What stands at the place of a header.
pub(crate) enum Next {
    Header(Box<tar::Header>),
    /// A block of zeros.
    EndMark,
    /// The end of the bytes at the place of a header.
    End,
}

pub(crate) fn next_header(walk: &mut dyn Walk) -> io::Result<Next> {
    let mut block = [0; BLOCK as usize];
    match walk.read_up_to(&mut block)? {
        0 => return Ok(Next::End),
        read if read < block.len() => return Err(io::ErrorKind::UnexpectedEof.into()),
        _ => {}
    }
    if block.iter().all(|b| *b == 0) {
        return Ok(Next::EndMark);
    }
    Ok(Next::Header(Box::new(tar::Header::from_byte_slice(&block).clone())))
}

fn no_tar(what: &str) -> ImageError {
    ImageError::NotAnImage {
        what: what.to_owned(),
        found: "it is neither a tar archive, plain or packed, nor the table of contents of a Pulp export"
            .into(),
    }
}

pub(crate) fn check_sum(header: &tar::Header) -> bool {
    let bytes = header.as_bytes();
    // The checksum counts its own eight bytes as spaces.
    let of = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let sum = of(&bytes[..148]) + of(&[b' '; 8]) + of(&bytes[156..]);
    header.cksum().is_ok_and(|claimed| claimed == sum)
}

pub(crate) fn read_extended(
    walk: &mut dyn Walk,
    size: u64,
    after: &str,
    what: &str,
) -> Result<Vec<u8>, ImageError> {
    if size > MAX_EXTENDED {
        let member = format!("the extended header after {after}");
        return Err(ImageError::refused(member, Rule::TooLarge { size, limit: MAX_EXTENDED }));
    }
    let mut bytes = vec![0; size.next_multiple_of(BLOCK) as usize];
    walk.read_exact(&mut bytes).map_err(|error| walk_error(error, after, what))?;
    bytes.truncate(size as usize);
    Ok(bytes)
}

/// An early end is a fault of the archive, any other error one of the system.
pub(crate) fn walk_error(error: io::Error, member: &str, what: &str) -> ImageError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ImageError::refused(member, Rule::Truncated),
        _ => match error.downcast::<ImageError>() {
            Ok(refused) => refused,
            Err(source) => ImageError::Read { what: what.to_owned(), source },
        },
    }
}
