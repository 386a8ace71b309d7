//! Archives with two descriptions of their images, `index.json` and `manifest.json`, both complete. None is chosen
//! silently if that would lose an image of the other, or take another image than the user meant.

use raas_image::{Image, ImageError, SourceKind, Wanted};
use raas_testkit::Files;
use raas_testkit::docker_save::platforms;
use raas_testkit::layers::Pack;
use raas_testkit::oci::{IMAGE_NAME, Layout, REF_NAME, blob_name};
use raas_types::{Descriptor, Digest};
use serde_json::{Value, json};

use crate::support::{open_bytes, published_as, wanted};

/// An archive; a description is a list of images by a word, each with its names.
struct Described {
    layout: Layout,
    pack: Pack,
    list: Vec<Value>,
}

/// An image: its manifest, and its config.
#[derive(Clone)]
struct Made {
    manifest: Descriptor,
    config: Digest,
    layer: Digest,
}

impl Described {
    fn new(pack: Pack) -> Self {
        Self { layout: Layout::new(), pack, list: Vec::new() }
    }

    fn image(&mut self, word: &str) -> Made {
        let layer = self.layout.layer(&[("word", word.as_bytes())], self.pack);
        let manifest = self.layout.image("amd64", std::slice::from_ref(&layer));
        let document: Value = serde_json::from_slice(self.layout.bytes(&manifest.digest)).unwrap();
        let config = serde_json::from_value(document["config"]["digest"].clone()).unwrap();
        Made { manifest, config, layer: layer.descriptor.digest }
    }

    fn index(&mut self, image: &Made, names: &[&str]) -> &mut Self {
        for name in names {
            let tag = name.rsplit_once(':').unwrap().1;
            self.layout.root(&image.manifest, [(IMAGE_NAME, *name), (REF_NAME, tag)]);
        }
        if names.is_empty() {
            self.layout.untagged(&image.manifest);
        }
        self
    }

    fn list(&mut self, image: &Made, names: &[&str]) -> &mut Self {
        let (config, layer) = (blob_name(&image.config), blob_name(&image.layer));
        self.list.push(json!({"Config": config, "RepoTags": names, "Layers": [layer]}));
        self
    }

    fn files(&self) -> Files {
        let mut files = self.layout.files();
        files.set("manifest.json", json!(self.list).to_string());
        files
    }
}

/// The tags that are published, and the format that they are read as; or the message.
fn outcome(files: &Files, wanted: &Wanted) -> Result<(Vec<String>, SourceKind, Vec<String>), String> {
    let archive = open_bytes(&files.tar());
    let choice = |error: ImageError| match error {
        ImageError::Choice(message) => message,
        other => panic!("{other:?}"),
    };
    let selection = archive.choose(wanted).map_err(choice)?;
    let image = archive.read(&selection, None).unwrap();
    let tags = image.tags().iter().map(ToString::to_string).collect();
    Ok((tags, selection.kind(), image.notes().to_vec()))
}

fn of_digest(digest: Digest) -> Wanted {
    Wanted { digest: Some(digest), ..published_as("app") }
}

