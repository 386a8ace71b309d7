//! What is no image at all.

use raas_image::{ImageError, Limits};
use raas_testkit::TarBuilder;
use raas_testkit::layers::noise;

use crate::rule;
use crate::support::{assert_refused, failure, open_path, open_stream, source};

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
    for (magic, name) in [(b"\xfd7zXZ\0rest".as_slice(), "xz"), (b"BZh91AY&SY", "bzip2")] {
        let error = open_path(&source(magic).path, &Limits::default()).err().unwrap();
        assert_refused(name, &error, rule!(Unpack(_)), "source");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_source_that_is_not_there() {
    let error = open_path("no/such/file".as_ref(), &Limits::default()).err().unwrap();
    assert!(matches!(&error, ImageError::Read { what, .. } if what == "no/such/file"), "{error:?}");
}
