//! Random changes of archives. The result is an error or another image, never a panic and never a long wait.

use std::panic::{AssertUnwindSafe, catch_unwind};

use raas_image::{Input, Limits, Wanted, open};
use raas_testkit::docker_save::{LayerPlaces, Saved, newer, newest, oldest};
use raas_testkit::layers::{Pack, Random, layer};
use raas_testkit::oci::Layout;
use raas_testkit::pulp2::Export;
use raas_testkit::tar::repair_checksum;
use raas_testkit::{Files, fixtures};

use crate::support::{published_as, read_whole};

/// Low limits, so that a change that makes a source long is an error soon.
fn limits() -> Limits {
    Limits {
        members: 200,
        name_bytes: 100_000,
        json: 100_000,
        entry: 100_000,
        manifests: 1_000_000,
        configs: 1_000_000,
        unpacked_layer: 1_000_000,
        spool: 2_000_000,
        ..Limits::default()
    }
}

fn sources() -> Vec<(&'static str, Files)> {
    let layers = [layer(&[("a", b"a")]), layer(&[("b", b"b")])];
    let saved = [Saved { names: &["acme/app:1.0"], layers: &layers }];
    let mut layout = Layout::new();
    let parts = [Pack::Plain, Pack::Gzip, Pack::Zstd].map(|pack| layout.layer(&[("x", b"x")], pack));
    let image = layout.image("amd64", &parts);
    let index = layout.index(&[image]);
    let sbom = layout.artifact(&index, "application/spdx+json", b"sbom");
    layout.tag(&index, "1.0");
    layout.untagged(&sbom);
    layout.cosign_signature(&index);
    let mut pulp2 = Export::chain("app", 3);
    pulp2.hole(1);
    vec![
        ("oci", layout.files()),
        ("docker v1", oldest(&saved)),
        ("docker save", newer(&saved, LayerPlaces::Links)),
        ("docker save, newest", newest(&saved)),
        ("pulp 2", pulp2.files()),
        ("pulp 3", Files::from_tar(&std::fs::read(fixtures::pulp3_new()).unwrap())),
    ]
}

/// Opens and reads an archive, with any outcome.
fn survives(label: &str, case: usize, bytes: Vec<u8>) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let limits = limits();
        let input = Input::Stream("mutated".into(), Box::new(std::io::Cursor::new(bytes)));
        let archive = open(input, &std::env::temp_dir(), &limits, &mut |_| {})?;
        archive.repositories()?;
        drop(archive.choose(&published_as("app")));
        for repository in archive.repositories()?.into_iter().map(Some).chain([None]) {
            drop(archive.image(&Wanted { repository, ..Wanted::default() }));
        }
        read_whole(&archive, &limits)
    }));
    match outcome {
        Ok(Ok(())) => {}
        // Making the message must not panic either.
        Ok(Err(error)) => drop(error.to_string()),
        Err(_) => panic!("{label}, case {case}: a panic"),
    }
}

/// Changes, removes or repeats some bytes.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    /// Bytes with a meaning to a parser.
    const WORDS: [&[u8]; 12] = [
        b"\0",
        b"\xff",
        b"\"",
        b"{",
        b"[",
        b"]",
        b"-1",
        b"99999999999999999999",
        b"null",
        b"../",
        b"\\u0000",
        b":",
    ];
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    let length = random.below(40).min(bytes.len() - at);
    match random.below(5) {
        0 => bytes[at] = random.next() as u8,
        1 => bytes[at] ^= 1 << random.below(8),
        2 => drop(bytes.drain(at..at + length)),
        3 => {
            let piece = bytes[at..at + length].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, piece);
        }
        _ => {
            let word = WORDS[random.below(WORDS.len())];
            bytes.splice(at..at, word.iter().copied());
        }
    }
}

#[test]
fn changed_archives() {
    for (n, (label, files)) in sources().into_iter().enumerate() {
        let mut random = Random::new(n as u64);
        let whole = files.tar();
        for case in 0..60 {
            let mut bytes = whole.clone();
            (0..=random.below(3)).for_each(|_| mutate(&mut random, &mut bytes));
            let bytes = match case % 3 {
                0 => bytes,
                1 => Pack::Gzip.apply(&bytes),
                _ => {
                    // The change is in the packed bytes.
                    let mut packed = Pack::Zstd.apply(&whole);
                    mutate(&mut random, &mut packed);
                    packed
                }
            };
            survives(label, case, bytes);
        }
    }
}

#[test]
fn changed_headers_with_a_valid_checksum() {
    for (n, (label, files)) in sources().into_iter().enumerate() {
        let mut random = Random::new(100 + n as u64);
        let whole = files.tar();
        let headers: Vec<usize> =
            (0..whole.len()).step_by(512).filter(|at| whole[at + 257..].starts_with(b"ustar")).collect();
        for case in 0..80 {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(2) {
                let at = headers[random.below(headers.len())];
                let field = [0, 124, 125, 130, 135, 156, 157, 345][random.below(8)] + random.below(2);
                bytes[at + field] = match random.below(4) {
                    0 => b'0' + random.below(10) as u8,
                    1 => [b'x', b'g', b'L', b'K', b'S', b'1', b'2', b'5', b'/', b'.', 0][random.below(11)],
                    2 => 0x80,
                    _ => random.next() as u8,
                };
                repair_checksum(&mut bytes[at..at + 512]);
            }
            survives(label, case, bytes);
        }
    }
}

#[test]
fn changed_documents() {
    for (n, (label, files)) in sources().into_iter().enumerate() {
        let mut random = Random::new(200 + n as u64);
        let names: Vec<String> = files.names().map(str::to_owned).collect();
        // Links have no bytes to change.
        let plain = |name: &String| !name.ends_with("layer.tar");
        let names: Vec<String> = names.into_iter().filter(plain).collect();
        for case in 0..120 {
            let mut changed = files.clone();
            for _ in 0..=random.below(2) {
                let name = &names[random.below(names.len())];
                let mut content = changed.get(name).to_vec();
                mutate(&mut random, &mut content);
                changed.set(name, content);
            }
            survives(label, case, changed.tar());
        }
    }
}
