//! Choosing an image of a source. No case publishes another image than the user meant.

use raas_image::{Image, ImageError, ManifestSet, SavedSet, SourceKind, Wanted};
use raas_testkit::docker_save::{LayerPlaces, Saved, newer, newest, oldest, platforms};
use raas_testkit::layers::{Pack, layer};
use raas_testkit::oci::{IMAGE_NAME, Layout, REF_NAME, blob_name};
use raas_testkit::{Files, fixtures};
use raas_types::{Digest, Platform, media_type};
use serde_json::{Value, json};

use crate::support::{accepted, open_bytes, published_as, wanted};

const APP: &str = "bigdatainc/bigdata-app";

/// The message of a choice that was not made.
fn choice<T: std::fmt::Debug>(outcome: Result<T, ImageError>) -> String {
    match outcome {
        Err(ImageError::Choice(message)) => message,
        other => panic!("expected a choice, found {other:?}"),
    }
}

fn manifests(files: &Files, wanted: &Wanted) -> Result<ManifestSet, ImageError> {
    match open_bytes(&files.tar()).image(wanted)? {
        Image::Manifests(set) => Ok(set),
        other => panic!("expected manifests, found {other:?}"),
    }
}

fn saved(files: &Files, wanted: &Wanted) -> Result<SavedSet, ImageError> {
    match open_bytes(&files.tar()).image(wanted)? {
        Image::Saved(set) => Ok(set),
        other => panic!("expected saved images, found {other:?}"),
    }
}

fn by_digest(digest: Digest) -> Wanted {
    Wanted { digest: Some(digest), ..published_as("app") }
}

fn tags(set: &ManifestSet) -> Vec<String> {
    set.tags.keys().map(ToString::to_string).collect()
}

fn export() -> Files {
    Files::from_tar(&std::fs::read(fixtures::pulp3_new()).unwrap())
}

/// The names of a repository's members that end so.
fn members(files: &Files, end: &str) -> Vec<String> {
    let of_app = |name: &&str| name.contains("bigdata-app") && name.ends_with(end);
    files.names().filter(of_app).map(str::to_owned).collect()
}

#[test]
fn the_only_named_image_is_not_the_only_image() {
    let (own, helper) = ([layer(&[("a", b"a")])], [layer(&[("b", b"helper")])]);
    let images = [Saved { names: &[], layers: &own }, Saved { names: &["helper:1"], layers: &helper }];
    for files in [newer(&images, LayerPlaces::Folders), newest(&images)] {
        let message = choice(saved(&files, &published_as("app")));
        assert!(message.contains("`helper`") && message.contains("sha256:"), "{message}");
        let entries: Value = serde_json::from_slice(files.get("manifest.json")).unwrap();
        let config = Digest::of(files.get(entries[0]["Config"].as_str().unwrap()));
        assert!(message.contains(&config.to_string()), "{message}");
        let set = saved(&files, &by_digest(config)).unwrap();
        assert_eq!((set.images.len(), Digest::of(&set.images[0].config)), (1, config));
        assert_eq!(set.images[0].tags[0].as_str(), "latest");
        let named = Wanted { repository: Some("helper".into()), ..published_as("app") };
        assert_eq!(saved(&files, &named).unwrap().images[0].tags[0].as_str(), "1");
        let message = choice(saved(&files, &by_digest(Digest::of(b"x"))));
        assert!(message.contains("no image with the digest"), "{message}");
        assert!(message.contains(&config.to_string()), "the digests to choose from: {message}");
    }
}