#[track_caller]
fn assert_has(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn one_tag_of_two_images_stops_and_names_both() {
    for pack in [Pack::Plain, Pack::Gzip] {
        let mut made = Described::new(pack);
        let (a, b, c) = (made.image("a"), made.image("b"), made.image("c"));
        made.index(&b, &["docker.io/library/app:1"]).index(&c, &["docker.io/library/app:2"]);
        made.list(&a, &["app:1"]).list(&c, &["app:2"]);
        let files = made.files();
        for asked in [published_as("app"), Wanted { tag: wanted(Some("1")).tag, ..published_as("app") }] {
            let message = outcome(&files, &asked).unwrap_err();
            let (indexed, listed) = (b.manifest.digest.to_string(), a.config.to_string());
            assert_has(&message, &["`app:1`", &indexed, &listed, "index.json", "manifest.json", "--digest"]);
        }
        let (tags, kind, notes) = outcome(&files, &of_digest(b.manifest.digest)).unwrap();
        assert_eq!((tags, kind), (vec!["1".to_owned()], SourceKind::Oci));
        assert_has(&notes[0], &["read from index.json", &a.config.to_string()]);
        let (tags, kind, notes) = outcome(&files, &of_digest(a.config)).unwrap();
        assert_eq!((tags, kind), (vec!["1".to_owned()], SourceKind::DockerSave));
        assert_has(&notes[0], &["read from manifest.json", &b.manifest.digest.to_string()]);
        let neither = Digest::of(b"neither");
        assert_has(&outcome(&files, &of_digest(neither)).unwrap_err(), &["--digest", &neither.to_string()]);
        // The descriptions agree about another tag.
        assert_eq!(outcome(&files, &wanted(Some("2"))).unwrap().0, ["2"]);
    }
}

#[test]
fn swapped_tags_of_the_same_images_are_a_contradiction() {
    let mut made = Described::new(Pack::Gzip);
    let (a, b) = (made.image("a"), made.image("b"));
    made.index(&a, &["app:1"]).index(&b, &["app:2"]).list(&a, &["app:2"]).list(&b, &["app:1"]);
    let message = outcome(&made.files(), &published_as("app")).unwrap_err();
    assert_has(&message, &["`app:1`", "`app:2`", "--digest"]);
}

#[test]
fn an_image_of_each_description_alone_stops_and_can_be_chosen() {
    for pack in [Pack::Plain, Pack::Gzip] {
        let mut made = Described::new(pack);
        let (a, b) = (made.image("a"), made.image("b"));
        made.index(&b, &["docker.io/library/app:2"]).list(&a, &["app:1"]);
        let files = made.files();
        let message = outcome(&files, &published_as("app")).unwrap_err();
        let (indexed, listed) = (b.manifest.digest.to_string(), a.config.to_string());
        assert_has(&message, &["`app:2`", &indexed, "`app:1`", &listed, "--digest"]);
        for (asked, tag, kind) in [
            (wanted(Some("1")), "1", SourceKind::DockerSave),
            (of_digest(a.config), "1", SourceKind::DockerSave),
            (wanted(Some("2")), "2", SourceKind::Oci),
            (of_digest(b.manifest.digest), "2", SourceKind::Oci),
        ] {
            let (tags, found, notes) = outcome(&files, &asked).unwrap();
            assert_eq!((tags, found), (vec![tag.to_owned()], kind));
            assert!(notes.iter().any(|note| note.contains("which has what was asked for")), "{notes:?}");
        }
        // Images without names.
        let mut made = Described::new(pack);
        let (a, b) = (made.image("a"), made.image("b"));
        made.index(&b, &[]).list(&a, &[]);
        let message = outcome(&made.files(), &published_as("app")).unwrap_err();
        assert_has(&message, &[&b.manifest.digest.to_string(), &a.config.to_string()]);
    }
}

#[test]
fn the_description_that_contains_the_other_is_used() {
    for (pack, of_equal) in [(Pack::Plain, SourceKind::DockerSave), (Pack::Gzip, SourceKind::Oci)] {
        let two = |index: [&[&str]; 2], list: [Option<&[&str]>; 2]| {
            let mut made = Described::new(pack);
            let images = [made.image("a"), made.image("b")];
            for (image, names) in images.iter().zip(index) {
                if !names.is_empty() {
                    made.index(image, names);
                }
            }
            for (image, names) in images.iter().zip(list) {
                if let Some(names) = names {
                    made.list(image, names);
                }
            }
            outcome(&made.files(), &published_as("app")).unwrap()
        };
        let (tags, kind, notes) = two([&["app:1"], &["app:2"]], [Some(&["app:1"]), Some(&["app:2"])]);
        assert_eq!((tags, kind, notes), (vec!["1".into(), "2".into()], of_equal, vec![]));
        let (tags, kind, notes) = two([&["app:1"], &["app:2"]], [Some(&["app:1"]), None]);
        assert_eq!((tags, kind), (vec!["1".into(), "2".into()], SourceKind::Oci));
        assert_has(&notes[0], &["from index.json", "manifest.json lacks `app:2`"]);
        let (tags, kind, notes) = two([&["app:1"], &[]], [Some(&["app:1"]), Some(&["app:2"])]);
        assert_eq!((tags, kind), (vec!["1".into(), "2".into()], SourceKind::DockerSave));
        assert_has(&notes[0], &["index.json is incomplete", "`app:2`"]);
        // The names count, too.
        let (tags, kind, _) = two([&["app:1"], &[]], [Some(&["app:1", "app:3"]), None]);
        assert_eq!((tags, kind), (vec!["1".into(), "3".into()], SourceKind::DockerSave));
        let (tags, kind, _) = two([&["app:1", "app:3"], &[]], [Some(&[]), None]);
        assert_eq!((tags, kind), (vec!["1".into(), "3".into()], SourceKind::Oci));
    }
    // A builder may write the tag alone into index.json.
    let mut made = Described::new(Pack::Gzip);
    let a = made.image("a");
    made.layout.tag(&a.manifest, "1");
    made.list(&a, &["docker.io/acme/app:1"]);
    assert_eq!(outcome(&made.files(), &published_as("app")).unwrap().0, ["1"]);
    // An attachment has no place in manifest.json.
    let mut made = Described::new(Pack::Gzip);
    let a = made.image("a");
    made.index(&a, &["app:1"]).list(&a, &["app:1"]);
    let signature = made.layout.artifact(&a.manifest, "application/vnd.acme.signature", b"s");
    made.layout.untagged(&signature);
    let image = open_bytes(&made.files().tar()).image(&published_as("app")).unwrap();
    assert!(matches!(image, Image::Manifests(set) if set.manifests.len() == 2));
}

#[test]
fn an_index_contains_its_platforms_but_no_other_image() {
    for pack in [Pack::Plain, Pack::Gzip] {
        let files = platforms(&["amd64", "arm64"], &["amd64", "arm64"], pack);
        let (tags, kind, notes) = outcome(&files, &published_as("app")).unwrap();
        assert_eq!((tags, kind, notes), (vec!["1".into()], SourceKind::Oci, vec![]));
        let mut made = Described::new(pack);
        let (a, b) = (made.image("a"), made.image("b"));
        let index = made.layout.index(std::slice::from_ref(&a.manifest));
        made.layout.root(&index, [(IMAGE_NAME, "docker.io/library/app:1"), (REF_NAME, "1")]);
        made.list(&b, &["app:1"]);
        let message = outcome(&made.files(), &published_as("app")).unwrap_err();
        assert_has(&message, &["`app:1`", &index.digest.to_string(), &b.config.to_string()]);
        assert_eq!(outcome(&made.files(), &of_digest(b.config)).unwrap().0, ["1"]);
        assert_eq!(outcome(&made.files(), &of_digest(index.digest)).unwrap().0, ["1"]);
    }
}

#[test]
fn a_broken_description_is_noted_with_what_it_alone_has() {
    let mut made = Described::new(Pack::Gzip);
    let (a, b) = (made.image("a"), made.image("b"));
    made.index(&a, &["app:1"]).index(&b, &["app:2"]).list(&a, &["app:1"]);
    let mut files = made.files();
    files.remove(&blob_name(&b.layer));
    let (tags, _, notes) = outcome(&files, &published_as("app")).unwrap();
    assert_eq!(tags, ["1"]);
    assert_has(&notes[0], &["index.json is incomplete", "not published: `app:2`"]);
}
