//! Streaming of layers: the checks on the way, and the output.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};

use raas_image::{Blob, Content, ImageError, Limits, Packed, Packing, copy, fingerprint, pack};
use raas_testkit::layers::{Pack, gzip, gzip_bomb, layer, noise, zstd, zstd_bomb};
use raas_types::Digest;

use crate::rule;
use crate::support::assert_refused;

const PACKS: [(Pack, Packing); 3] =
    [(Pack::Plain, Packing::Plain), (Pack::Gzip, Packing::Gzip), (Pack::Zstd, Packing::Zstd)];

fn plain() -> Vec<u8> {
    layer(&[("small", b"x"), ("noise", &noise(7, 1_500_000)), ("zeros", &vec![0; 1_000_000])])
}

fn blob(bytes: &[u8], diff_id: Option<Digest>) -> Blob {
    Blob {
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        media_type: "application/octet-stream".into(),
        diff_id,
        layer: true,
        urls: Vec::new(),
        content: None,
    }
}

fn copied(bytes: &[u8], blob: &Blob, limits: &Limits) -> Result<Vec<u8>, ImageError> {
    let mut sink = Vec::new();
    copy(&Content::memory("layer", bytes), blob, &mut sink, limits, &|_| {})?;
    Ok(sink)
}

#[test]
fn the_packed_layer_does_not_depend_on_the_workers() {
    let plain = plain();
    for (pack_as, packing) in PACKS {
        let source = pack_as.apply(&plain);
        let content = Content::memory("layer", &source);
        let mut before: Option<(Packed, Vec<u8>)> = None;
        for workers in [0, 1, 2, 5] {
            let (mut raw, mut packed) = (Vec::new(), Vec::new());
            let progress = Cell::new(0);
            let facts = pack(&content, Some(&mut raw), &mut packed, workers, &Limits::default(), &|n| {
                progress.set(progress.get() + n);
            })
            .unwrap();
            assert!(raw == source, "{pack_as:?}: the raw bytes");
            assert_eq!(progress.get(), source.len() as u64);
            assert_eq!((facts.raw, facts.raw_size), (Digest::of(&source), source.len() as u64));
            assert_eq!((facts.raw_packing, facts.packing), (packing, Packing::Gzip));
            assert_eq!(facts.diff_id, Digest::of(&plain));
            assert_eq!((facts.blob, facts.blob_size), (Digest::of(&packed), packed.len() as u64));
            let mut unpacked = Vec::new();
            flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == plain, "{pack_as:?}: what it unpacks to");
            if let Some((facts_before, packed_before)) = &before {
                assert!(*facts_before == facts && *packed_before == packed, "{pack_as:?}, {workers}");
            }
            before = Some((facts, packed));
        }
        // `fingerprint` finds the same facts of the source's bytes.
        let (facts, _) = before.unwrap();
        let seen = fingerprint(&content, &Limits::default(), &|_| {}).unwrap();
        assert_eq!((seen.raw, seen.raw_size, seen.diff_id), (facts.raw, facts.raw_size, facts.diff_id));
        assert_eq!((seen.blob, seen.packing, seen.raw_packing), (facts.raw, packing, packing));
    }
}

#[test]
fn layers_in_several_parts_and_empty_ones() {
    let plain = plain();
    let (start, end) = plain.split_at(777_777);
    for parts in [[gzip(start), gzip(end)].concat(), [zstd(start), zstd(b""), zstd(end)].concat()] {
        let content = Content::memory("layer", &parts);
        assert_eq!(fingerprint(&content, &Limits::default(), &|_| {}).unwrap().diff_id, Digest::of(&plain));
        assert!(copied(&parts, &blob(&parts, Some(Digest::of(&plain))), &Limits::default()).is_ok());
    }
    let nothing = Content::memory("layer", b"");
    assert_eq!(fingerprint(&nothing, &Limits::default(), &|_| {}).unwrap().diff_id, Digest::of(b""));
    let packed = pack(&nothing, None, &mut io::sink(), 2, &Limits::default(), &|_| {}).unwrap();
    assert_eq!(packed.diff_id, Digest::of(b""));
    assert!(copied(b"", &blob(b"", None), &Limits::default()).is_ok());
    assert!(copied(b"", &blob(b"", Some(Digest::of(b""))), &Limits::default()).is_ok());
    let error = copied(b"", &blob(b"", Some(Digest::of(b"x"))), &Limits::default()).unwrap_err();
    assert_refused("an empty layer", &error, rule!(DiffId { .. }), "layer");
}

