//! Archives of `docker save`, in its three generations.

use raas_image::{Image, ImageError, Limits, SourceKind, Wanted};
use raas_testkit::docker_save::{LayerPlaces, Saved, newer, newest, oldest};
use raas_testkit::fixtures;
use raas_testkit::layers::{Pack, layer};
use raas_testkit::oci::Layout;
use raas_types::Digest;
use serde_json::json;

use crate::rule;
use crate::support::{
    accepted, assert_refused, check, failure, manifests, open_bytes, published_as, saved, v1, wanted,
};

fn layers(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| layer(&[(name, name.as_bytes())])).collect()
}

fn config_name(files: &raas_testkit::Files) -> String {
    files.names().find(|name| name.len() == 69 && name.ends_with(".json")).unwrap().to_owned()
}

#[test]
fn every_generation_is_read() {
    let (one, two) = (layers(&["a", "b"]), layers(&["a", "c", "a"]));
    let images = [
        Saved { names: &["acme/app:1.0", "acme/app:latest"], layers: &one },
        Saved { names: &["acme/app:2.0"], layers: &two },
    ];
    let table = [
        ("oldest", oldest(&images).tar(), SourceKind::DockerV1),
        ("newer", newer(&images, LayerPlaces::Folders).tar(), SourceKind::DockerSave),
        ("with links", newer(&images, LayerPlaces::Links).tar(), SourceKind::DockerSave),
        ("newest", newest(&images).tar(), SourceKind::DockerSave),
    ];
    for (label, bytes, kind) in table {
        let archive = accepted(label, &bytes);
        assert_eq!(archive.kind(), kind, "{label}");
        assert_eq!(archive.repositories().unwrap(), ["acme/app"], "{label}");
        let image = archive.image(&Wanted::default()).unwrap();
        let mut tags: Vec<String> = image.tags().iter().map(ToString::to_string).collect();
        tags.sort();
        assert_eq!(tags, ["1.0", "2.0", "latest"], "{label}");
        match image {
            Image::Saved(set) => {
                assert_eq!((set.images.len(), set.layers.len()), (2, 3), "{label}");
                for image in &set.images {
                    assert!(image.diff_ids.iter().all(|id| set.layers.contains_key(id)), "{label}");
                }
            }
            Image::V1(set) => assert_eq!(set.images.len(), 4, "{label}"),
            Image::Manifests(set) => panic!("{label}: {set:?}"),
        }
        let wanted = Wanted { repository: Some("acme/app".into()), ..wanted(Some("2.0")) };
        assert_eq!(archive.image(&wanted).unwrap().tags().len(), 1, "{label}");
        let wanted = Wanted { tag: Some("3.0".parse().unwrap()), ..wanted };
        assert!(matches!(archive.image(&wanted), Err(ImageError::Choice(_))), "{label}");
    }
}

#[test]
fn the_genuine_archives_by_every_way() {
    for (path, kind) in
        [(fixtures::docker_save(), SourceKind::DockerSave), (fixtures::pulp2(), SourceKind::Pulp2)]
    {
        assert_eq!(accepted("genuine", &std::fs::read(path).unwrap()).kind(), kind);
    }
}

#[test]
fn archives_without_tags() {
    let one = layers(&["a"]);
    let (untagged, other) =
        (Saved { names: &[], layers: &one }, Saved { names: &[], layers: &layers(&["b"]) });
    for files in [newer(&[untagged], LayerPlaces::Folders), newest(&[untagged])] {
        let set = saved(&files.tar(), Some("1.0")).unwrap();
        assert_eq!(set.images[0].tags[0].as_str(), "1.0");
        assert_eq!(saved(&files.tar(), None).unwrap().images[0].tags[0].as_str(), "latest");
    }
    for files in [newer(&[untagged, other], LayerPlaces::Folders), newest(&[untagged, other])] {
        let error = saved(&files.tar(), Some("1.0")).unwrap_err();
        assert!(matches!(&error, ImageError::Choice(text) if text.contains("2 images")), "{error:?}");
    }
    let mut none = newer(&[untagged], LayerPlaces::Folders);
    none.set("manifest.json", "[]");
    assert!(matches!(saved(&none.tar(), None), Err(ImageError::Choice(_))));
}

