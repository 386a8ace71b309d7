//! OCI layouts: their documents, and the attachments of a tag.

use std::collections::BTreeSet;

use raas_image::{Image, ImageError, Limits, ManifestSet, SourceKind, Wanted};
use raas_testkit::layers::Pack;
use raas_testkit::oci::{IMAGE_NAME, Layout, REF_NAME, blob_name, descriptor};
use raas_types::{Descriptor, Digest, Manifest, ManifestBody, media_type};
use serde_json::{Value, json};

use crate::rule;
use crate::support::{
    accepted, assert_refused, check, failure, manifests, open_bytes, open_path, open_stream, published_as,
    source, wanted,
};

/// A layout of one tagged image, and the image.
fn one() -> (Layout, Descriptor) {
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    layout.tag(&image, "1.0");
    (layout, image)
}

/// The config and the first layer of an image.
fn parts(layout: &Layout, image: &Descriptor) -> (Descriptor, Descriptor) {
    match Manifest::parse(layout.bytes(&image.digest), None).unwrap().body {
        ManifestBody::Image { config, layers } => (*config, layers[0].clone()),
        ManifestBody::Index { .. } => panic!("an index"),
    }
}

/// The tar of a layout with this document as a tagged manifest, and the manifest's name in the tar.
fn with_manifest(media_type: &str, document: &Value) -> (Vec<u8>, String) {
    let (mut layout, _) = one();
    let manifest = layout.document(media_type, document);
    layout.tag(&manifest, "2.0");
    (layout.tar(), blob_name(&manifest.digest))
}

#[test]
fn content_that_has_another_digest_or_size() {
    let (layout, image) = one();
    let (config, layer) = parts(&layout, &image);
    let falsified = |of: &Descriptor, change: &dyn Fn(&mut Vec<u8>)| {
        let mut layout = layout.clone();
        let mut bytes = layout.bytes(&of.digest).to_vec();
        change(&mut bytes);
        layout.falsify(&of.digest, bytes);
        layout.tar()
    };
    let flip = |bytes: &mut Vec<u8>| bytes[12] ^= 1;
    let grow = |bytes: &mut Vec<u8>| bytes.push(b' ');
    let (manifest_name, config_name, layer_name) =
        (blob_name(&image.digest), blob_name(&config.digest), blob_name(&layer.digest));
    let mut files = layout.files();
    files.replace("index.json", &format!("\"size\":{}", image.size), "\"size\":7");
    check(
        vec![
            ("manifest", falsified(&image, &flip), rule!(Digest { .. }), &manifest_name),
            ("config", falsified(&config, &flip), rule!(Digest { .. }), &config_name),
            ("a longer config", falsified(&config, &grow), rule!(Digest { .. }), &config_name),
            ("layer", falsified(&layer, &flip), rule!(Digest { .. } | Unpack(_)), &layer_name),
            ("a longer layer", falsified(&layer, &grow), rule!(Size { .. }), &layer_name),
            ("the index lies about the size", files.tar(), rule!(Size { expected: 7, .. }), &manifest_name),
        ],
        &Limits::default(),
    );
}

#[test]
fn content_that_is_not_there() {
    let mut layout = Layout::new();
    let (a, b) = (layout.simple_image("a"), layout.simple_image("b"));
    let index = layout.index(&[a.clone(), b.clone()]);
    layout.tag(&index, "1.0");
    let without = |digest: &Digest| {
        let mut layout = layout.clone();
        layout.remove(digest);
        layout.tar()
    };
    let (child, top) = (blob_name(&b.digest), blob_name(&index.digest));
    check(
        vec![
            ("a manifest that an index lists", without(&b.digest), rule!(Missing(_)), &child),
            ("a manifest of index.json", without(&index.digest), rule!(Missing(_)), &top),
        ],
        &Limits::default(),
    );
    // A blob may be masked, so the push decides whether it must be there.
    let (config, layer) = parts(&layout, &a);
    for missing in [config.digest, layer.digest] {
        let set = manifests(&without(&missing), None).unwrap();
        assert!(set.blobs[&missing].content.is_none());
        assert!(set.blobs.values().filter(|blob| blob.content.is_none()).count() == 1);
    }
}