#[test]
fn copying_checks_size_digest_and_diff_id() {
    let plain = plain();
    let limits = Limits::default();
    for (pack_as, _) in PACKS {
        let bytes = pack_as.apply(&plain);
        let good = blob(&bytes, Some(Digest::of(&plain)));
        assert!(copied(&bytes, &good, &limits).unwrap() == bytes);
        assert!(copied(&bytes, &Blob { diff_id: None, ..good.clone() }, &limits).unwrap() == bytes);
        let size = Blob { size: good.size + 1, ..good.clone() };
        assert_refused("size", &copied(&bytes, &size, &limits).unwrap_err(), rule!(Size { .. }), "layer");
        let digest = Blob { digest: Digest::of(b"x"), ..good.clone() };
        assert_refused(
            "digest",
            &copied(&bytes, &digest, &limits).unwrap_err(),
            rule!(Digest { .. }),
            "layer",
        );
        let diff_id = Blob { diff_id: Some(Digest::of(b"x")), ..good };
        assert_refused(
            "diff id",
            &copied(&bytes, &diff_id, &limits).unwrap_err(),
            rule!(DiffId { .. }),
            "layer",
        );
    }
}

#[test]
fn layers_that_do_not_unpack() {
    let plain = plain();
    let limits = Limits::default();
    let mut cases = Vec::new();
    for pack_as in [Pack::Gzip, Pack::Zstd] {
        let whole = pack_as.apply(&plain);
        for cut in [1, 6, whole.len() / 2, whole.len() - 30] {
            cases.push((format!("{pack_as:?} without {cut}"), whole[..whole.len() - cut].to_vec()));
        }
        cases.push((
            format!("{pack_as:?} and more"),
            [whole.clone(), b"and more than that".to_vec()].concat(),
        ));
        // The damage is in the head of the first block, because a frame of Zstandard may have no checksum.
        let mut damaged = whole;
        damaged[6..14].fill(0xff);
        cases.push((format!("{pack_as:?} damaged"), damaged));
    }
    cases.push(("xz".into(), b"\xfd7zXZ\0and so on".to_vec()));
    cases.push(("two bytes".into(), vec![0x1f, 0x8b]));
    for (label, bytes) in cases {
        let content = Content::memory("layer", &bytes);
        // The digest is right, so the packing is the only fault.
        let blob = blob(&bytes, Some(Digest::of(&plain)));
        let outcomes = [
            copied(&bytes, &blob, &limits).map(drop),
            fingerprint(&content, &limits, &|_| {}).map(drop),
            pack(&content, None, &mut io::sink(), 2, &limits, &|_| {}).map(drop),
        ];
        for (n, outcome) in outcomes.into_iter().enumerate() {
            let error = outcome.expect_err(&format!("{label}: accepted, {n}"));
            assert_refused(&label, &error, rule!(Unpack(_) | Truncated), "layer");
        }
    }
}

#[test]
fn layers_that_inflate_without_end() {
    let limits = Limits { unpacked_layer: 1 << 20, ..Limits::default() };
    for bytes in [gzip_bomb(1), zstd_bomb(1), vec![0; (1 << 20) + 1]] {
        let content = Content::memory("layer", &bytes);
        let blob = blob(&bytes, Some(Digest::of(b"x")));
        let seen = Cell::new(0);
        let outcomes = [
            copied(&bytes, &blob, &limits).map(drop),
            fingerprint(&content, &limits, &|n| seen.set(seen.get() + n)).map(drop),
            pack(&content, None, &mut io::sink(), 1, &limits, &|_| {}).map(drop),
        ];
        for outcome in outcomes {
            assert_refused("bomb", &outcome.unwrap_err(), rule!(Inflates(0x10_0000)), "layer");
        }
        assert!(seen.get() <= 1 << 20, "it reads on after the limit");
    }
}

#[test]
fn errors_of_the_sink_and_of_the_source_are_different() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let limits = Limits::default();
    for (pack_as, _) in PACKS {
        let bytes = pack_as.apply(&plain());
        let content = Content::memory("layer", &bytes);
        let outcomes = [
            copy(&content, &blob(&bytes, None), &mut Full, &limits, &|_| {}),
            pack(&content, None, &mut Full, 2, &limits, &|_| {}).map(drop),
            pack(&content, Some(&mut Full), &mut io::sink(), 2, &limits, &|_| {}).map(drop),
        ];
        for outcome in outcomes {
            match outcome.unwrap_err() {
                ImageError::Write { source, .. } => assert_eq!(source.kind(), io::ErrorKind::StorageFull),
                other => panic!("{pack_as:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_nameless_file_is_content() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    let content = Content::file("a file", file).unwrap();
    assert_eq!((content.name(), content.size()), ("a file", 10));
    // The position of the file does not matter, and two readers can read it at the same time.
    let (mut one, mut other) = (content.open().unwrap(), content.open().unwrap());
    let (mut a, mut b) = (String::new(), [0; 3]);
    other.read_exact(&mut b).unwrap();
    one.read_to_string(&mut a).unwrap();
    assert_eq!((a.as_str(), &b), ("0123456789", b"012"));
    assert_eq!(content.read_all(10).unwrap(), b"0123456789");
    let error = content.read_all(9).unwrap_err();
    assert_refused("too long", &error, rule!(TooLarge { size: 10, limit: 9 }), "a file");
}

#[test]
fn a_file_that_is_cut_during_the_push() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, noise(1, 100_000)).unwrap();
    let content = Content::file("x", File::open(&path).unwrap()).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(50_000).unwrap();
    assert!(matches!(fingerprint(&content, &Limits::default(), &|_| {}), Err(ImageError::Read { .. })));
}
