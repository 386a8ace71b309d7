//! Rules of tar archives.

use std::io::{self, Read};

use raas_image::{ImageError, Limits, Wanted};
use raas_testkit::TarBuilder;
use raas_testkit::oci::{Layout, blob_name};
use raas_testkit::tar::{Member, header, kind, pax_records};

use crate::rule;
use crate::support::{accepted, assert_refused, check, failure, open_path, open_stream, source};

/// A good image, whose archive ends with the member `last`.
fn good() -> TarBuilder {
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    layout.tag(&image, "1.0");
    layout.files().builder().file("last", "x")
}

#[test]
fn names_links_and_kinds() {
    let long = "x/".repeat(300);
    check(
        vec![
            ("absolute path", good().file("/etc/x", "").finish(), rule!(AbsolutePath), "/etc/x"),
            ("parent path", good().file("a/../../x", "").finish(), rule!(ParentPath), "a/../../x"),
            ("long parent path", good().file(format!("{long}../y"), "").finish(), rule!(ParentPath), "x/x/"),
            ("parent folder", good().folder("..").finish(), rule!(ParentPath), ".."),
            ("name is not text", good().file(b"a\xff", "").finish(), rule!(NotUtf8), "a\u{fffd}"),
            ("no name", good().file("", "").finish(), rule!(NoName), ""),
            ("a file called .", good().file("./.", "").finish(), rule!(NoName), "./."),
            ("twice", good().file("index.json", "{}").finish(), rule!(Duplicate), "index.json"),
            (
                "twice, spelt otherwise",
                good().file(".//index.json", "y").finish(),
                rule!(Duplicate),
                "index.json",
            ),
            ("file and link", good().symlink("index.json", "last").finish(), rule!(Duplicate), "index.json"),
            ("file and folder", good().folder("index.json/").finish(), rule!(Duplicate), "index.json"),
            ("link to /", good().symlink("a", "/etc/passwd").finish(), rule!(LinkLeaves(_)), "a"),
            ("link up", good().symlink("a", "../x").finish(), rule!(LinkLeaves(_)), "a"),
            ("link far up", good().symlink("a/b", "c/../../../x").finish(), rule!(LinkLeaves(_)), "a/b"),
            ("hard link up", good().hard_link("a/b", "../x").finish(), rule!(LinkLeaves(_)), "a/b"),
            ("long link up", good().symlink("a", "../".repeat(200)).finish(), rule!(LinkLeaves(_)), "a"),
            ("link to nothing", good().symlink("a", "").finish(), rule!(LinkLeaves(_)), "a"),
            ("link is not text", good().symlink("a", b"\xff").finish(), rule!(NotUtf8), "a"),
            ("device", good().special("tty", kind::CHAR_DEVICE).finish(), rule!(Special("a device")), "tty"),
            ("disk", good().special("sda", kind::BLOCK_DEVICE).finish(), rule!(Special("a device")), "sda"),
            ("pipe", good().special("p", kind::FIFO).finish(), rule!(Special("a pipe")), "p"),
            ("sparse", good().special("s", kind::GNU_SPARSE).finish(), rule!(Special("a sparse file")), "s"),
            ("volume label", good().special("v", b'V').finish(), rule!(Special(_)), "v"),
            (
                "sparse by extension",
                good().pax([("GNU.sparse.major", b"1".as_slice())]).file("s", "").finish(),
                rule!(Header(_)),
                "the extended header after last",
            ),
            (
                "name with a zero byte",
                good().pax([("path", b"a\0b".as_slice())]).file("x", "").finish(),
                rule!(Header(_)),
                "a\\u{0}b",
            ),
            (
                "name that a terminal obeys",
                good().file("\u{1b}[2J/../x", "").finish(),
                rule!(ParentPath),
                "\\u{1b}[2J",
            ),
        ],
        &Limits::default(),
    );
}