#[test]
fn the_only_named_image_of_a_layout_is_not_the_only_image() {
    let mut layout = Layout::new();
    let (own, helper) = (layout.simple_image("own"), layout.simple_image("helper"));
    layout.untagged(&own);
    layout.root(&helper, [(IMAGE_NAME, "docker.io/library/helper:1"), (REF_NAME, "1")]);
    let files = layout.files();
    let message = choice(manifests(&files, &published_as("app")));
    assert!(message.contains("`helper`") && message.contains(&own.digest.to_string()), "{message}");
    let set = manifests(&files, &by_digest(own.digest)).unwrap();
    assert_eq!((set.manifests.len(), set.tags["latest"]), (1, own.digest));
    let under = Wanted { tag: Some("2.0".parse().unwrap()), ..by_digest(own.digest) };
    assert_eq!(tags(&manifests(&files, &under).unwrap()), ["2.0"]);
    // An attachment without a name is no image of its own.
    let mut layout = Layout::new();
    let image = layout.simple_image("own");
    let signature = layout.artifact(&image, "application/vnd.acme.signature", b"s");
    layout.root(&image, [(IMAGE_NAME, "docker.io/library/other:1"), (REF_NAME, "1")]);
    layout.untagged(&signature);
    assert_eq!(manifests(&layout.files(), &published_as("app")).unwrap().manifests.len(), 2);
    // The tag of an index does not make its nameless images images of their own.
    let index = layout.index(std::slice::from_ref(&image));
    let mut layout_of_index = layout.clone();
    layout_of_index.untag();
    layout_of_index.tag(&index, "1");
    layout_of_index.untagged(&image);
    assert_eq!(tags(&manifests(&layout_of_index.files(), &wanted(None)).unwrap()), ["1"]);
}

#[test]
fn a_tag_of_two_repositories_is_not_chosen_by_chance() {
    let (one, two) = ([layer(&[("a", b"a")])], [layer(&[("b", b"b")])]);
    let images = [Saved { names: &["a/tool:1"], layers: &one }, Saved { names: &["b/tool:1"], layers: &two }];
    for files in [oldest(&images), newer(&images, LayerPlaces::Folders), newest(&images)] {
        let archive = open_bytes(&files.tar());
        let message = choice(archive.choose(&published_as("tool")).map(drop));
        assert!(message.contains("`a/tool`, `b/tool`"), "{message}");
        let named = Wanted { repository: Some("docker.io/b/tool".into()), ..published_as("tool") };
        assert_eq!(archive.choose(&named).unwrap().repository(), Some("b/tool"));
    }
}

#[test]
fn a_pulp_repository_without_tags_is_still_a_repository() {
    let mut files = export();
    for name in members(&files, ".TagResource.json") {
        files.remove(&name);
    }
    let archive = open_bytes(&files.tar());
    assert_eq!(archive.repositories().unwrap(), ["acme/base", APP]);
    let wanted_app = Wanted { repository: Some(APP.into()), ..Wanted::default() };
    let message = choice(archive.image(&wanted_app));
    assert!(message.contains("tags none of them") && message.contains("--digest"), "{message}");
    let digest: Digest = message.split([' ', ',']).find(|word| word.len() == 71).unwrap().parse().unwrap();
    let set = manifests(&files, &Wanted { digest: Some(digest), ..Wanted::default() }).unwrap();
    assert!(set.tags.is_empty() && set.manifests.contains_key(&digest));
    assert!(set.notes.iter().any(|note| note.contains("by its digest")), "{:?}", set.notes);
    let tagged = Wanted { tag: Some("3.0".parse().unwrap()), digest: Some(digest), ..Wanted::default() };
    assert_eq!(manifests(&files, &tagged).unwrap().tags["3.0"], digest);
    // Without any resource, nothing names the repository.
    for name in members(&files, ".json").iter().filter(|name| name.contains("/pulp_container.")) {
        files.remove(name);
    }
    assert_eq!(open_bytes(&files.tar()).repositories().unwrap(), ["acme/base"]);
}

#[test]
fn artifacts_of_a_pulp_domain_are_found() {
    let genuine = export();
    let mut files = Files::new();
    for name in genuine.names().map(str::to_owned).collect::<Vec<_>>() {
        let moved = name.replacen("artifact/", "artifact/team-a/", 1);
        files.set(moved, genuine.get(&name));
    }
    let wanted = Wanted { repository: Some(APP.into()), ..Wanted::default() };
    let set = manifests(&files, &wanted).unwrap();
    assert!(set.blobs.values().all(|blob| blob.content.is_some()));
    assert_eq!(set.blobs.len(), manifests(&genuine, &wanted).unwrap().blobs.len());
}

