//! Sources that are no images.

use raas_image::{Content, ImageError, Limits, fingerprint};
use raas_testkit::TarBuilder;
use raas_testkit::layers::{Pack, noise, xz};
use raas_testkit::oci::Layout;

use crate::rule;
use crate::support::{assert_refused, failure, open_path, open_stream, read_whole, source};

#[test]
fn files_of_other_kinds() {
    let text = "It was a dark and stormy night. ".repeat(100).into_bytes();
    let random = TarBuilder::new().file("README", "x").file("src/main.rs", "fn main() {}").finish();
    let table = [
        ("a short text", b"hello\n".to_vec(), "neither a tar"),
        ("a long text", text, "neither a tar"),
        ("noise", noise(1, 5000), "neither a tar"),
        ("a list", b"[1, 2]".to_vec(), "neither a tar"),
        ("a page", b"<!doctype html><title>404</title>".to_vec(), "neither a tar"),
        ("some archive", random, "README, src/main.rs"),
    ];
    for (label, bytes, expected) in table {
        match failure(label, &bytes, &Limits::default()) {
            ImageError::NotAnImage { found, .. } => assert!(found.contains(expected), "{label}: {found}"),
            other => panic!("{label}: {other:?}"),
        }
    }
}

#[test]
fn an_empty_file() {
    let limits = Limits::default();
    for error in [
        open_path(&source(b"").path, &limits).err().unwrap(),
        open_stream(std::io::empty(), &limits).err().unwrap(),
    ] {
        assert!(
            matches!(&error, ImageError::NotAnImage { found, .. } if found == "it is empty"),
            "{error:?}"
        );
    }
}

#[test]
fn json_that_is_no_table_of_contents() {
    let limits = Limits::default();
    for text in ["{}", "{", r#"{"files": 1}"#, r#"{"meta": {"checksum_type": "md5"}, "files": {"a": "b"}}"#] {
        match open_path(&source(text.as_bytes()).path, &limits).err().unwrap() {
            ImageError::NotAnImage { found, .. } => assert!(found.contains("table of contents"), "{found}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let long = format!("{{{}", " ".repeat(5 << 20));
    let error = open_path(&source(long.as_bytes()).path, &limits).err().unwrap();
    assert_refused("a long one", &error, rule!(TooLarge { .. }), "source");
    let empty = source(br#"{"meta": {}, "files": {}}"#);
    let error = open_path(&empty.path, &limits).err().unwrap();
    assert_refused("one of nothing", &error, rule!(Content(_)), "source");
}

#[test]
fn packings_that_are_not_read_are_named() {
    for (magic, name) in [(b"BZh91AY&SY".as_slice(), "bzip2"), (b"\x04\x22\x4d\x18rest", "lz4")] {
        let error = open_path(&source(magic).path, &Limits::default()).err().unwrap();
        assert_refused(name, &error, rule!(Unpack(_)), "source");
        let message = error.to_string();
        assert!(message.contains(name) && message.contains("gzip, Zstandard or xz"), "{message}");
    }
    // No media type of layers is for xz.
    let layer = Content::memory("layer", &xz(b"content"));
    let error = fingerprint(&layer, &Limits::default(), &|_| {}).unwrap_err();
    assert_refused("a layer", &error, rule!(Unpack(_)), "layer");
    assert!(error.to_string().contains("gzip or Zstandard"), "{error}");
}

#[test]
fn an_archive_in_xz_is_read() {
    let mut layout = Layout::new();
    let noise = noise(1, 300_000);
    let layer = layout.layer(&[("noise", &noise)], Pack::Plain);
    let image = layout.image("amd64", &[layer]);
    layout.tag(&image, "1.0");
    let packed = xz(&layout.tar());
    let limits = Limits::default();
    let from_file = open_path(&source(&packed).path, &limits).unwrap();
    let from_stream = open_stream(std::io::Cursor::new(packed.clone()), &limits).unwrap();
    for archive in [from_file, from_stream] {
        read_whole(&archive, &limits).unwrap();
    }
    for cut in [packed.len() / 2, packed.len() - 3] {
        let error = open_path(&source(&packed[..cut]).path, &limits).err().unwrap();
        assert_refused("cut", &error, rule!(Truncated), "");
    }
    let mut damaged = packed;
    damaged[10] ^= 1;
    let error = open_path(&source(&damaged).path, &limits).err().unwrap();
    assert_refused("damaged", &error, rule!(Unpack(_)), "source");
}

#[test]
fn a_source_that_is_not_there() {
    let error = open_path("no/such/file".as_ref(), &Limits::default()).err().unwrap();
    assert!(matches!(&error, ImageError::Read { what, .. } if what == "no/such/file"), "{error:?}");
}
