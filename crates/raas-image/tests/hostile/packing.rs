//! Packed archives that are damaged or endless.

use std::io::{self, Cursor, Read};

use raas_image::{ImageError, Limits};
use raas_testkit::TarBuilder;
use raas_testkit::layers::{Pack, gzip, gzip_bomb, noise, zstd, zstd_bomb};
use raas_testkit::oci::Layout;

use crate::rule;
use crate::support::{assert_refused, open_path, open_stream, read_whole, source};

fn good() -> Vec<u8> {
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    layout.tag(&image, "1.0");
    // Noise does not compress, so a cut in the packed bytes is a cut in a member.
    layout.files().builder().file("noise", noise(1, 50_000)).finish()
}

fn errors(bytes: &[u8]) -> [ImageError; 2] {
    let limits = Limits::default();
    [
        open_path(&source(bytes).path, &limits).err().expect("it is accepted"),
        open_stream(Cursor::new(bytes.to_vec()), &limits).err().expect("it is accepted"),
    ]
}

#[test]
fn truncated_and_damaged_packing() {
    for pack in [Pack::Gzip, Pack::Zstd] {
        let whole = pack.apply(&good());
        for (label, cut) in
            [("in the middle", whole.len() / 2), ("at the end", 2), ("at the start", whole.len() - 40)]
        {
            for error in errors(&whole[..whole.len() - cut]) {
                assert_refused(&format!("{pack:?} {label}"), &error, rule!(Truncated), "");
            }
        }
        // Not every byte has a checksum, so the damage shows in one of several rules.
        let mut damaged = whole.clone();
        damaged[200..300].fill(0xff);
        for error in errors(&damaged) {
            assert_refused(&format!("{pack:?} damaged"), &error, rule!(Unpack(_) | Header(_)), "");
        }
    }
    let mut wrong_sum = gzip(&good());
    let at = wrong_sum.len() - 8;
    wrong_sum[at] ^= 1;
    for error in errors(&wrong_sum) {
        assert_refused("checksum", &error, rule!(Unpack(_)), "");
    }
    for error in errors(&[gzip(&good()), b"and then some".to_vec()].concat()) {
        assert_refused("something behind it", &error, rule!(Unpack(_) | Truncated), "");
    }
}

#[test]
fn a_stream_that_fails_is_not_reported_as_damaged() {
    struct Fails(Cursor<Vec<u8>>);
    impl Read for Fails {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::ErrorKind::ConnectionReset.into()),
                got => Ok(got),
            }
        }
    }
    for pack in [Pack::Plain, Pack::Gzip, Pack::Zstd] {
        let packed = pack.apply(&good());
        let half = packed[..packed.len() / 2].to_vec();
        let error = open_stream(Fails(Cursor::new(half)), &Limits::default()).err().unwrap();
        match error {
            ImageError::Read { what, source } => {
                assert_eq!((what.as_str(), source.kind()), ("the stream", io::ErrorKind::ConnectionReset));
            }
            other => panic!("{pack:?}: {other:?}"),
        }
    }
}

#[test]
fn several_members_and_frames_are_one_archive() {
    let (start, end) = (&good()[..700], &good()[700..]);
    for bytes in [[gzip(start), gzip(end)].concat(), [zstd(start), zstd(b""), zstd(end)].concat()] {
        let limits = Limits::default();
        let archive = open_path(&source(&bytes).path, &limits).unwrap();
        read_whole(&archive, &limits).unwrap();
    }
}

#[test]
fn bombs_end_at_the_limit() {
    let limits = Limits { spool: 1 << 20, ..Limits::default() };
    // A member of the length that its header has, then zeros.
    let head = TarBuilder::new().claiming("zeros", 1 << 32, "").without_end_mark();
    for bytes in [[gzip(&head), gzip_bomb(1)].concat(), [zstd(&head), zstd_bomb(1)].concat()] {
        let error = open_path(&source(&bytes).path, &limits).err().unwrap();
        assert_refused("a member", &error, rule!(Inflates(0x10_0000)), "source");
    }
    // Zeros behind the end mark, which are not written to disk.
    let bytes = [gzip(&good()), gzip_bomb(1)].concat();
    let error = open_path(&source(&bytes).path, &limits).err().unwrap();
    assert_refused("padding", &error, rule!(Content(_)), "source");
    let padded = [good(), vec![0; 1 << 20]].concat();
    assert!(open_path(&source(&gzip(&padded)).path, &limits).is_ok());
    // Zeros alone are an empty archive.
    let error = open_path(&source(&gzip(&vec![0; 1 << 20])).path, &limits).err().unwrap();
    assert!(matches!(error, ImageError::NotAnImage { .. }), "{error:?}");
}