#[test]
fn damaged_headers() {
    let pax = |content: &[u8]| good().extended(kind::PAX, content).file("x", "").finish();
    let size = |text: &str| good().pax([("size", text.as_bytes())]).file("big", "").finish();
    check(
        vec![
            (
                "checksum",
                good().file("x", "").damage_header().finish(),
                rule!(Header(_)),
                "the member after last",
            ),
            ("no records", pax(b"what is this?"), rule!(Header(_)), "the extended header after last"),
            ("record too long", pax(b"99 path=x\n"), rule!(Header(_)), "the extended header after last"),
            ("size no number", size("-1"), rule!(Header(_)), "the extended header after last"),
            ("size too large a number", size("99999999999999999999"), rule!(Header(_)), "last"),
            ("size without room to pad", size(&u64::MAX.to_string()), rule!(Truncated), "big"),
            ("the same in binary", good().claiming("big", u64::MAX, "").finish(), rule!(Truncated), "big"),
            (
                "a long extended header",
                good().extended(kind::PAX, &vec![b'x'; 2 << 20]).finish(),
                rule!(TooLarge { limit: 0x10_0000, .. }),
                "the extended header after last",
            ),
            (
                "one that claims everything",
                good()
                    .member(&Member {
                        name: b"x",
                        kind: kind::GNU_LONG_NAME,
                        link: b"",
                        size: u64::MAX,
                        content: b"",
                    })
                    .finish(),
                rule!(TooLarge { size: u64::MAX, .. }),
                "the extended header after last",
            ),
        ],
        &Limits::default(),
    );
}

#[test]
fn truncated_archives() {
    let whole = good().file("x", "y".repeat(600)).finish();
    let cut = |from_end: usize| whole[..whole.len() - from_end].to_vec();
    check(
        vec![
            ("in the end mark", cut(2 * 512 - 100), rule!(Truncated), "x"),
            (
                "behind an extended header",
                good().pax([("path", b"y".as_slice())]).without_end_mark(),
                rule!(Truncated),
                "last",
            ),
            ("in the data", cut(3 * 512 + 20), rule!(Truncated), "x"),
            ("behind the header", cut(4 * 512), rule!(Truncated), "x"),
            ("in the header", cut(4 * 512 + 100), rule!(Truncated), "last"),
        ],
        &Limits::default(),
    );
}

#[test]
fn an_archive_without_an_end_mark_is_read_with_a_note() {
    let whole = good().file("x", "y".repeat(600)).finish();
    for (label, bytes) in [
        ("no end mark", good().without_end_mark()),
        ("no end mark behind padding", whole[..whole.len() - 2 * 512].to_vec()),
        ("no padding", whole[..whole.len() - 2 * 512 - 100].to_vec()),
    ] {
        let notes = accepted(label, &bytes).image(&Wanted::default()).unwrap().notes().to_vec();
        assert!(matches!(notes.as_slice(), [note] if note.contains("no end mark")), "{label}: {notes:?}");
    }
}

#[test]
fn of_members_with_the_same_name_the_last_is_read() {
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    layout.tag(&image, "1.0");
    let files = layout.files();
    let blob = blob_name(&image.digest);
    let links = files.builder().symlink("a", "index.json").symlink("a", "index.json");
    for (label, bytes, noted) in [
        (
            "equal and used",
            files.builder().file(&blob, files.get(&blob)).finish(),
            format!("the archive has the member `{blob}` more than once; the last one is read"),
        ),
        (
            "different and not used",
            files.builder().file("last", "x").file("./last", "y").finish(),
            "the archive has the member `last` more than once; the last one is read".to_owned(),
        ),
        (
            "equal links, and a file",
            links.file("last", "x").file("last", "y").finish(),
            "the archive has 2 members more than once, such as `a`; the last one of each is read".to_owned(),
        ),
    ] {
        let notes = accepted(label, &bytes).image(&Wanted::default()).unwrap().notes().to_vec();
        assert_eq!(notes, [noted], "{label}");
    }
    let changed = files.builder().file(&blob, [files.get(&blob), b" "].concat()).finish();
    check(vec![("different and used", changed, rule!(Duplicate), &blob)], &Limits::default());
}

#[test]
fn a_member_that_claims_more_than_there_is() {
    let bytes = good().claiming("big", 1 << 62, "x").finish();
    let error = open_path(&source(&bytes).path, &Limits::default()).err().unwrap();
    assert_refused("file", &error, rule!(Truncated), "big");
    // The length of a stream is unknown, so its bound is the space on disk.
    let error = open_stream(io::Cursor::new(bytes), &Limits::default()).err().unwrap();
    assert_refused("stream", &error, rule!(Inflates(_)), "the stream");
}

#[test]
fn counts_and_lengths_are_bounded() {
    let limits = Limits { members: 20, name_bytes: 5000, ..Limits::default() };
    let many = (0..20).fold(good(), |tar, n| tar.file(format!("f{n}"), "")).finish();
    let folders = (0..20).fold(good(), |tar, _| tar.folder("a/")).finish();
    let extended = (0..90).fold(good(), |tar, _| tar.pax_global([("comment", b"x".as_slice())])).finish();
    let name = "n".repeat(400);
    let names = (0..14).fold(good(), |tar, n| tar.file(format!("{name}{n}"), "")).finish();
    let target = "t".repeat(5000);
    let targets = good().symlink("a", target).finish();
    check(
        vec![
            ("members", many, rule!(TooManyMembers(20)), "source"),
            ("the same folder", folders, rule!(TooManyMembers(20)), "source"),
            ("extended headers", extended, rule!(TooManyMembers(20)), "source"),
            ("names", names, rule!(TooManyNames(5000)), "source"),
            ("link targets", targets, rule!(TooManyNames(5000)), "source"),
        ],
        &limits,
    );
}

