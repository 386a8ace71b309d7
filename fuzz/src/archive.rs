//! Sources of images.

use std::io::{self, Cursor};

use raas_image::{
    Archive, Content, Image, ImageError, Input, LayerDigest, Limits, Wanted, copy, fingerprint, open,
    walk_layer,
};
use raas_testkit::{Files, TarBuilder};
use raas_types::Digest;

/// Separates the members in the input of [`members`].
const SEPARATOR: u8 = 0x1e;

/// An archive: no bytes make a reader panic, and what it reads is what the digests say.
pub fn archive(bytes: &[u8]) {
    layer(bytes);
    let input = Input::Stream("the archive".into(), Box::new(Cursor::new(bytes.to_vec())));
    match open(input, &std::env::temp_dir(), &limits(), &mut |_| {}) {
        Ok(archive) => read(&archive),
        Err(error) => check_message(&error),
    }
}

/// The bytes as a layer: no path of an entry leads out of the root.
fn layer(bytes: &[u8]) {
    let digest = LayerDigest::Blob(Digest::of(bytes));
    let walked = walk_layer(&Content::memory("the layer", bytes), digest, &limits(), &mut |entry| {
        let parts = || entry.path.split('/');
        assert!(parts().all(|part| !matches!(part, "" | "." | "..")), "{:?}", entry.path);
        Ok(())
    });
    if let Err(error) = walked {
        check_message(&error);
    }
}

/// The members of an archive, which is whole: a change of a byte reaches the reader of a format, and not the checksum of a
/// header alone. Each member is its name, a line end, and its content; the content of a link is `@` and its target.
pub fn members(bytes: &[u8]) {
    let tar = bytes.split(|byte| *byte == SEPARATOR).fold(TarBuilder::new(), |tar, member| {
        let end = member.iter().position(|byte| *byte == b'\n').unwrap_or(member.len());
        let (name, content) = (&member[..end], member.get(end + 1..).unwrap_or_default());
        match content {
            [b'@', target @ ..] => tar.symlink(name, target),
            content => tar.file(name, content),
        }
    });
    archive(&tar.finish());
}

/// The input of [`members`] for these files.
pub fn records(files: &Files) -> Vec<u8> {
    let records: Vec<Vec<u8>> =
        files.names().map(|name| [name.as_bytes(), b"\n", files.get(name)].concat()).collect();
    records.join(&SEPARATOR)
}

/// Low, so that an input that would take long is an error soon.
fn limits() -> Limits {
    Limits {
        members: 2_000,
        json: 1 << 20,
        manifests: 4 << 20,
        configs: 4 << 20,
        listed: 8 << 20,
        unpacked_layer: 8 << 20,
        spool: 16 << 20,
        ..Limits::default()
    }
}

fn read(archive: &Archive) {
    let names = archive.repositories().unwrap_or_default();
    let published_as = Some(("acme".parse().expect("a name"), "app".parse().expect("a name")));
    let mut wanted = vec![
        Wanted::default(),
        Wanted { published_as, ..Wanted::default() },
        Wanted { tag: Some("1".parse().expect("a tag")), ..Wanted::default() },
        Wanted { platforms: vec!["linux/amd64".parse().expect("a platform")], ..Wanted::default() },
    ];
    wanted
        .extend(names.into_iter().take(4).map(|name| Wanted { repository: Some(name), ..Wanted::default() }));
    for wanted in wanted {
        match archive.image(&wanted) {
            Ok(image) => check(&image, &wanted),
            Err(error) => check_message(&error),
        }
    }
}

fn check(image: &Image, wanted: &Wanted) {
    for note in image.notes() {
        assert!(!note.chars().any(char::is_control), "{note:?}");
    }
    if let Some(tag) = &wanted.tag {
        assert!(image.tags().iter().any(|other| other == tag), "it has not the tag that was asked for");
    }
    match image {
        Image::Manifests(set) => {
            for (digest, item) in &set.manifests {
                assert_eq!(Digest::of(&item.bytes), *digest);
                assert!(item.manifest.blobs().all(|blob| set.blobs.contains_key(&blob.digest)));
            }
            assert!(set.tags.values().all(|digest| set.manifests.contains_key(digest)));
            for blob in set.blobs.values() {
                if let Some(content) = &blob.content {
                    drop(copy(content, blob, &mut io::sink(), &limits(), &|_| {}));
                }
            }
        }
        Image::Saved(set) => {
            for image in &set.images {
                assert!(image.diff_ids.iter().all(|id| set.layers.contains_key(id)));
            }
            set.layers.values().for_each(|layer| drop(fingerprint(layer, &limits(), &|_| {})));
        }
        Image::V1(set) => {
            for top in set.tags.values() {
                assert!(set.chain(top).iter().all(|id| set.images.contains_key(id)));
            }
        }
    }
}

/// An error shows no control character of the source, which a terminal would obey.
fn check_message(error: &ImageError) {
    let text = error.to_string();
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.len() < 10_000, "a message of {} bytes", text.len());
}