#[test]
fn a_save_of_packed_layers_is_published_as_it_is() {
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    layout.tag(&image, "1.0");
    let mut files = layout.files();
    files.set("manifest.json", "[]");
    let archive = accepted("packed", &files.tar());
    assert_eq!(archive.kind(), SourceKind::Oci);

    // docker pulled one platform of two, and saved it with the whole index.
    let gone = layout.simple_image("not pulled");
    let index = layout.index(&[image.clone(), gone.clone()]);
    layout.remove(&gone.digest);
    layout.tag(&index, "2.0");
    layout.tag(&index, "3.0");
    let mut files = layout.files();
    files.set("manifest.json", "[]");
    let set = manifests(&files.tar(), Some("2.0")).unwrap();
    assert_eq!(set.tags["2.0"], image.digest);
    assert!(set.notes.iter().any(|note| note.contains("one platform of the index")), "{:?}", set.notes);
    assert_eq!(manifests(&files.tar(), None).unwrap().tags["3.0"], image.digest);
}

#[test]
fn a_list_that_does_not_fit_the_files() {
    let one = layers(&["a", "b"]);
    let files = newer(&[Saved { names: &["app:1.0"], layers: &one }], LayerPlaces::Folders);
    let config = config_name(&files);
    let layer_name = files.names().find(|name| name.ends_with("layer.tar")).unwrap().to_owned();
    let edited = |old: &str, new: &str| files.clone().replace("manifest.json", old, new).tar();
    let set = |name: &str, content: &str| files.clone().set(name, content).tar();
    let without = |name: &str| files.clone().remove(name).tar();
    let both = json!([
        {"Config": config, "RepoTags": ["app:1.0"], "Layers": []},
        {"Config": "other.json", "RepoTags": ["app:1.0"], "Layers": []},
    ]);
    let no_diff_ids = json!([{"Config": "other.json", "RepoTags": ["app:1.0"], "Layers": [layer_name]}]);
    let bad_diff_id = json!({"rootfs": {"diff_ids": ["sha256:nope"]}}).to_string();
    check(
        vec![
            ("no config", without(&config), rule!(Missing(_)), &config),
            ("no layer", without(&layer_name), rule!(Missing(_)), &layer_name),
            ("another config", set(&config, "{}"), rule!(Digest { .. }), &config),
            ("config is no JSON", set(&config, "x"), rule!(Json(_)), &config),
            ("fewer layers", edited(&format!("\"{layer_name}\","), ""), rule!(Content(_)), &config),
            ("config up", edited(&config, "../../etc/passwd"), rule!(ParentPath), "../../etc/passwd"),
            ("config elsewhere", edited(&config, "/etc/passwd"), rule!(AbsolutePath), "/etc/passwd"),
            ("layer up", edited(&layer_name, "a/../../x"), rule!(ParentPath), "a/../../x"),
            ("no list", set("manifest.json", "{}"), rule!(Json(_)), "manifest.json"),
            ("one tag of two images", set("manifest.json", &both.to_string()), rule!(Content(_)), "tag 1.0"),
            (
                "diff ids",
                files.clone().set("manifest.json", no_diff_ids.to_string()).set("other.json", "{}").tar(),
                rule!(Content(_)),
                "other.json",
            ),
            (
                "a diff id that is none",
                files
                    .clone()
                    .set("manifest.json", no_diff_ids.to_string())
                    .set("other.json", bad_diff_id)
                    .tar(),
                rule!(Json(_)),
                "other.json",
            ),
        ],
        &Limits::default(),
    );
    assert_eq!(saved(&edited("app:1.0", "app"), None).unwrap().images[0].tags[0].as_str(), "latest");
    let bad_tag = edited("app:1.0", "app:a b");
    let error = saved(&bad_tag, None).unwrap_err().to_string();
    assert!(error.contains("`app:a b`") && error.contains("IMAGE:TAG"), "{error}");
    assert_eq!(saved(&bad_tag, Some("2.0")).unwrap().images[0].tags[0].as_str(), "2.0");
    accepted("names with ./", &edited(&layer_name, &format!("./{layer_name}")));
}