#[test]
fn an_earlier_publication_fills_an_incremental_export() {
    let files = Files::from_tar(&{
        let mut plain = Vec::new();
        let packed = std::fs::File::open(fixtures::pulp3_old()).unwrap();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(packed), &mut plain).unwrap();
        plain
    });
    struct Earlier(ManifestSet);
    impl raas_image::Store for Earlier {
        fn manifest(&self, digest: &Digest) -> Result<Option<raas_image::StoredManifest>, ImageError> {
            let found = self.0.manifests.get(digest);
            Ok(found.map(|item| raas_image::StoredManifest { bytes: item.bytes.clone(), media_type: None }))
        }
        fn blob(&self, digest: &Digest) -> Result<Option<raas_image::Content>, ImageError> {
            Ok(self.0.blobs.get(digest).and_then(|blob| blob.content.clone()))
        }
        fn name(&self, digest: &Digest) -> String {
            digest.to_string()
        }
    }
    let wanted = Wanted { repository: Some(APP.into()), ..Wanted::default() };
    let whole = manifests(&files, &wanted).unwrap();
    let mut incremental = files.clone();
    for name in files.names().filter(|name| name.starts_with("artifact/")) {
        incremental.remove(name);
    }
    let archive = open_bytes(&incremental.tar());
    let selection = archive.choose(&wanted).unwrap();
    assert!(archive.read(&selection, None).is_err());
    let Image::Manifests(set) = archive.read(&selection, Some(&Earlier(whole))).unwrap() else { panic!() };
    assert_eq!((set.manifests.len(), tags(&set).len()), (4, 3));
    assert!(
        set.notes.iter().any(|note| note.contains("lacks 4 manifests that an earlier publication has")),
        "{:?}",
        set.notes
    );
}

#[test]
fn a_store_that_is_no_archive_is_read_in_the_same_way() {
    struct Registry(Layout);
    impl raas_image::Store for Registry {
        fn manifest(&self, digest: &Digest) -> Result<Option<raas_image::StoredManifest>, ImageError> {
            let bytes = self.0.bytes(digest).to_vec();
            Ok(Some(raas_image::StoredManifest { bytes, media_type: None }))
        }
        fn blob(&self, digest: &Digest) -> Result<Option<raas_image::Content>, ImageError> {
            Ok(Some(raas_image::Content::memory("a blob", self.0.bytes(digest))))
        }
        fn name(&self, digest: &Digest) -> String {
            format!("registry.example.com/app@{digest}")
        }
    }
    let mut layout = Layout::new();
    let (image, other) = (layout.simple_image("x"), layout.simple_image("other"));
    let signature = layout.artifact(&image, "application/vnd.acme.signature", b"s");
    let of_other = layout.artifact(&other, "application/vnd.acme.signature", b"t");
    let images = [(image.digest, vec!["1".parse().unwrap(), "latest".parse().unwrap()])].into();
    let cosign = layout.cosign_signature(&image);
    let tag = format!("sha256-{}.sig", image.digest.hex()).parse().unwrap();
    let attachments = [(signature.digest, None), (of_other.digest, None), (cosign.digest, Some(tag))];
    let attachments = attachments.map(|(digest, tag)| raas_image::Attachment { digest, tag });
    let limits = raas_image::Limits::default();
    let set = raas_image::read_store(&Registry(layout), &images, &attachments, &[], &limits).unwrap();
    assert_eq!((tags(&set).len(), set.manifests.len()), (3, 3));
    assert!(set.manifests.contains_key(&signature.digest) && set.manifests.contains_key(&cosign.digest));
}

