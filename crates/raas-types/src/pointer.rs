//! The pointer object of a bucket, which names the snapshot that servers follow.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::crane::partition;
use crate::{Digest, ObjectKey, VendorName, null_as_default};

/// The content of `_metadata/current`. The parts that it names never change; a publication replaces the pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// The format of the pointer: [`Pointer::FORMAT`]. Older versions wrote none, which is read as 0.
    #[serde(default, deserialize_with = "null_as_default")]
    pub format: u32,
    /// The format of the parts: [`Pointer::PARTS_FORMAT`]. Older versions wrote none, which is read as 0.
    #[serde(default, deserialize_with = "null_as_default")]
    pub parts_format: u32,
    /// The commit of the record whose metadata the parts hold.
    pub revision: String,
    /// The number of commits that the record had. Within one record, the higher number is the later publication.
    pub sequence: u64,
    /// The time of writing in RFC 3339, by the publisher's clock.
    pub published: String,
    /// The vendor, by the publisher's name for it. Pointers of older versions do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<VendorName>,
    /// The snapshot: archives, each with the files that [`partition::part_of`] gives it. Pointers of older versions
    /// named one archive of all files, which raas does not read any more; they have no parts.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// The history of the record up to that commit: packs, each on top of those before it. Publishers read it, servers
    /// do not.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryPiece>,
    /// Keys that this raas does not know. A later version wrote them, and they stay.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// A part of a snapshot: an archive of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The archive's digest, which is in its key.
    pub digest: Digest,
    /// The archive's length in bytes.
    pub size: u64,
}

impl Part {
    /// Its key in the bucket.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::Snapshot(self.digest)
    }
}

/// A piece of the record's history, as git packs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPiece {
    /// The pack's digest, which is in its key.
    pub digest: Digest,
    /// The pack's length in bytes.
    pub size: u64,
    /// The last commit in the pack.
    pub tip: String,
}

impl HistoryPiece {
    /// Its key in the bucket.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::History { tip: self.tip.clone(), digest: self.digest }
    }
}

impl Pointer {
    /// The newest format of a pointer that this raas reads, and the format that it writes.
    pub const FORMAT: u32 = 1;

    /// The newest format of parts that this raas reads, and the format that it writes.
    pub const PARTS_FORMAT: u32 = 1;

    /// The longest pointer, in bytes, that raas reads.
    pub const MAX_SIZE: u64 = 64 * 1024;

    /// The longest snapshot, in bytes of all its parts, that raas reads.
    pub const MAX_SNAPSHOT: u64 = 256 * 1024 * 1024;

    /// Reads a pointer. Unknown keys are kept, so that later versions may add some.
    ///
    /// # Errors
    /// The bytes are not JSON of that form, the format is newer than this raas knows, the checksum is wrong, or pointer
    /// or snapshot are longer than servers read.
    pub fn parse(bytes: &[u8]) -> Result<Self, PointerError> {
        if bytes.len() as u64 > Self::MAX_SIZE {
            return Err(PointerError::Size);
        }
        /// Read first, since a newer format may lack keys or have other types.
        #[derive(Deserialize)]
        struct Formats {
            #[serde(default, deserialize_with = "null_as_default")]
            format: u32,
            #[serde(default, deserialize_with = "null_as_default")]
            parts_format: u32,
            checksum: Option<Digest>,
        }
        let Formats { format, parts_format, checksum } = serde_json::from_slice(bytes)?;
        // First, since a damaged number of a format is not a newer format. Every format computes the checksum in the
        // same way. Older versions wrote none.
        if let Some(checksum) = checksum
            && !is_checksum_of(&checksum, bytes)
        {
            return Err(PointerError::Checksum);
        }
        for (of, found, known) in
            [("pointer", format, Self::FORMAT), ("parts", parts_format, Self::PARTS_FORMAT)]
        {
            if found > known {
                return Err(PointerError::Newer { of, found, known });
            }
        }
        let mut pointer: Self = serde_json::from_slice(bytes)?;
        // `digest` and `size` are keys of older versions, for the single archive that they named.
        pointer.unknown.retain(|key, _| !["checksum", "digest", "size"].contains(&key.as_str()));
        // No version writes another key with a digest. So the name of `checksum` is damaged.
        if checksum.is_none() && pointer.unknown.values().any(is_digest) {
            return Err(PointerError::Checksum);
        }
        let tips = pointer.history.iter().map(|piece| &piece.tip);
        if !tips.chain([&pointer.revision]).all(|id| is_commit(id)) {
            return Err(PointerError::Revision);
        }
        if !(pointer.parts.is_empty() || partition::is_count(pointer.parts.len())) {
            return Err(PointerError::Parts(pointer.parts.len()));
        }
        let size = pointer.size();
        if size > Self::MAX_SNAPSHOT {
            return Err(PointerError::TooLong(size));
        }
        Ok(pointer)
    }

