use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::super::intake;
use super::super::shelf::Shelf;
use super::*;
use crate::catalog::Files as _;

pub(in crate::watch) const REVISION: &str = "0123abc";

/// A tar with these members, and its revision first.
fn tar(members: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (path, kind, bytes) in [("revision", EntryType::Regular, REVISION.as_bytes())].iter().chain(members) {
        let mut header = Header::new_gnu();
        // As bytes, since the library refuses names that are no good.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// An archive as it is published, with these files after its revision.
pub(in crate::watch) fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let revision = [("revision".to_owned(), REVISION.as_bytes().to_vec())];
    for (path, bytes) in revision.iter().chain(files) {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn unpack(packed: &[u8]) -> Result<Held, ArchiveError> {
    Held::unpack(packed, REVISION, Limits { unpacked: 64 * 1024, files: 4 }, |_| true)
}

#[test]
fn documents_and_what_lies_beside_them_are_found() {
    let file = EntryType::Regular;
    let packed = pack(&tar(&[
        ("crane/data/app.json", file, b"one"),
        ("crane/data/app/_v1.json", file, b"two"),
        ("crane/data/app/_manifests/sha256/ab.json", file, b"three"),
    ]));
    let held = unpack(&packed).unwrap();
    let paths: Vec<String> = held.documents().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["crane/data/app.json", "crane/data/app/_v1.json"]);
    assert_eq!(held.read("crane/data/app.json", 2).unwrap().as_ref(), b"on");
    assert!(held.read("revision", 9).is_err());
    let some = Held::unpack(&packed, REVISION, Limits::default(), |path| path.ends_with("_v1.json")).unwrap();
    assert_eq!(some.file("crane/data/app/_v1.json").unwrap(), b"two");
    assert!(some.file("crane/data/app.json").is_err());
}

#[test]
fn what_an_archive_may_not_hold_refuses_all_of_it() {
    let (file, data) = (EntryType::Regular, "crane/data/a.json");
    let long = vec![0; 70_000];
    let table: Vec<(Vec<u8>, &str)> = vec![
        (tar(&[("crane/data/../../etc/x.json", file, b"")]), "neither"),
        (tar(&[("/etc/passwd", file, b"")]), "neither"),
        (tar(&[("crane/data//x.json", file, b"")]), "neither"),
        (tar(&[("crane/dataset/x.json", file, b"")]), "neither"),
        (tar(&[("other", file, b"")]), "neither"),
        (tar(&[(data, EntryType::Symlink, b"")]), "not a regular file"),
        (tar(&[(data, EntryType::Link, b"")]), "not a regular file"),
        (tar(&[("crane/data/a", EntryType::Directory, b"")]), "not a regular file"),
        (tar(&[(data, EntryType::Fifo, b"")]), "not a regular file"),
        (tar(&[(data, file, b""), (data, file, b"")]), "twice"),
        (tar(&[(data, file, &long)]), "more than 65536 bytes"),
        (
            tar(&[
                ("crane/data/1", file, b""),
                ("crane/data/2", file, b""),
                ("crane/data/3", file, b""),
                ("crane/data/4", file, b""),
            ]),
            "more than 4 files",
        ),
        ([tar(&[]), vec![0; 100_000]].concat(), "more than 65536 bytes"),
        (tar(&[("revision", file, b"other")]), "twice"),
        (b"no tar".to_vec(), "unpacked"),
        (Vec::new(), "not the pointer's"),
        (tar(&[(data, file, b"12345")])[..1030].to_vec(), "unpacked"),
        (tar(&[(data, file, b"12345")])[..1537].to_vec(), "unpacked"),
    ];
    let limits = Limits { unpacked: 64 * 1024, files: 4 };
    let passed = |packed: &[u8], revision: &str| {
        let shelf = Shelf::new(String::new(), Arc::default());
        intake::read(packed, revision, limits, &shelf).map(|_| ())
    };
    for (tar, reason) in table {
        let packed = pack(&tar);
        for refused in [unpack(&packed).map(|_| ()), passed(&packed, REVISION)] {
            let error = refused.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(reason), "{reason}: {error}");
        }
    }
    let whole = pack(&tar(&[(data, file, b"12345")]));
    assert!(passed(&whole, REVISION).is_ok());
    for (packed, what) in
        [(&b"no gzip"[..], "no gzip"), (&whole[..whole.len() - 4], "its checksum is missing")]
    {
        assert!(unpack(packed).is_err() && passed(packed, REVISION).is_err(), "{what}");
    }
    let mut wrong = whole.clone();
    let checksum = wrong.len() - 8;
    wrong[checksum] ^= 1;
    assert!(unpack(&wrong).is_err() && passed(&wrong, REVISION).is_err(), "its checksum is another");
    let other = Held::unpack(&whole, "other", Limits::default(), |_| true);
    assert!(matches!(other, Err(ArchiveError::Revision)));
    assert!(matches!(passed(&whole, "other"), Err(ArchiveError::Revision)));
}

#[test]
fn what_is_longer_than_the_pieces_that_are_unpacked_arrives_whole() {
    let long: Vec<u8> = (0..700_001_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    let files = ["a", "b.json", "c"].map(|name| (format!("crane/data/{name}"), long.clone()));
    let packed = archive(&files);
    for wanted in ["crane/data/a", "crane/data/b.json", "crane/data/c"] {
        let held = Held::unpack(&packed, REVISION, Limits::default(), |path| path == wanted).unwrap();
        assert!(held.file(wanted).unwrap() == long, "{wanted}");
    }
}
