//! The objects of git: commits, trees and files, in the form in which git stores them.
//!
//! raas reads them strictly. An object that git did not write so is damaged.

/// An object.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) id: String,
    pub(crate) kind: ObjectKind,
    pub(crate) bytes: Vec<u8>,
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Commit,
    Tree,
    /// The content of a file.
    Blob,
    Tag,
}

impl ObjectKind {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "commit" => Some(Self::Commit),
            "tree" => Some(Self::Tree),
            "blob" => Some(Self::Blob),
            "tag" => Some(Self::Tag),
            _ => None,
        }
    }

    /// The most bytes of such an object that raas reads into memory. A tree of a million files has about as many.
    pub(crate) fn largest(self) -> Option<u64> {
        match self {
            Self::Tree | Self::Commit => Some(64 << 20),
            Self::Blob | Self::Tag => None,
        }
    }

    /// What is wrong with an object that is not of this kind.
    pub(crate) fn missing(self) -> &'static str {
        match self {
            Self::Commit => "it is no commit",
            Self::Tree => "it is no tree",
            Self::Blob => "it is no file",
            Self::Tag => "it is no tag",
        }
    }
}

/// What raas needs of a commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CommitFacts {
    pub(crate) tree: String,
    pub(crate) parents: Vec<String>,
}

impl CommitFacts {
    /// Reads a commit of a repository whose ids have this many digits; `None` if it is damaged.
    pub(crate) fn parse(bytes: &[u8], digits: usize) -> Option<Self> {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let id = |line: &[u8], name: &str| {
            let id = line.strip_prefix(name.as_bytes())?;
            let is_id = id.len() == digits && id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            is_id.then(|| String::from_utf8_lossy(id).into_owned())
        };
        let tree = id(lines.next()?, "tree ")?;
        let mut parents = Vec::new();
        loop {
            let line = lines.next()?;
            if line.starts_with(b"author ") {
                return Some(Self { tree, parents });
            }
            parents.push(id(line, "parent ")?);
        }
    }
}

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeEntry<'a> {
    pub(crate) kind: EntryKind,
    pub(crate) name: &'a str,
    /// The id, as bytes.
    id: &'a [u8],
}

/// What an entry of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Folder,
    /// A regular file, and whether it can be executed.
    File {
        executable: bool,
    },
    Link,
    /// A commit of another repository.
    Submodule,
}

impl TreeEntry<'_> {
    fn sorted_by(&self) -> impl Iterator<Item = u8> {
        self.name.bytes().chain((self.kind == EntryKind::Folder).then_some(b'/'))
    }

    /// The id in hex digits.
    pub(crate) fn id(&self) -> String {
        let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
        self.id.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    /// Whether both entries are the same content of the same kind.
    pub(crate) fn has_content_of(&self, other: &TreeEntry<'_>) -> bool {
        self.kind == other.kind && self.id == other.id
    }
}

/// Reads a tree of a repository whose ids have this many hex digits.
///
/// # Errors
/// What is wrong with the tree.
pub(crate) fn tree_entries(mut bytes: &[u8], digits: usize) -> Result<Vec<TreeEntry<'_>>, &'static str> {
    // <mode> SP <name> NUL <id, as bytes>
    let mut entries: Vec<TreeEntry<'_>> = Vec::new();
    while !bytes.is_empty() {
        let (mode, rest) = split_at_byte(bytes, b' ').ok_or("an entry has no mode")?;
        let (name, rest) = split_at_byte(rest, 0).ok_or("the name of an entry has no end")?;
        let (id, rest) = rest.split_at_checked(digits / 2).ok_or("an entry has no whole id")?;
        let kind = EntryKind::parse(mode).ok_or("an entry has an unknown mode")?;
        let name = str::from_utf8(name).map_err(|_| "a name is not UTF-8")?;
        if name.is_empty() || name.contains('/') {
            return Err("an entry has no proper name");
        }
        let entry = TreeEntry { kind, name, id };
        if entries.last().is_some_and(|last| !comes_before(last, &entry)) {
            return Err("its entries are not in order");
        }
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}

/// The entry with this name.
///
/// # Errors
/// As [`tree_entries`].
pub(crate) fn tree_entry<'a>(
    bytes: &'a [u8],
    digits: usize,
    name: &str,
) -> Result<Option<TreeEntry<'a>>, &'static str> {
    Ok(tree_entries(bytes, digits)?.into_iter().find(|entry| entry.name == name))
}

