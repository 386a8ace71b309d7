//! The pointer object of a bucket: which archive of metadata is served.

use serde::{Deserialize, Serialize};

use crate::{Digest, ObjectKey, VendorName};

/// What `_metadata/current` says. The archive that it names never changes; the pointer is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// The archive's digest, and so its key.
    pub digest: Digest,
    /// The archive's length in bytes.
    pub size: u64,
    /// The commit of the record whose metadata the archive holds.
    pub revision: String,
    /// How many commits the record had then: the greater, the later, within one record.
    pub sequence: u64,
    /// When the pointer was written, as in RFC 3339, by the publisher's clock.
    pub published: String,
    /// The vendor, as whoever published calls it. Older versions did not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<VendorName>,
    /// The history of the record up to that commit, for others who publish: packs, each on top of those before it.
    /// Servers need none of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryPiece>,
}

/// A part of the record's history, as git packs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPiece {
    /// The pack's digest, and so its key.
    pub digest: Digest,
    /// The pack's length in bytes.
    pub size: u64,
    /// The last commit in it.
    pub tip: String,
}

impl HistoryPiece {
    /// Its key in the bucket.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::History { tip: self.tip.clone(), digest: self.digest }
    }
}

impl Pointer {
    /// The longest pointer, in bytes, that raas reads.
    pub const MAX_SIZE: u64 = 16 * 1024;

    /// The longest archive, in bytes, that raas reads.
    pub const MAX_ARCHIVE: u64 = 256 * 1024 * 1024;

    /// Reads a pointer. Keys that are not known are left, so that later versions may add some.
    ///
    /// # Errors
    /// It is not JSON of that form, or names an archive that is too long to be read.
    pub fn parse(bytes: &[u8]) -> Result<Self, PointerError> {
        let pointer: Self = serde_json::from_slice(bytes)?;
        let tips = pointer.history.iter().map(|piece| &piece.tip);
        if !tips.chain([&pointer.revision]).all(|id| is_commit(id)) {
            return Err(PointerError::Revision);
        }
        if pointer.size > Self::MAX_ARCHIVE {
            return Err(PointerError::TooLong(pointer.size));
        }
        Ok(pointer)
    }

    /// The pointer's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a pointer has text keys only");
        bytes.push(b'\n');
        bytes
    }
}

fn is_commit(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Why bytes are not a pointer.
#[derive(Debug, thiserror::Error)]
pub enum PointerError {
    /// Not JSON, a key missing, or a value of the wrong type.
    #[error("it is no pointer: {0}")]
    Json(#[from] serde_json::Error),
    /// `revision`, or a `tip` of the history, is not the id of a commit.
    #[error("its `revision` or a `tip` of its history is not the id of a commit")]
    Revision,
    /// More than a server reads.
    #[error("its archive has {0} bytes; at most {max} are read", max = Pointer::MAX_ARCHIVE)]
    TooLong(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_survives_writing_and_nonsense_does_not_pass() {
        let pointer = Pointer {
            digest: Digest::of(b"archive"),
            size: 7,
            revision: "0123abc".into(),
            sequence: 3,
            published: "2026-01-01T00:00:00Z".into(),
            vendor: Some("acme".parse().unwrap()),
            history: vec![HistoryPiece { digest: Digest::of(b"pack"), size: 4, tip: "beef".into() }],
        };
        assert_eq!(Pointer::parse(&pointer.to_bytes()).unwrap(), pointer);
        let text = String::from_utf8(pointer.to_bytes()).unwrap();
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
        assert!(Pointer::parse(text.replacen('{', "{\"later\": [1],", 1).as_bytes()).is_ok());
        let (before, _) = text.split_once(",\n  \"vendor\"").unwrap();
        let older = Pointer::parse(format!("{before}}}").as_bytes()).unwrap();
        assert_eq!((older.history, older.vendor), (vec![], None));
    }
}