#[test]
fn every_platform_of_a_saved_index_is_published() {
    for pack in [Pack::Plain, Pack::Gzip] {
        let mut files = platforms(&["amd64", "arm64"], &["amd64", "arm64"], pack);
        assert_eq!(manifests(&files, &published_as("app")).unwrap().manifests.len(), 3, "{pack:?}");
        files.remove("manifest.json");
        assert_eq!(manifests(&files, &published_as("app")).unwrap().manifests.len(), 3, "{pack:?}");
    }
}

#[test]
fn missing_platforms_are_named_and_the_others_can_be_chosen() {
    let all = ["amd64", "arm64", "s390x"];
    let for_platforms = |list: &str| {
        let platforms: Vec<Platform> = list.split(',').map(|text| text.parse().unwrap()).collect();
        Wanted { platforms, ..published_as("app") }
    };
    let files = platforms(&all, &["amd64", "arm64"], Pack::Gzip);
    let error = manifests(&files, &published_as("app")).unwrap_err().to_string();
    for word in ["linux/s390x", "--platform linux/amd64,linux/arm64"] {
        assert!(error.contains(word), "{word}: {error}");
    }
    let set = manifests(&files, &for_platforms("linux/amd64,linux/arm64")).unwrap();
    let index = &set.manifests[&set.tags["1"]];
    assert_eq!((index.manifest.children().len(), set.manifests.len()), (2, 3));
    assert!(set.notes.iter().any(|note| note.contains("a digest of its own")), "{:?}", set.notes);
    let set = manifests(&files, &for_platforms("linux/arm64")).unwrap();
    assert_eq!(set.manifests[&set.tags["1"]].platform.as_ref().unwrap().to_string(), "linux/arm64");
    assert!(
        choice(manifests(&files, &for_platforms("linux/s390x"))).contains("lacks the image for linux/s390x")
    );
    assert!(
        choice(manifests(&files, &for_platforms("linux/riscv64"))).contains("no image for linux/riscv64")
    );
    // All of them is the index itself.
    let whole = platforms(&all, &all, Pack::Gzip);
    let set = manifests(&whole, &for_platforms("linux/amd64,linux/arm64,linux/s390x")).unwrap();
    assert_eq!(set.tags["1"], manifests(&whole, &published_as("app")).unwrap().tags["1"]);
    // docker pulled one of three.
    let one = platforms(&all, &["arm64"], Pack::Gzip);
    let set = manifests(&one, &published_as("app")).unwrap();
    assert_eq!(set.manifests[&set.tags["1"]].platform.as_ref().unwrap().to_string(), "linux/arm64");
    // A layout that docker did not write says nothing of what was pulled.
    let mut other = one;
    other.remove("manifest.json");
    assert!(
        manifests(&other, &published_as("app")).unwrap_err().to_string().contains("--platform linux/arm64")
    );
}

#[test]
fn a_platform_of_a_single_image_is_compared() {
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    layout.tag(&image, "1.0");
    let of = |text: &str| Wanted { platforms: vec![text.parse().unwrap()], ..Wanted::default() };
    assert!(manifests(&layout.files(), &of("linux/amd64")).is_ok());
    assert!(choice(manifests(&layout.files(), &of("linux/arm64"))).contains("linux/amd64"));
    let plain = [layer(&[("a", b"a")])];
    let files = newer(&[Saved { names: &["app:1"], layers: &plain }], LayerPlaces::Folders);
    assert!(saved(&files, &of("linux/amd64")).is_ok());
    assert!(choice(saved(&files, &of("linux/arm64"))).contains("linux/amd64"));
}