    /// The length of all parts together, in bytes.
    pub fn size(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.size))
    }

    /// The pointer's bytes. The last key is a checksum of all bytes, computed with zeros in its own place.
    pub fn to_bytes(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Written<'a> {
            #[serde(flatten)]
            pointer: &'a Pointer,
            checksum: &'a str,
        }
        let written = |checksum: &str| {
            let written = Written { pointer: self, checksum };
            let mut bytes = serde_json::to_vec_pretty(&written).expect("a pointer has text keys only");
            bytes.push(b'\n');
            bytes
        };
        written(&Digest::of(&written(NO_CHECKSUM)).to_string())
    }
}

fn is_digest(value: &serde_json::Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<Digest>().is_ok())
}

/// What stands for the checksum while it is computed.
const NO_CHECKSUM: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Whether the bytes, which contain the checksum, are those that it was computed from.
fn is_checksum_of(checksum: &Digest, bytes: &[u8]) -> bool {
    let text = checksum.to_string();
    let Some(at) = bytes.windows(text.len()).rposition(|window| window == text.as_bytes()) else {
        return false;
    };
    let mut without = bytes.to_vec();
    without[at..at + text.len()].copy_from_slice(NO_CHECKSUM.as_bytes());
    Digest::of(&without) == *checksum
}