#[test]
fn all_configs_together_are_bounded() {
    let mut entries = Vec::new();
    let mut files = raas_testkit::Files::new();
    for n in 0..20 {
        files.set(format!("c{n}.json"), format!("{{\"x\":\"{n}{}\"}}", "x".repeat(1000)));
        entries.push(json!({"Config": format!("c{n}.json"), "RepoTags": [format!("app:{n}")], "Layers": []}));
    }
    files.set("manifest.json", json!(entries).to_string());
    let limits = Limits { manifests: 10_000, ..Limits::default() };
    let error = failure("configs", &files.tar(), &limits);
    assert_refused("configs", &error, rule!(TooLarge { limit: 10_000, .. }), ".json");
}

#[test]
fn packed_layers_in_an_older_save() {
    let plain = layer(&[("a", b"a")]);
    for pack in [Pack::Gzip, Pack::Zstd] {
        let mut files = newer(
            &[Saved { names: &["app:1.0"], layers: std::slice::from_ref(&plain) }],
            LayerPlaces::Folders,
        );
        let name = files.names().find(|name| name.ends_with("layer.tar")).unwrap().to_owned();
        files.set(name, pack.apply(&plain));
        let set = saved(&files.tar(), None).unwrap();
        let content = &set.layers[&Digest::of(&plain)];
        let packed = raas_image::fingerprint(content, &Limits::default(), &|_| {}).unwrap();
        assert_eq!(packed.diff_id, Digest::of(&plain), "{pack:?}");
    }
}

#[test]
fn the_oldest_generation_broken() {
    let (one, two) = (layers(&["a", "b"]), layers(&["c"]));
    let files = oldest(&[Saved { names: &["app:1.0"], layers: &one }]);
    let base = files.names().find(|name| name.ends_with("/json")).unwrap().to_owned();
    let base_id = base.trim_end_matches("/json").to_owned();
    let edited = |old: &str, new: &str| files.clone().replace("repositories", old, new).tar();
    check(
        vec![
            ("bad id", edited("\"app\":{\"1.0\":\"", "\"app\":{\"1.0\":\"x"), rule!(Json(_)), "repositories"),
            (
                "no base",
                files.clone().remove(&base).remove(&format!("{base_id}/layer.tar")).tar(),
                rule!(ParentMissing(_)),
                "image ",
            ),
            ("base without json", files.clone().remove(&base).tar(), rule!(Missing(_)), &base_id),
            (
                "json of another",
                files.clone().replace(&base, &base_id, &"0".repeat(64)).tar(),
                rule!(Content(_)),
                &base,
            ),
            ("deep", files.clone().set(&base, "[".repeat(100_000)).tar(), rule!(Json(_)), &base),
        ],
        &Limits::default(),
    );
    let error = v1(&edited("1.0", "a b"), None).unwrap_err().to_string();
    assert!(error.contains("`app:a b`"), "{error}");
    assert_eq!(v1(&edited("1.0", "a b"), Some("2.0")).unwrap().tags.len(), 1);
    // The layer of an image may be masked.
    let set = v1(&files.clone().remove(&format!("{base_id}/layer.tar")).tar(), None).unwrap();
    assert_eq!(set.images.values().filter(|image| image.layer.is_none()).count(), 1);
    // The same tag in two repositories needs a choice.
    let two =
        oldest(&[Saved { names: &["app:1.0"], layers: &one }, Saved { names: &["tool:1.0"], layers: &two }]);
    let archive = open_bytes(&two.tar());
    assert!(matches!(archive.image(&Wanted::default()), Err(ImageError::Choice(_))));
    assert!(matches!(archive.image(&published_as("tool")).unwrap(), Image::V1(set) if set.images.len() == 1));
}