#[test]
fn of_two_descriptions_the_complete_one_is_used() {
    let plain = [layer(&[("a", b"a")])];
    let tagged = newest(&[Saved { names: &["app:1"], layers: &plain }]);
    let edited = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut document: Value = serde_json::from_slice(tagged.get(name)).unwrap();
        change(&mut document);
        let mut files = tagged.clone();
        files.set(name, document.to_string());
        files
    };
    // docker 25 with a name and a digest.
    let null_index = edited("index.json", &|index| index["manifests"] = Value::Null);
    // docker 25.0.0: the manifest without layers.
    let index: Value = serde_json::from_slice(tagged.get("index.json")).unwrap();
    let digest: Digest = index["manifests"][0]["digest"].as_str().unwrap().parse().unwrap();
    let mut manifest: Value = serde_json::from_slice(tagged.get(&blob_name(&digest))).unwrap();
    manifest["layers"] = json!([]);
    let bytes = manifest.to_string();
    let broken = Digest::of(bytes.as_bytes());
    let no_layers = {
        let mut files = edited("index.json", &|index| {
            index["manifests"][0]["digest"] = broken.to_string().into();
            index["manifests"][0]["size"] = bytes.len().into();
        });
        files.set(blob_name(&broken), bytes);
        files
    };
    let no_manifest = {
        let mut files = tagged.clone();
        files.remove(&blob_name(&digest));
        files
    };
    for (label, files) in [("null", null_index), ("no layers", no_layers), ("no manifest", no_manifest)] {
        let archive = accepted(label, &files.tar());
        assert_eq!(archive.kind(), SourceKind::DockerSave, "{label}");
        let image = archive.image(&published_as("app")).unwrap();
        assert_eq!(image.tags(), ["1".parse().unwrap()], "{label}");
        assert!(image.notes().iter().any(|note| note.contains("index.json is incomplete")), "{label}");
    }
    for (label, list) in
        [("null", "null"), ("empty", "[]"), ("not JSON", "x"), ("files gone", r#"[{"Config":"gone"}]"#)]
    {
        let mut files = tagged.clone();
        files.set("manifest.json", list);
        let archive = accepted(label, &files.tar());
        assert_eq!(archive.kind(), SourceKind::Oci, "{label}");
        let image = archive.image(&published_as("app")).unwrap();
        assert!(image.notes().iter().any(|note| note.contains("not from manifest.json")), "{label}");
    }
    // Both are whole, and manifest.json has an image more.
    let two = newest(&[
        Saved { names: &["app:1"], layers: &plain },
        Saved { names: &["app:2"], layers: &[layer(&[("b", b"b")])] },
    ]);
    let mut document: Value = serde_json::from_slice(two.get("index.json")).unwrap();
    document["manifests"].as_array_mut().unwrap().pop();
    let mut files = two;
    files.set("index.json", document.to_string());
    assert_eq!(saved(&files, &published_as("app")).unwrap().images.len(), 2);
}

#[test]
fn entries_that_are_no_manifests_are_noted() {
    let xml = "<component/>";
    for tag in [Some("1"), None] {
        let mut layout = Layout::new();
        let image = layout.simple_image("x");
        match tag {
            Some(tag) => layout.tag(&image, tag),
            None => layout.untagged(&image),
        }
        let component = layout.blob("application/xml", xml);
        layout.untagged(&component);
        let set = manifests(&layout.files(), &published_as("app")).unwrap();
        assert_eq!((set.manifests.len(), set.tags.len()), (1, 1));
        assert!(set.notes.iter().any(|note| note.contains("application/xml")), "{:?}", set.notes);
        assert!(manifests(&layout.files(), &by_digest(component.digest)).is_err());
    }
    // Within the index that is published, such a file comes along.
    let mut layout = Layout::new();
    let (image, component) = (layout.simple_image("x"), layout.blob("application/xml", xml));
    let index = layout.index(&[image, component.clone()]);
    layout.tag(&index, "1");
    let set = manifests(&layout.files(), &published_as("app")).unwrap();
    assert!(set.blobs[&component.digest].content.is_some() && set.notes.len() == 1, "{:?}", set.notes);
    // An entry that raas cannot read at all.
    let mut files = layout.files();
    let mut document: Value = serde_json::from_slice(files.get("index.json")).unwrap();
    document["manifests"]
        .as_array_mut()
        .unwrap()
        .push(json!({"digest": format!("sha512:{}", "a".repeat(128))}));
    files.set("index.json", document.to_string());
    let set = manifests(&files, &published_as("app")).unwrap();
    assert!(set.notes.iter().any(|note| note.contains("entry 2 of index.json")), "{:?}", set.notes);
}

#[test]
fn a_broken_entry_without_a_tag_is_noted_beside_a_tagged_one() {
    type Edit = fn(&mut Layout);
    let edits: [(&str, Edit); 4] = [
        ("not in the source", |layout| {
            let gone = layout.simple_image("gone");
            layout.untagged(&gone);
            layout.remove(&gone.digest);
        }),
        ("not published", |layout| {
            let text = layout.blob(media_type::OCI_MANIFEST, "no JSON");
            layout.untagged(&text);
        }),
        ("not published", |layout| {
            let config = layout.blob("", r#"{"architecture":"amd64","os":"linux"}"#);
            layout.untagged(&config);
        }),
        ("lists it", |layout| {
            let gone = layout.simple_image("gone");
            let kept = layout.simple_image("kept");
            let index = layout.index(&[gone.clone(), kept]);
            layout.untagged(&index);
            layout.remove(&gone.digest);
        }),
    ];
    for (why, edit) in edits {
        let mut layout = Layout::new();
        let good = layout.simple_image("good");
        layout.tag(&good, "1");
        edit(&mut layout);
        let files = layout.files();
        for asked in [published_as("app"), wanted(Some("1"))] {
            let set = manifests(&files, &asked).unwrap();
            assert_eq!((tags(&set), set.manifests.len()), (vec!["1".to_owned()], 1), "{why}");
            let is_noted = set.notes.iter().any(|note| note.contains(why));
            assert_eq!(is_noted, asked.tag.is_none(), "{:?}", set.notes);
        }
        // It is an error if it is asked for, or if nothing else has a tag.
        let mut layout = Layout::new();
        edit(&mut layout);
        assert!(manifests(&layout.files(), &published_as("app")).is_err(), "{why}");
    }
    let mut layout = Layout::new();
    let good = layout.simple_image("good");
    layout.tag(&good, "1");
    for n in 0..20 {
        let gone = layout.simple_image(&format!("gone {n}"));
        layout.untagged(&gone);
        layout.remove(&gone.digest);
    }
    let notes = manifests(&layout.files(), &published_as("app")).unwrap().notes;
    assert!(notes.len() == 6 && notes[5].contains("15 more"), "{notes:?}");
}

#[test]
fn a_name_without_a_valid_tag_stops_only_who_needs_it() {
    let mut layout = Layout::new();
    let (good, other) = (layout.simple_image("good"), layout.simple_image("other"));
    layout.tag(&good, "1");
    layout.tag(&other, "1.0+build5");
    let files = layout.files();
    assert_eq!(manifests(&files, &Wanted { ..wanted(Some("1")) }).unwrap().manifests.len(), 1);
    let set = manifests(&files, &published_as("app")).unwrap();
    assert_eq!((tags(&set), set.manifests.len()), (vec!["1".to_owned()], 2));
    assert!(set.notes.iter().any(|note| note.contains("1.0+build5")), "{:?}", set.notes);
    let message = choice(manifests(&files, &wanted(Some("2"))));
    assert!(message.contains("no tag `2`") && message.contains("called `1.0+build5`"), "{message}");
    let named = Wanted { tag: Some("1.0-build5".parse().unwrap()), ..by_digest(other.digest) };
    assert_eq!(manifests(&files, &named).unwrap().tags["1.0-build5"], other.digest);

    let (one, two) = ([layer(&[("a", b"a")])], [layer(&[("b", b"b")])]);
    let images = [
        Saved { names: &["app:1"], layers: &one },
        Saved { names: &["app:1.0+b", "<none>:<none>"], layers: &two },
    ];
    let files = newer(&images, LayerPlaces::Folders);
    assert_eq!(saved(&files, &wanted(Some("1"))).unwrap().images.len(), 1);
    let set = saved(&files, &published_as("app")).unwrap();
    assert!(set.images.len() == 1 && set.notes[0].contains("`app:1.0+b`"), "{:?}", set.notes);
}

#[test]
fn names_in_every_form_of_docker_are_read() {
    let plain = [layer(&[("a", b"a")])];
    let digest = Digest::of(b"");
    let pinned = format!("app@{digest}");
    let table = [
        ("<none>:<none>", "latest"),
        ("registry.example.com/app:2", "2"),
        ("registry.example.com:5000/team/app:1", "1"),
        ("registry.example.com:5000/app:V1.0-RC1", "V1.0-RC1"),
    ];
    for (name, tag) in table {
        let files = newer(&[Saved { names: &[name], layers: &plain }], LayerPlaces::Folders);
        assert_eq!(saved(&files, &published_as("app")).unwrap().images[0].tags[0].as_str(), tag, "{name}");
    }
    let files = newer(&[Saved { names: &["app:1"], layers: &plain }], LayerPlaces::Folders);
    for name in ["", "app", &pinned, &digest.to_string()] {
        let mut files = files.clone();
        files.replace("manifest.json", "\"app:1\"", &format!("\"{name}\""));
        assert_eq!(
            saved(&files, &published_as("app")).unwrap().images[0].tags[0].as_str(),
            "latest",
            "{name}"
        );
    }
}

#[test]
fn the_oldest_save_of_an_image_by_its_id_is_read() {
    let layers = [layer(&[("a", b"a")]), layer(&[("b", b"b")])];
    for repositories in [None, Some("{}"), Some("null"), Some(r#"{"app": null}"#)] {
        let mut files = oldest(&[Saved { names: &["app:1"], layers: &layers }]);
        match repositories {
            None => files.remove("repositories"),
            Some(text) => files.set("repositories", text),
        };
        let archive = accepted("by id", &files.tar());
        assert_eq!(archive.kind(), SourceKind::DockerV1);
        let image = archive.image(&published_as("app")).unwrap();
        assert_eq!(image.tags(), ["latest".parse().unwrap()]);
        assert!(matches!(image, Image::V1(set) if set.images.len() == 2));
    }
    // Two images on one base.
    let other = [layers[0].clone(), layer(&[("c", b"c")])];
    let images = [Saved { names: &["a:1"], layers: &layers }, Saved { names: &["b:1"], layers: &other }];
    let mut files = oldest(&images);
    files.remove("repositories");
    let archive = open_bytes(&files.tar());
    let message = choice(archive.image(&published_as("app")));
    assert!(message.contains("2 images") && message.contains("--digest"), "{message}");
}

#[test]
fn optional_parts_of_a_layout_may_be_null() {
    let edits: [fn(&mut Value); 6] = [
        |m| m["layers"][0]["urls"] = Value::Null,
        |m| m["annotations"] = Value::Null,
        |m| m["annotations"] = json!({"org.opencontainers.image.revision": null}),
        |m| m["subject"] = Value::Null,
        |m| m["config"]["data"] = Value::Null,
        |m| m["mediaType"] = Value::Null,
    ];
    for edit in edits {
        let mut layout = Layout::new();
        let image = layout.simple_image("x");
        let mut manifest: Value = serde_json::from_slice(layout.bytes(&image.digest)).unwrap();
        edit(&mut manifest);
        let edited = layout.document(media_type::OCI_MANIFEST, &manifest);
        layout.tag(&edited, "1");
        accepted(&manifest.to_string(), &layout.tar());
    }
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    layout.tag(&image, "1");
    let mut files = layout.files();
    let mut index: Value = serde_json::from_slice(files.get("index.json")).unwrap();
    index["manifests"][0]["platform"] = json!({});
    index["manifests"][0]["size"] = Value::Null;
    index["manifests"][0]["mediaType"] = Value::Null;
    index["manifests"][0]["urls"] = Value::Null;
    files.set("index.json", index.to_string());
    accepted("an entry of index.json", &files.tar());
    // A config whose lists are null.
    let mut layout = Layout::new();
    let config =
        layout.blob(media_type::OCI_CONFIG, r#"{"architecture":null,"os":null,"rootfs":{"diff_ids":null}}"#);
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": null});
    let manifest = layout.document(media_type::OCI_MANIFEST, &manifest);
    layout.tag(&manifest, "1");
    accepted("a config", &layout.tar());
}

#[test]
fn an_artifact_may_have_any_file_as_its_config() {
    for config in ["{}", "", "null", "apiVersion: v1\n"] {
        let mut layout = Layout::new();
        let config = layout.blob(media_type::OCI_CONFIG, config);
        let content = layout.blob("application/octet-stream", "content");
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [content]});
        let artifact = layout.document(media_type::OCI_MANIFEST, &manifest);
        layout.tag(&artifact, "1");
        let set = manifests(&layout.files(), &wanted(None)).unwrap();
        assert_eq!((set.manifests.len(), set.blobs.len()), (1, 2));
    }
}

#[test]
fn a_descriptor_with_its_content_needs_no_blob() {
    let mut layout = Layout::new();
    let config = layout.blob("application/vnd.oci.empty.v1+json", "{}");
    let content = layout.blob("application/octet-stream", "content");
    let mut manifest = json!({"schemaVersion": 2, "config": config, "layers": [content]});
    manifest["config"]["data"] = "e30=".into();
    let artifact = layout.document(media_type::OCI_MANIFEST, &manifest);
    layout.tag(&artifact, "1");
    layout.remove(&config.digest);
    let set = manifests(&layout.files(), &wanted(None)).unwrap();
    assert_eq!(set.blobs[&config.digest].content.as_ref().unwrap().read_all(10).unwrap(), b"{}");
    // Data of another digest is not the content.
    manifest["config"]["data"] = "e31=".into();
    let lying = layout.document(media_type::OCI_MANIFEST, &manifest);
    layout.untag();
    layout.tag(&lying, "1");
    assert!(manifests(&layout.files(), &wanted(None)).unwrap().blobs[&config.digest].content.is_none());
}

#[test]
fn a_dir_folder_of_skopeo_is_read() {
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    let index = layout.index(std::slice::from_ref(&image));
    let whole = layout.files();
    let blobs = |skip: &[Digest]| {
        let mut files = Files::new();
        files.set("version", "Directory Transport Version: 1.1\n");
        for name in whole.names().filter(|name| name.starts_with("blobs/sha256/")) {
            let hex = name.rsplit('/').next().unwrap();
            if !skip.iter().any(|digest| digest.hex() == hex) {
                files.set(hex, whole.get(name));
            }
        }
        files
    };
    let mut single = blobs(&[image.digest, index.digest]);
    single.set("manifest.json", layout.bytes(&image.digest));
    let mut multi = blobs(&[image.digest, index.digest]);
    multi.set("manifest.json", layout.bytes(&index.digest));
    multi.set(format!("{}.manifest.json", image.digest.hex()), layout.bytes(&image.digest));
    for (files, count) in [(single, 1), (multi, 2)] {
        let archive = accepted("dir", &files.tar());
        assert_eq!(archive.kind(), SourceKind::Dir);
        let Image::Manifests(set) = archive.image(&published_as("app")).unwrap() else { panic!("manifests") };
        assert_eq!((set.manifests.len(), tags(&set)), (count, vec!["latest".to_owned()]));
        assert!(set.blobs.values().all(|blob| blob.content.is_some()));
        let folder = tempfile::tempdir().unwrap();
        files.write_to(folder.path());
        let archive = crate::support::open_path(folder.path(), &raas_image::Limits::default()).unwrap();
        assert_eq!(archive.image(&wanted(Some("1"))).unwrap().tags(), ["1".parse().unwrap()]);
    }
}