fn is_commit(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Why bytes are not a pointer.
#[derive(Debug, thiserror::Error)]
pub enum PointerError {
    /// The bytes are not JSON, a key is missing, or a value has the wrong type.
    #[error("it is not a pointer: {0}")]
    Json(#[from] serde_json::Error),
    /// A format that only a newer raas knows.
    #[error("the format of the {of} is {found}; this raas knows formats up to {known}")]
    Newer {
        /// What has the format: the pointer or its parts.
        of: &'static str,
        /// The format that was found.
        found: u32,
        /// The newest format that this raas knows.
        known: u32,
    },
    /// The pointer itself is too long.
    #[error("it is longer than {max} bytes", max = Pointer::MAX_SIZE)]
    Size,
    /// The bytes are not those that were written.
    #[error("its checksum does not fit its content")]
    Checksum,
    /// `revision`, or a `tip` of the history, is not the id of a commit.
    #[error("its `revision` or a `tip` of its history is not the id of a commit")]
    Revision,
    /// The number of parts is not one that a snapshot can have.
    #[error("it names {0} parts, which is no power of two up to {most}", most = partition::MOST)]
    Parts(usize),
    /// The snapshot is longer than servers read.
    #[error("its snapshot has {0} bytes; at most {max} are read", max = Pointer::MAX_SNAPSHOT)]
    TooLong(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer() -> Pointer {
        Pointer {
            format: Pointer::FORMAT,
            parts_format: Pointer::PARTS_FORMAT,
            revision: "0123abc".into(),
            sequence: 3,
            published: "2026-01-01T00:00:00Z".into(),
            vendor: Some("acme".parse().unwrap()),
            parts: vec![Part { digest: Digest::of(b"archive"), size: 7 }],
            history: vec![HistoryPiece { digest: Digest::of(b"pack"), size: 4, tip: "beef".into() }],
            unknown: Map::new(),
        }
    }

    #[test]
    fn a_pointer_is_written_without_loss_and_nonsense_is_rejected() {
        let pointer = pointer();
        assert_eq!(Pointer::parse(&pointer.to_bytes()).unwrap(), pointer);
        let text = serde_json::to_string_pretty(&pointer).unwrap();
        for (from, to) in [
            ("0123abc", "../0123"),
            ("0123abc", ""),
            ("beef", "beef/"),
            (": 7", ": 268435457"),
            (": 7", ": -1"),
            ("sha256:", "sha512:"),
            ("digest", "digset"),
            ("}", ""),
        ] {
            assert!(Pointer::parse(text.replace(from, to).as_bytes()).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn unknown_keys_stay() {
        let text = serde_json::to_string(&pointer()).unwrap().replacen('{', "{\"later\": [1],", 1);
        let read = Pointer::parse(text.as_bytes()).unwrap();
        assert_eq!(read.unknown["later"], serde_json::json!([1]));
        let again = Pointer::parse(&read.to_bytes()).unwrap();
        assert_eq!(again, read);
        assert!(!again.unknown.contains_key("checksum"));
    }

    #[test]
    fn a_flipped_bit_in_any_byte_is_found() {
        let bytes = pointer().to_bytes();
        for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let error = Pointer::parse(&flipped).expect_err(&format!("bit {bit} of byte {at}"));
            assert!(!matches!(error, PointerError::Newer { .. }), "bit {bit} of byte {at}: {error}");
        }
    }

    #[test]
    fn a_pointer_of_an_older_version_is_read_and_has_no_parts() {
        let digest = Digest::of(b"archive");
        let older = format!(
            r#"{{"digest": "{digest}", "size": 7, "revision": "0123abc", "sequence": 3, "published": "2026-01-01T00:00:00Z"}}"#
        );
        let older = Pointer::parse(older.as_bytes()).unwrap();
        assert_eq!((older.revision.as_str(), older.vendor), ("0123abc", None));
        assert_eq!((older.parts, older.history), (vec![], vec![]));
        assert_eq!((older.format, older.parts_format), (0, 0));
    }

    #[test]
    fn a_pointer_of_a_newer_format_is_refused_whatever_else_it_has() {
        for (text, of) in [
            (r#"{"format": 2, "revision": ["of", "another", "type"]}"#, "pointer"),
            (r#"{"format": 1, "parts_format": 2}"#, "parts"),
        ] {
            let error = Pointer::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, PointerError::Newer { found: 2, known: 1, .. }), "{error}");
            assert_eq!(
                error.to_string(),
                format!("the format of the {of} is 2; this raas knows formats up to 1")
            );
        }
        let text = String::from_utf8(Pointer { format: 2, ..pointer() }.to_bytes()).unwrap();
        assert!(matches!(Pointer::parse(text.as_bytes()), Err(PointerError::Newer { found: 2, .. })));
        let damaged = text.replace("\"sequence\": 3", "\"sequence\": 2");
        assert!(matches!(Pointer::parse(damaged.as_bytes()), Err(PointerError::Checksum)));
    }

    #[test]
    fn the_number_and_the_size_of_parts_are_checked() {
        let part = |size| Part { digest: Digest::of(b"archive"), size };
        let with = |parts: Vec<Part>| Pointer::parse(&Pointer { parts, ..pointer() }.to_bytes());
        for count in [0, 1, 2, 64] {
            assert_eq!(with(vec![part(1); count]).unwrap().size(), count as u64);
        }
        for count in [3, 65, 128] {
            assert!(matches!(with(vec![part(1); count]), Err(PointerError::Parts(found)) if found == count));
        }
        assert!(with(vec![part(Pointer::MAX_SNAPSHOT / 2); 2]).is_ok());
        assert!(matches!(with(vec![part(Pointer::MAX_SNAPSHOT / 2 + 1); 2]), Err(PointerError::TooLong(_))));
        assert!(matches!(with(vec![part(u64::MAX); 2]), Err(PointerError::TooLong(_))));
    }

    #[test]
    fn the_longest_pointer_can_be_read() {
        let tip = "f".repeat(64);
        let piece = HistoryPiece { digest: Digest::of(b"pack"), size: u64::MAX, tip: tip.clone() };
        let part = Part { digest: Digest::of(b"archive"), size: Pointer::MAX_SNAPSHOT };
        let longest = Pointer {
            revision: tip,
            parts: vec![part; partition::MOST],
            history: vec![piece; 20],
            ..pointer()
        };
        assert!(longest.to_bytes().len() as u64 * 2 < Pointer::MAX_SIZE);
    }
}