#[test]
fn malformed_documents() {
    let (layout, image) = one();
    let (config, layer) = parts(&layout, &image);
    let manifest = |more: Value| {
        let mut document = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        document
    };
    let (both, both_name) = with_manifest(media_type::OCI_MANIFEST, &manifest(json!({"manifests": []})));
    let (list, list_name) =
        with_manifest(media_type::OCI_INDEX, &manifest(json!({"manifests": [], "config": null})));
    let own = json!({"mediaType": media_type::DOCKER_MANIFEST});
    let (other_type, other_name) = with_manifest(media_type::OCI_MANIFEST, &manifest(own));
    let schema1 = json!({"schemaVersion": 1, "name": "x", "fsLayers": [], "history": []});
    let (schema1, schema1_name) = with_manifest(media_type::DOCKER_SCHEMA1, &schema1);
    let (unknown, unknown_name) =
        with_manifest("application/vnd.acme.thing\u{1b}[2J", &json!({"schemaVersion": 2}));
    let (no_layers, no_layers_name) =
        with_manifest(media_type::OCI_MANIFEST, &json!({"schemaVersion": 2, "config": config}));
    let wrong_size = json!({"schemaVersion": 2, "config": config, "layers": [{
        "mediaType": layer.media_type, "digest": layer.digest, "size": layer.size + 1}]});
    let (wrong_size, wrong_size_name) = with_manifest(media_type::OCI_MANIFEST, &wrong_size);
    let negative = json!({"schemaVersion": 2, "config": config, "layers": [{
        "mediaType": layer.media_type, "digest": layer.digest, "size": -1}]});
    let (negative, negative_name) = with_manifest(media_type::OCI_MANIFEST, &negative);
    let (sha512, sha512_name) = with_manifest(
        media_type::OCI_MANIFEST,
        &json!({"schemaVersion": 2, "config": {"mediaType": "x/y", "size": 1,
            "digest": format!("sha512:{}", "a".repeat(128))}, "layers": []}),
    );
    let (quoting, quoting_name) =
        with_manifest(media_type::OCI_MANIFEST, &json!({"schemaVersion": "x".repeat(1 << 20)}));
    let (three_layers, three_name) =
        with_manifest(media_type::OCI_MANIFEST, &manifest(json!({"layers": [layer, layer, layer]})));
    let replaced = |name: &str, content: &[u8]| {
        let mut files = layout.files();
        files.set(name, content);
        files.tar()
    };
    // A file that is no manifest fails the push only if somebody asks for it.
    let error = manifests(&unknown, Some("2.0")).unwrap_err();
    assert_refused(
        "unknown type",
        &error,
        rule!(Content(_)),
        unknown_name.trim_start_matches("blobs/sha256/"),
    );
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
    // Clients cannot use it either; the message names the digest.
    let said = failure("another algorithm", &sha512, &Limits::default()).to_string();
    let digest = format!("`sha512:{}`", "a".repeat(128));
    assert!(said.contains(&digest) && said.contains("only sha256 is"), "{said}");
    let set = manifests(&unknown, None).unwrap();
    assert!(set.tags.len() == 1 && set.notes[0].contains("not a manifest"), "{:?}", set.notes);
    check(
        vec![
            ("image and index", both, rule!(Manifest(_)), &both_name),
            ("index and image", list, rule!(Manifest(_)), &list_name),
            ("two media types", other_type, rule!(Manifest(_)), &other_name),
            ("schema 1", schema1, rule!(Manifest(raas_types::ManifestError::Schema1)), &schema1_name),
            ("no layers", no_layers, rule!(Manifest(_)), &no_layers_name),
            ("another size elsewhere", wrong_size, rule!(Content(_)), &wrong_size_name),
            ("a negative size", negative, rule!(Manifest(_)), &negative_name),
            ("another algorithm", sha512, rule!(Manifest(_)), &sha512_name),
            ("a text where a number belongs", quoting, rule!(Manifest(_)), &quoting_name),
            ("more layers than diff ids", three_layers, rule!(Content(_)), &three_name),
            (
                "index.json is not text",
                replaced("index.json", b"{\"manifests\": \"\xff\"}"),
                rule!(Json(_)),
                "index.json",
            ),
            ("index.json is cut", replaced("index.json", b"{\"manifests\": ["), rule!(Json(_)), "index.json"),
            ("index.json is a list", replaced("index.json", b"[1]"), rule!(Json(_)), "index.json"),
            ("deep", replaced("index.json", "[".repeat(100_000).as_bytes()), rule!(Json(_)), "index.json"),
            (
                "deep where nobody looks",
                replaced("index.json", format!("{{\"x\":{}", "[".repeat(100_000)).as_bytes()),
                rule!(Json(_)),
                "index.json",
            ),
            (
                "version 2",
                replaced("oci-layout", br#"{"imageLayoutVersion":"2.0.0"}"#),
                rule!(Content(_)),
                "oci-layout",
            ),
            ("no version", replaced("oci-layout", b"{}"), rule!(Json(_)), "oci-layout"),
        ],
        &Limits::default(),
    );
}

#[test]
fn every_descriptor_of_a_manifest_is_checked() {
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    let longer = Descriptor { size: image.size + 1, ..image.clone() };
    let other = Descriptor { media_type: media_type::DOCKER_MANIFEST.to_owned(), ..image.clone() };
    let with = |child: &Descriptor| {
        let mut layout = layout.clone();
        let index = layout.index(&[image.clone(), child.clone()]);
        layout.tag(&index, "1.0");
        layout.tar()
    };
    let name = blob_name(&image.digest);
    check(
        vec![
            ("size", with(&longer), rule!(Size { .. }), &name),
            ("media type", with(&other), rule!(Manifest(_)), &name),
        ],
        &Limits::default(),
    );
    accepted("listed twice", &with(&image));
}

#[test]
fn tags() {
    let tagged = |annotations: &[(&str, &str)]| {
        let mut layout = Layout::new();
        let image = layout.simple_image("x");
        layout.root(&image, annotations.iter().copied());
        layout.tar()
    };
    let mut twice = Layout::new();
    for content in ["a", "b"] {
        let image = twice.simple_image(content);
        twice.tag(&image, "1.0");
    }
    let long = "t".repeat(129);
    check(vec![("two images", twice.tar(), rule!(Content(_)), "tag 1.0")], &Limits::default());
    for name in ["a b", "..", "app:../x", "1.0\n2.0", &long, "1.0+build5", "stable/amd64"] {
        let bytes = tagged(&[(REF_NAME, name)]);
        let error = manifests(&bytes, None).unwrap_err().to_string();
        assert!(error.contains("no valid tag") && error.contains(&name[..2]), "{error}");
        assert!(!error.contains('\n'), "{error}");
        assert_eq!(manifests(&bytes, Some("3.0")).unwrap().tags.len(), 1, "{name}");
    }
    let tags = |annotations: &[(&str, &str)]| {
        let set = manifests(&tagged(annotations), None).unwrap();
        set.tags.keys().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(tags(&[(REF_NAME, "docker.io/library/app:1.0")]), "1.0");
    assert_eq!(tags(&[(IMAGE_NAME, "docker.io/library/app:1.0")]), "1.0");
    assert_eq!(tags(&[(IMAGE_NAME, "docker.io/library/app:1.0"), (REF_NAME, "2.0")]), "2.0");
    assert_eq!(tags(&[]), "latest");
    assert_eq!(tags(&[(REF_NAME, "")]), "latest");
}

#[test]
fn long_documents_are_refused_before_they_are_read() {
    let limits = Limits { json: 3000, ..Limits::default() };
    let (mut layout, image) = one();
    let (config, _) = parts(&layout, &image);
    let mut files = layout.files();
    files.set("index.json", [layout.files().get("index.json"), &[b' '; 3000]].concat());
    let big = layout.blob(media_type::OCI_CONFIG, [layout.bytes(&config.digest), &[b' '; 3000]].concat());
    let big_name = blob_name(&big.digest);
    let document = json!({"schemaVersion": 2, "config": big, "layers": []});
    let manifest = layout.document(media_type::OCI_MANIFEST, &document);
    layout.tag(&manifest, "2.0");
    check(
        vec![
            ("index.json", files.tar(), rule!(TooLarge { limit: 3000, .. }), "index.json"),
            ("config", layout.tar(), rule!(TooLarge { limit: 3000, .. }), &big_name),
        ],
        &limits,
    );
    let (mut layout, _) = one();
    let long = format!(r#"{{"schemaVersion":2,"x":"{}"}}"#, "x".repeat(4 << 20));
    let manifest = layout.blob(media_type::OCI_MANIFEST, long);
    layout.tag(&manifest, "2.0");
    let name = blob_name(&manifest.digest);
    check(vec![("manifest", layout.tar(), rule!(TooLarge { .. }), &name)], &Limits::default());
}

#[test]
fn an_index_json_of_a_hundred_megabytes() {
    let (layout, _) = one();
    let mut files = layout.files();
    let size = 100_000_000;
    files.remove("index.json");
    let start = files.builder().claiming("index.json", size, "{").without_end_mark();
    let place = source(&start);
    let file = std::fs::File::options().append(true).open(&place.path).unwrap();
    // The rest of the member and the end mark are a hole in the file.
    file.set_len(start.len() as u64 + size + 1024).unwrap();
    let archive = open_path(&place.path, &Limits::default()).unwrap();
    let error = archive.image(&Wanted::default()).unwrap_err();
    assert_refused("index.json", &error, rule!(TooLarge { size: 100_000_000, .. }), "index.json");
}

#[test]
fn all_manifests_and_configs_together_are_bounded() {
    let (mut layout, image) = one();
    let (config, layer) = parts(&layout, &image);
    let document = |n: usize| json!({"schemaVersion": 2, "config": config, "layers": [layer], "x": n});
    let children: Vec<Descriptor> =
        (0..200).map(|n| layout.document(media_type::OCI_MANIFEST, &document(n))).collect();
    let index = layout.index(&children);
    layout.tag(&index, "2.0");
    let bytes = layout.tar();
    let manifests = Limits { manifests: 60_000, ..Limits::default() };
    let error = failure("manifests", &bytes, &manifests);
    assert_refused("manifests", &error, rule!(TooLarge { limit: 60_000, .. }), "blobs/sha256/");
    // A config counts once for each manifest that names it.
    let configs = Limits { configs: config.size * 100, ..Limits::default() };
    let error = failure("configs", &bytes, &configs);
    assert_refused("configs", &error, rule!(TooLarge { .. }), &blob_name(&config.digest));
    accepted("within the limits", &bytes);
}

#[test]
fn indexes_within_indexes() {
    let nested = |depth: usize, fan: usize| {
        let mut layout = Layout::new();
        let mut top = layout.simple_image("x");
        let mut first = None;
        for _ in 0..depth {
            top = layout.index(&vec![top; fan]);
            first.get_or_insert_with(|| top.clone());
        }
        layout.tag(&top, "1.0");
        (layout, first)
    };
    let (layout, _) = nested(8, 1);
    accepted("eight", &layout.tar());
    // The image is the manifest on the ninth level.
    let (layout, _) = nested(9, 1);
    let error = failure("nine", &layout.tar(), &Limits::default());
    assert_refused("nine", &error, rule!(Content(_)), "blobs/sha256/");
    // Each index lists the next one thirty times, which would be endless to read as a tree. With docker's list beside
    // it, the manifests are also read to recognise the format.
    let (layout, _) = nested(8, 30);
    accepted("wide", &layout.tar());
    let mut files = layout.files();
    files.set("manifest.json", "[]");
    accepted("wide, saved by docker", &files.tar());
}

#[test]
fn attachments_are_published_with_their_tag() {
    let mut layout = Layout::new();
    let (amd64, arm64) = (layout.simple_image("a"), layout.simple_image("b"));
    let index = layout.index(&[amd64.clone(), arm64.clone()]);
    let other = layout.simple_image("other");
    let sbom = layout.artifact(&amd64, "application/spdx+json", b"sbom");
    let of_sbom = layout.artifact(&sbom, "application/vnd.acme.signature", b"signature of the sbom");
    let of_other = layout.artifact(&other, "application/spdx+json", b"sbom of the other");
    // The outermost attachment is first in the list, before its subject.
    layout.untagged(&of_sbom);
    layout.untagged(&sbom);
    layout.untagged(&of_other);
    let cosign = layout.cosign_signature(&index);
    let cosign_other = layout.cosign_signature(&other);
    layout.tag(&index, "1.0");
    layout.tag(&other, "2.0");
    let digests = |set: &ManifestSet| set.manifests.keys().copied().collect::<BTreeSet<_>>();
    let expected = |list: &[&Descriptor]| list.iter().map(|d| d.digest).collect::<BTreeSet<_>>();

    let set = manifests(&layout.tar(), Some("1.0")).unwrap();
    assert_eq!(digests(&set), expected(&[&index, &amd64, &arm64, &sbom, &of_sbom, &cosign]));
    let tags: Vec<String> = set.tags.keys().map(ToString::to_string).collect();
    assert_eq!(tags, ["1.0".to_owned(), format!("sha256-{}.sig", index.digest.hex())]);

    let set = manifests(&layout.tar(), Some("2.0")).unwrap();
    assert_eq!(digests(&set), expected(&[&other, &of_other, &cosign_other]));
    let set = manifests(&layout.tar(), None).unwrap();
    assert_eq!((set.manifests.len(), set.tags.len()), (9, 4));

    let error = manifests(&layout.tar(), Some("3.0")).unwrap_err();
    assert!(matches!(&error, ImageError::Choice(text) if text.contains("no tag `3.0`")), "{error:?}");
}

#[test]
fn faults_of_other_manifests_do_not_stop_a_tag() {
    let (mut layout, image) = one();
    let schema1 = json!({"schemaVersion": 1, "name": "x", "fsLayers": [], "history": []});
    let old = layout.document(media_type::DOCKER_SCHEMA1, &schema1);
    layout.tag(&old, "0.1");
    layout.tag(&descriptor(media_type::OCI_MANIFEST, Digest::of(b"pruned"), 6), "0.2");
    let set = manifests(&layout.tar(), Some("1.0")).unwrap();
    assert_eq!(set.manifests.keys().collect::<Vec<_>>(), [&image.digest]);
    assert_refused("all", &manifests(&layout.tar(), None).unwrap_err(), rule!(Manifest(_) | Missing(_)), "");
    // A changed manifest could be a signature, so it is an error.
    let other = layout.simple_image("other");
    layout.tag(&other, "3.0");
    layout.falsify(&other.digest, "{}");
    let error = manifests(&layout.tar(), Some("1.0")).unwrap_err();
    assert_refused("changed", &error, rule!(Digest { .. }), &blob_name(&other.digest));
}

#[test]
fn long_chains_of_attachments_are_read_in_linear_time() {
    let (mut layout, image) = one();
    let mut chain = vec![image];
    for n in 0..1500usize {
        let next = layout.artifact(&chain[n], "application/x", n.to_string().as_bytes());
        chain.push(next);
    }
    chain.iter().skip(1).rev().for_each(|one| layout.untagged(one));
    let set = manifests(&layout.tar(), Some("1.0")).unwrap();
    assert_eq!(set.manifests.len(), 1501);
}

#[test]
fn layouts_without_tags() {
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    let signature = layout.artifact(&image, "application/vnd.acme.signature", b"s");
    layout.untagged(&signature);
    layout.untagged(&image);
    layout.untagged(&image);
    let set = manifests(&layout.tar(), Some("1.0")).unwrap();
    assert_eq!(set.tags.iter().map(|(t, d)| (t.as_str(), *d)).collect::<Vec<_>>(), [("1.0", image.digest)]);
    assert_eq!(set.manifests.len(), 2);
    assert_eq!(manifests(&layout.tar(), None).unwrap().tags.keys().next().unwrap().as_str(), "latest");

    let other = layout.simple_image("other");
    layout.untagged(&other);
    let error = manifests(&layout.tar(), Some("1.0")).unwrap_err();
    assert!(matches!(&error, ImageError::Choice(text) if text.contains("2 images")), "{error:?}");
    let error = manifests(&Layout::new().tar(), None).unwrap_err();
    assert!(matches!(&error, ImageError::Choice(text) if text.contains("no image")), "{error:?}");
}

#[test]
fn layers_of_every_packing_and_foreign_ones() {
    let mut layout = Layout::new();
    let layers = [Pack::Plain, Pack::Gzip, Pack::Zstd]
        .map(|pack| layout.layer(&[("name", format!("{pack:?}").as_bytes())], pack));
    let image = layout.image("arm64", &layers);
    layout.tag(&image, "1.0");
    let archive = accepted("packings", &layout.tar());
    assert_eq!(archive.kind(), SourceKind::Oci);
    let Image::Manifests(set) = archive.image(&wanted(None)).unwrap() else { panic!("manifests") };
    assert_eq!(set.blobs.values().filter_map(|blob| blob.diff_id).count(), 3);
    assert_eq!(set.manifests[&image.digest].platform.as_ref().unwrap().to_string(), "linux/arm64");

    let (mut layout, image) = one();
    let (config, layer) = parts(&layout, &image);
    let foreign = Descriptor {
        media_type: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into(),
        urls: vec!["https://mcr.example.com/layer".into()],
        ..layer.clone()
    };
    let document = json!({"schemaVersion": 2, "config": config, "layers": [foreign]});
    let mut layout_of_foreign = Layout::new();
    layout_of_foreign.blob(&config.media_type, layout.bytes(&config.digest));
    let manifest = layout_of_foreign.document(media_type::OCI_MANIFEST, &document);
    layout_of_foreign.tag(&manifest, "1.0");
    layout = layout_of_foreign;
    let set = manifests(&layout.tar(), None).unwrap();
    let blob = &set.blobs[&layer.digest];
    assert!(blob.content.is_none() && blob.layer && blob.diff_id.is_some());
    assert_eq!(blob.urls, ["https://mcr.example.com/layer"]);
}

#[test]
fn a_diff_id_of_another_layer() {
    let mut layout = Layout::new();
    let mut layer = layout.layer(&[("a", b"a")], Pack::Zstd);
    let name = blob_name(&layer.descriptor.digest);
    layer.diff_id = Digest::of(b"something else");
    let image = layout.image("amd64", &[layer]);
    layout.tag(&image, "1.0");
    check(vec![("diff id", layout.tar(), rule!(DiffId { .. }), &name)], &Limits::default());
}

#[test]
fn several_repositories_in_one_layout() {
    let mut layout = Layout::new();
    for (content, name) in [("a", "docker.io/acme/app:1.0"), ("b", "docker.io/acme/tool:1.0")] {
        let image = layout.simple_image(content);
        layout.root(&image, [(IMAGE_NAME, name), (REF_NAME, "1.0")]);
    }
    let archive = open_bytes(&layout.tar());
    assert_eq!(archive.repositories().unwrap(), ["acme/app", "acme/tool"]);
    let set = archive.image(&published_as("app")).unwrap();
    assert!(matches!(set, Image::Manifests(set) if set.manifests.len() == 1));
    assert!(matches!(archive.choose(&published_as("other")), Err(ImageError::Choice(_))));
    for (repository, is_there) in [("acme/app", true), ("docker.io/acme/app", true), ("app", false)] {
        let wanted = Wanted { repository: Some(repository.to_owned()), ..published_as("app") };
        assert_eq!(archive.choose(&wanted).is_ok(), is_there, "{repository}");
    }
}

#[test]
fn a_stream_that_gives_a_few_bytes_at_a_time() {
    struct Trickle(std::io::Cursor<Vec<u8>>);
    impl std::io::Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let most = buffer.len().min(7);
            self.0.read(&mut buffer[..most])
        }
    }
    let (layout, _) = one();
    for pack in [Pack::Plain, Pack::Gzip, Pack::Zstd] {
        let stream = Trickle(std::io::Cursor::new(pack.apply(&layout.tar())));
        let archive = open_stream(stream, &Limits::default()).unwrap();
        assert_eq!(archive.kind(), SourceKind::Oci);
    }
}

#[test]
fn an_index_that_lists_a_manifest_again_and_again() {
    let layout_of = |times: usize| {
        let (mut layout, image) = one();
        layout.untag();
        let index = layout.index(&vec![image; times]);
        layout.tag(&index, "1.0");
        (layout, index)
    };
    let (layout, index) = layout_of(3);
    let set = manifests(&layout.tar(), None).unwrap();
    assert_eq!(set.manifests.len(), 2);
    let noted = format!("{} lists 1 of its 1 manifests more than once", blob_name(&index.digest));
    assert!(set.notes.iter().any(|note| note.starts_with(&noted)), "{:?}", set.notes);
    let (layout, index) = layout_of(1000);
    let said = failure("repeats", &layout.tar(), &Limits::default()).to_string();
    assert!(said.contains("1000 times; raas publishes at most 100"), "{said}");
    assert!(said.contains(&index.digest.hex()), "{said}");
}

#[test]
fn a_manifest_with_absurdly_many_layers() {
    let (mut layout, image) = one();
    layout.untag();
    let (config, layer) = parts(&layout, &image);
    let artifact = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": {"mediaType": "application/x", "digest": config.digest, "size": config.size},
        "layers": vec![layer; 10_001],
    });
    let manifest = layout.document(media_type::OCI_MANIFEST, &artifact);
    layout.tag(&manifest, "1.0");
    let said = failure("layers", &layout.tar(), &Limits::default()).to_string();
    assert!(said.contains("lists 10001 entries, more than the 10000"), "{said}");
}