#[test]
fn ten_million_members_are_rejected_long_before_their_end() {
    /// The header of one folder without end. A folder may repeat, so only the number of members is a fault.
    struct Folders {
        header: [u8; 512],
        read: usize,
    }
    impl Read for Folders {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(self.read < 30_000 * 512, "it reads on and on");
            let rest = &self.header[self.read % 512..];
            let taken = buffer.len().min(rest.len());
            buffer[..taken].copy_from_slice(&rest[..taken]);
            self.read += taken;
            Ok(taken)
        }
    }
    let member = Member { name: b"f/", kind: kind::FOLDER, link: b"", size: 0, content: b"" };
    let folders = Folders { header: header(&member), read: 0 };
    assert_eq!(Limits::default().members, 200_000);
    let limits = Limits { members: 20_000, ..Limits::default() };
    let error = open_stream(folders, &limits).err().unwrap();
    assert_refused("members", &error, rule!(TooManyMembers(20_000)), "the stream");
}

#[test]
fn links_within_the_archive_are_followed_up_to_a_limit() {
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    layout.tag(&image, "1.0");
    let blob = blob_name(&image.digest);
    let bytes = layout.bytes(&image.digest).to_vec();
    let linked = |target: &str, more: &[(&str, &str)]| {
        let mut files = layout.files();
        files.link(&blob, target).set("elsewhere", bytes.clone());
        for (name, target) in more {
            files.link(*name, *target);
        }
        files.tar()
    };
    accepted("one link", &linked("../../elsewhere", &[]));
    accepted("two links", &linked("../../a", &[("a", "./elsewhere")]));
    check(
        vec![
            ("dangling", linked("../../nowhere", &[]), rule!(LinkDangles(_)), &blob),
            ("behind a link", linked("../../a", &[("a", "nowhere")]), rule!(LinkDangles(_)), &blob),
            ("itself", linked(&image.digest.hex(), &[]), rule!(LinkLoop(8)), &blob),
            ("a circle", linked("../../a", &[("a", "b"), ("b", "a")]), rule!(LinkLoop(8)), &blob),
        ],
        &Limits::default(),
    );
    let chain: Vec<(String, String)> = (0..9).map(|n| (format!("l{n}"), format!("l{}", n + 1))).collect();
    let mut chain: Vec<(&str, &str)> = chain.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    chain.push(("l9", "elsewhere"));
    check(vec![("a long way", linked("../../l0", &chain), rule!(LinkLoop(8)), &blob)], &Limits::default());
}

#[test]
fn names_in_every_form_are_read() {
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    layout.tag(&image, "1.0");
    let files = layout.files();
    let dotted = files
        .names()
        .fold(TarBuilder::new().folder("./"), |tar, name| tar.file(format!("./{name}"), files.get(name)));
    accepted("with ./ before them", &dotted.finish());
    let extended = files.names().fold(TarBuilder::new(), |tar, name| {
        let records = pax_records([("path", name.as_bytes()), ("mtime", b"1.5".as_slice())]);
        tar.extended(kind::PAX, &records).file("cut", files.get(name))
    });
    accepted("in extended headers", &extended.finish());
    let gnu = files.names().fold(TarBuilder::new(), |tar, name| {
        tar.extended(kind::GNU_LONG_NAME, format!("{name}\0").as_bytes()).file("cut", files.get(name))
    });
    accepted("in GNU's way", &gnu.finish());
    let sized = files.names().fold(TarBuilder::new(), |tar, name| {
        let content = files.get(name);
        let size = content.len().to_string();
        let member = Member { name: name.as_bytes(), kind: kind::FILE, link: b"", size: 0, content };
        tar.pax([("size", size.as_bytes())]).member(&member)
    });
    accepted("sizes in extended headers", &sized.finish());
}

#[test]
fn an_archive_without_members_is_no_image() {
    let error = failure("empty", &TarBuilder::new().finish(), &Limits::default());
    assert!(matches!(&error, ImageError::NotAnImage { found, .. } if found.contains("empty")), "{error:?}");
}