/// Whether git stores one entry before the other. To git, the name of a folder ends with a slash.
fn comes_before(one: &TreeEntry<'_>, other: &TreeEntry<'_>) -> bool {
    one.name != other.name && one.sorted_by().lt(other.sorted_by())
}

impl EntryKind {
    fn parse(mode: &[u8]) -> Option<Self> {
        match mode {
            b"40000" => Some(Self::Folder),
            // Very old versions of git wrote the last of these.
            b"100644" | b"100664" => Some(Self::File { executable: false }),
            b"100755" => Some(Self::File { executable: true }),
            b"120000" => Some(Self::Link),
            b"160000" => Some(Self::Submodule),
            _ => None,
        }
    }
}

fn split_at_byte(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|found| *found == byte)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of a tree, with an id of 20 equal bytes.
    fn entry(mode: &str, name: &str, id: u8) -> Vec<u8> {
        [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &[id; 20]].concat()
    }

    #[test]
    fn a_tree_is_read_as_git_writes_it() {
        // To git, the folder `a` is `a/`, which comes after `a.b`.
        let entries = [
            ("100644", "a.b", 1),
            ("40000", "a", 0xab),
            ("100755", "b", 3),
            ("120000", "c", 4),
            ("160000", "d", 5),
        ];
        let bytes = entries.map(|(mode, name, id)| entry(mode, name, id)).concat();
        let found = tree_entries(&bytes, 40).unwrap();
        let kinds: Vec<(EntryKind, &str)> = found.iter().map(|entry| (entry.kind, entry.name)).collect();
        assert_eq!(
            kinds,
            [
                (EntryKind::File { executable: false }, "a.b"),
                (EntryKind::Folder, "a"),
                (EntryKind::File { executable: true }, "b"),
                (EntryKind::Link, "c"),
                (EntryKind::Submodule, "d"),
            ]
        );
        assert_eq!(found[1].id(), "ab".repeat(20));
        assert_eq!(tree_entries(b"", 40).unwrap(), []);
        assert_eq!(tree_entry(&bytes, 40, "b").unwrap().unwrap().id(), "03".repeat(20));
        assert_eq!(tree_entry(&bytes, 40, "x").unwrap(), None);
        // SHA-256
        let long = [b"40000 a\0".as_slice(), &[7; 32]].concat();
        assert_eq!(tree_entries(&long, 64).unwrap()[0].id(), "07".repeat(32));
    }

    #[test]
    fn a_damaged_tree_is_refused() {
        let good = entry("100644", "a", 1);
        let table: Vec<Vec<u8>> = vec![
            entry("100644", "", 1),
            entry("100644", "a/b", 1),
            entry("040000", "a", 1),
            entry("100600", "a", 1),
            entry("", "a", 1),
            b"100644 \xff\0aaaaaaaaaaaaaaaaaaaa".to_vec(),
            [good.clone(), good.clone()].concat(),
            [entry("40000", "a", 1), good.clone()].concat(),
            [entry("40000", "a", 1), entry("100644", "a.b", 2)].concat(),
            [entry("100644", "b", 1), good.clone()].concat(),
        ];
        for bytes in table {
            tree_entries(&bytes, 40).unwrap_err();
        }
        for end in 1..good.len() {
            tree_entries(&good[..end], 40).unwrap_err();
        }
        tree_entries(&good, 64).unwrap_err();
    }

    #[test]
    fn a_commit_is_read_as_git_writes_it() {
        let (tree, one, two) = ("a".repeat(40), "1".repeat(40), "2".repeat(40));
        let text = format!(
            "tree {tree}\nparent {one}\nparent {two}\nauthor A <a@x> 1 +0000\ncommitter A <a@x> 1 +0000\n\nparent x\n"
        );
        let facts = CommitFacts { tree: tree.clone(), parents: vec![one, two] };
        assert_eq!(CommitFacts::parse(text.as_bytes(), 40), Some(facts));
        for damaged in [
            "".to_owned(),
            format!("tree {tree}"),
            format!("tree {tree}\n"),
            text.replacen("tree a", "tree A", 1),
            text.replacen("parent 1", "parent ", 1),
            text.replacen("parent 1", "paren 1", 1),
            text.replacen("tree", "eert", 1),
        ] {
            assert_eq!(CommitFacts::parse(damaged.as_bytes(), 40), None, "{damaged}");
        }
    }
}
