use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use raas_testkit::snapshot::archive;
use tar::{Builder, EntryType, Header};

use super::*;
use crate::catalog::MemoryBudget;

const ONLY: PartIndex = PartIndex { at: 0, parts: 1 };

/// A tar with these members.
fn tar(members: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (path, kind, bytes) in members {
        let mut header = Header::new_gnu();
        // The library would reject invalid names.
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

fn allowance(bytes: u64, files: u64) -> Allowance {
    Allowance::beside(std::iter::empty(), Limits { bytes, files })
}

/// Enough memory for every test.
fn memory() -> MemoryCharge {
    MemoryBudget::new(1 << 30).empty_charge()
}

fn unpack(packed: &[u8]) -> Result<UnpackedPart, ArchiveError> {
    UnpackedPart::unpack(packed, ONLY, &allowance(64 * 1024, 3), memory())
}

#[test]
fn documents_and_manifests_are_found_in_any_order() {
    let file = EntryType::Regular;
    let mut members = [
        ("crane/data/app.json", file, &b"one"[..]),
        ("crane/data/app/_manifests/sha256/ab.json", file, b"three"),
        ("crane/data/app/_v1.json", file, b"two"),
    ];
    for _ in 0..members.len() {
        members.rotate_left(1);
        let held = unpack(&pack(&tar(&members))).unwrap();
        let documents: Vec<(&str, &[u8])> = held.documents().collect();
        assert_eq!(documents, [("crane/data/app.json", &b"one"[..]), ("crane/data/app/_v1.json", b"two")]);
        assert_eq!(held.read("crane/data/app.json", 2).unwrap().as_ref(), b"on");
        assert_eq!(held.read("crane/data/app/_manifests/sha256/ab.json", 9).unwrap().as_ref(), b"three");
        assert!(held.read("crane/data/app", 9).is_err());
        assert_eq!(held.used().files, 3);
    }
}

#[test]
fn a_forbidden_member_makes_the_whole_archive_invalid() {
    let (file, data) = (EntryType::Regular, "crane/data/a.json");
    let long = vec![0; 70_000];
    let table: Vec<(Vec<u8>, &str)> = vec![
        (tar(&[("crane/data/../../etc/x.json", file, b"")]), "not a file of"),
        (tar(&[("/etc/passwd", file, b"")]), "not a file of"),
        (tar(&[("crane/data//x.json", file, b"")]), "not a file of"),
        (tar(&[("crane/data", file, b"")]), "not a file of"),
        (tar(&[("crane/dataset/x.json", file, b"")]), "not a file of"),
        (tar(&[("revision", file, b"")]), "not a file of"),
        (tar(&[("././@LongLink", EntryType::GNULongName, &long[..5000]), (data, file, b"")]), "5000 bytes"),
        (tar(&[("pax", EntryType::XHeader, &long[..5000]), (data, file, b"")]), "5000 bytes"),
        (tar(&[(data, EntryType::Symlink, b"")]), "not a regular file"),
        (tar(&[(data, EntryType::Link, b"")]), "not a regular file"),
        (tar(&[("crane/data/a", EntryType::Directory, b"")]), "not a regular file"),
        (tar(&[(data, EntryType::Fifo, b"")]), "not a regular file"),
        (tar(&[(data, EntryType::Char, b"")]), "not a regular file"),
        (tar(&[(data, file, b""), (data, file, b"")]), "twice"),
        (tar(&[(data, file, &long)]), "more than 65536 bytes"),
        (
            tar(&[
                ("crane/data/1", file, b""),
                ("crane/data/2", file, b""),
                ("crane/data/3", file, b""),
                ("crane/data/4", file, b""),
            ]),
            "more than 3 files",
        ),
        ([tar(&[]), vec![0; 100_000]].concat(), "more than 65536 bytes"),
        (b"no tar".to_vec(), "unpacked"),
        // Cut in a header, in a file, and in a file whose header claims more than the whole archive has.
        (tar(&[(data, file, b"12345")])[..500].to_vec(), "unpacked"),
        (tar(&[(data, file, b"12345")])[..516].to_vec(), "unpacked"),
        (tar(&[(data, file, &long)])[..40_000].to_vec(), "unpacked"),
    ];
    for (tar, reason) in table {
        let error = unpack(&pack(&tar)).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn a_damaged_gzip_is_refused() {
    let whole = pack(&tar(&[("crane/data/a.json", EntryType::Regular, b"12345")]));
    assert!(unpack(&whole).is_ok());
    let refused = |packed: &[u8], what: &str| {
        let error = unpack(packed).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("unpacked")), "{what}");
    };
    refused(b"no gzip", "no gzip");
    refused(b"", "nothing");
    refused(&whole[..whole.len() - 4], "its length is missing");
    refused(&whole[..whole.len() / 2], "it broke off");
    for (from_end, what) in [(8, "its checksum is another"), (4, "its length is another")] {
        let mut wrong = whole.clone();
        let at = wrong.len() - from_end;
        wrong[at] ^= 1;
        refused(&wrong, what);
    }
    for rest in [&b"\0"[..], &whole] {
        let error = unpack(&[&whole, rest].concat()).err();
        assert!(matches!(error, Some(ArchiveError::Trailing)), "{error:?}");
    }
}

#[test]
fn a_file_of_another_part_is_refused() {
    let files: Vec<(String, Vec<u8>)> =
        ["app", "team/app"].map(|name| (tree::document(&name.parse().unwrap()), b"{}".to_vec())).into();
    let parts = [0, 1].map(|at| PartIndex { at, parts: 2 });
    // The first byte of the digest of the first name is odd, of the second name even.
    assert!(parts[1].has(&files[0].0) && parts[0].has(&files[1].0));
    for (file, own, other) in [(&files[0], parts[1], parts[0]), (&files[1], parts[0], parts[1])] {
        let packed = archive(std::slice::from_ref(file));
        assert_eq!(
            UnpackedPart::unpack(&packed, own, &allowance(9999, 9), memory()).unwrap().used().files,
            1
        );
        let refused = UnpackedPart::unpack(&packed, other, &allowance(9999, 9), memory());
        assert!(matches!(refused, Err(ArchiveError::Part(path)) if path == file.0));
    }
}

#[test]
fn the_limits_hold_for_all_parts_together() {
    let packed = archive(&[("crane/data/a.json".into(), vec![1; 3000])]);
    let used = UnpackedPart::unpack(&packed, ONLY, &allowance(9999, 9), memory()).unwrap().used();
    let limits = Limits { bytes: 3 * used.bytes, files: 3 };
    let both = Allowance::beside([used].into_iter(), limits);
    assert!((0..2).all(|_| UnpackedPart::unpack(&packed, ONLY, &both, memory()).is_ok()));
    assert!(matches!(UnpackedPart::unpack(&packed, ONLY, &both, memory()), Err(ArchiveError::TooLong(_))));
    let few = Allowance::beside([used].into_iter(), Limits { files: 1, ..limits });
    assert!(matches!(UnpackedPart::unpack(&packed, ONLY, &few, memory()), Err(ArchiveError::TooMany(1))));
    let none = Allowance::beside([used; 9].into_iter(), limits);
    assert!(matches!(UnpackedPart::unpack(&packed, ONLY, &none, memory()), Err(ArchiveError::TooLong(_))));
}

#[test]
fn what_is_unpacked_takes_memory_of_the_site() {
    let packed = archive(&[("crane/data/a.json".into(), vec![0; 3_000_000])]);
    let budget = MemoryBudget::new(4_000_000);
    let allowance = allowance(1 << 30, 9);
    let unpack = || UnpackedPart::unpack(&packed, ONLY, &allowance, budget.empty_charge());
    let held = unpack().unwrap();
    assert!(budget.used() >= held.used().bytes);
    assert!(matches!(unpack().err(), Some(ArchiveError::Memory(_))));
    drop(held);
    assert_eq!(budget.used(), 0);
    assert!(unpack().is_ok());
}

#[test]
fn files_longer_than_one_read_are_unpacked_whole() {
    let long: Vec<u8> = (0..700_001_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    let names = ["a", "b.json", "c"].map(|name| format!("crane/data/{name}"));
    let packed = archive(&names.clone().map(|name| (name, long.clone())));
    let held = UnpackedPart::unpack(&packed, ONLY, &allowance(1 << 30, 9), memory()).unwrap();
    for name in names {
        assert!(held.read(&name, u64::MAX).unwrap() == long, "{name}");
    }
}
