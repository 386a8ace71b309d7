//! Pulp 2 exports: chains of Docker v1 images.

use raas_image::{
    ImageError, Limits, PackedLayer, SourceKind, V1Image, V1Set, Wanted, build_from_v1, fingerprint,
};
use raas_testkit::layers::{Pack, layer};
use raas_testkit::pulp2::{Export, id};
use raas_types::{Digest, ImageId};

use crate::rule;
use crate::support::{accepted, check, failure, open_bytes, v1};

/// A chain of three images with this change.
fn changed(change: impl FnOnce(&mut Export)) -> Vec<u8> {
    let mut export = Export::chain("app", 3);
    change(&mut export);
    export.tar()
}

#[test]
fn chains_that_do_not_fit() {
    let e = Export::chain("app", 3);
    let (base, middle, top) = (e.id(0), e.id(1), e.id(2));
    let other = id("other");
    let without_list = |change: &dyn Fn(&mut Export)| {
        let mut export = e.clone();
        change(&mut export);
        export.without_lists().tar()
    };
    let edited = |n: usize, file: &str, content: &[u8]| e.files().set(e.file(n, file), content).tar();
    check(
        vec![
            (
                "a circle",
                without_list(&|e| e.images[0].parent = Some(e.id(2))),
                rule!(ParentCycle),
                &format!("image {top}"),
            ),
            (
                "its own parent",
                without_list(&|e| e.images[0].parent = Some(e.id(0))),
                rule!(ParentCycle),
                &format!("image {base}"),
            ),
            (
                "a circle in the lists too",
                changed(|e| {
                    let all = [e.id(2), e.id(1), e.id(0), e.id(2)];
                    e.images[0].parent = Some(e.id(2));
                    for n in 0..3 {
                        e.images[n].ancestry = all[2 - n..].to_vec();
                    }
                }),
                rule!(ParentCycle),
                &format!("image {top}"),
            ),
            (
                "no parent",
                without_list(&|e| {
                    _ = e.hole(0);
                }),
                rule!(ParentMissing(_)),
                &format!("image {middle}"),
            ),
            (
                "the tag's image",
                changed(|e| {
                    _ = e.hole(2);
                }),
                rule!(Missing(_)),
                &format!("image {top}"),
            ),
            (
                "list and json differ",
                changed(|e| e.images[1].parent = Some(other.clone())),
                rule!(Content(_)),
                &format!("image {middle}"),
            ),
            (
                "list ends early",
                changed(|e| e.images[2].ancestry.truncate(1)),
                rule!(Content(_)),
                &format!("image {top}"),
            ),
            (
                "list goes on",
                changed(|e| e.images[0].ancestry.push(other.clone())),
                rule!(Content(_)),
                &format!("image {base}"),
            ),
            (
                "lists differ further down",
                changed(|e| {
                    e.images[2].ancestry[2] = other.clone();
                }),
                rule!(Content(_)),
                &format!("image {middle}"),
            ),
            (
                "list of another",
                changed(|e| e.images[1].ancestry[0] = other.clone()),
                rule!(Content(_)),
                &e.file(1, "ancestry"),
            ),
            ("an empty list", edited(1, "ancestry", b"[]"), rule!(Content(_)), &e.file(1, "ancestry")),
            ("list is no list", edited(1, "ancestry", b"{}"), rule!(Json(_)), &e.file(1, "ancestry")),
            (
                "ids that are none",
                edited(1, "ancestry", br#"["../x"]"#),
                rule!(Json(_)),
                &e.file(1, "ancestry"),
            ),
            (
                "json is not text",
                edited(1, "json", b"{\"id\": \"\xff\"}"),
                rule!(Json(_)),
                &e.file(1, "json"),
            ),
            (
                "a parent that is no id",
                edited(1, "json", br#"{"parent": "../../x"}"#),
                rule!(Content(_)),
                &e.file(1, "json"),
            ),
            (
                "json of another image",
                edited(1, "json", format!(r#"{{"id": "{other}"}}"#).as_bytes()),
                rule!(Content(_)),
                &e.file(1, "json"),
            ),
            (
                "no json",
                e.files().remove(&e.file(1, "json")).tar(),
                rule!(Missing(_)),
                &format!("image {middle}"),
            ),
            (
                "tag of nothing",
                changed(|e| drop(e.tags.insert("x".into(), other.clone()))),
                rule!(Content(_)),
                "app.json",
            ),
            (
                "bad tag",
                changed(|e| {
                    _ = e.tag("a b", 2);
                }),
                rule!(Content(_)),
                "app.json",
            ),
            ("no tags", changed(|e| e.tags.clear()), rule!(Content(_)), "app.json"),
            ("bad name", changed(|e| e.registry_id = "../x".into()), rule!(Content(_)), "app.json"),
            ("no document", e.files().remove("app.json").tar(), rule!(Missing(_)), "<repository>.json"),
            ("document is no JSON", e.files().set("app.json", "x").tar(), rule!(Content(_)), "app.json"),
        ],
        &Limits::default(),
    );
}

#[test]
fn long_json_files() {
    let limits = Limits { json: 2000, ..Limits::default() };
    let e = Export::chain("app", 2);
    let long = |n: usize, file: &str| {
        let mut files = e.files();
        let content = [files.get(&e.file(n, file)), &[b' '; 3000]].concat();
        files.set(e.file(n, file), content).tar()
    };
    check(
        vec![
            ("json", long(0, "json"), rule!(TooLarge { limit: 2000, .. }), &e.file(0, "json")),
            ("list", long(1, "ancestry"), rule!(TooLarge { limit: 2000, .. }), &e.file(1, "ancestry")),
        ],
        &limits,
    );
}

#[test]
fn chains_are_of_bounded_length() {
    let chain = |length| Export::chain_without_lists("app", length).tar();
    let error = failure("long", &chain(1025), &Limits::default());
    assert!(error.to_string().contains("1024"), "{error}");
    assert_eq!(v1(&chain(1024), None).unwrap().images.len(), 1024);
    // Each of many images on one long chain has a list of its ancestors.
    let trunk = Export::chain_without_lists("app", 1000);
    let branched = |branches| {
        let mut export = trunk.clone();
        (0..branches).for_each(|n| {
            export.branch(&format!("t{n}"), 999);
        });
        v1(&export.tar(), None)
    };
    assert!(branched(500).is_ok());
    let error = branched(600).unwrap_err();
    assert!(error.to_string().contains("ancestors together"), "{error}");
}

#[test]
fn one_json_file_of_many_images_counts_for_each() {
    let mut export = Export::chain("app", 1);
    (0..50).for_each(|n| {
        export.branch(&format!("t{n}"), 0);
    });
    let mut files = export.without_lists().files();
    // A json without an id fits every image.
    files.set("shared", format!("{{\"x\":\"{}\"}}", "x".repeat(1000)));
    (1..=50).for_each(|n| {
        files.link(export.file(n, "json"), "../../shared");
    });
    accepted("within the limit", &files.tar());
    let limits = Limits { configs: 20_000, ..Limits::default() };
    check(vec![("json", files.tar(), rule!(TooLarge { limit: 20_000, .. }), "/json")], &limits);
}

#[test]
fn images_without_files_are_left_to_the_push() {
    let mut export = Export::chain("app", 4);
    export.hole(0).hole(1).tag("old", 2);
    let archive = accepted("holes", &export.tar());
    assert_eq!(archive.kind(), SourceKind::Pulp2);
    let set = v1(&export.tar(), None).unwrap();
    assert_eq!((set.images.len(), set.tags.len()), (4, 2));
    let hole: ImageId = export.id(1).parse().unwrap();
    assert!(set.images[&hole].json.is_none() && set.images[&hole].layer.is_none());
    let chain: Vec<String> =
        set.chain(&export.id(3).parse().unwrap()).iter().map(ToString::to_string).collect();
    assert_eq!(chain, (0..4).map(|n| export.id(n)).collect::<Vec<_>>());
    // The order of tags does not matter for a tag of an image without files.
    export.tag("base", 1);
    assert!(matches!(
        v1(&export.tar(), None),
        Err(ImageError::Refused { rule: raas_image::Rule::Missing(_), .. })
    ));
    // Two lists with different parents of an image without files.
    let mut export = Export::chain("app", 4);
    export.hole(1).tag("old", 2);
    let own = id("second top");
    let ancestry = vec![own.clone(), export.id(1), id("another base")];
    let parent = Some(export.id(1));
    export.images.push(raas_testkit::pulp2::Image { ancestry, parent, layer: vec![], hole: false, id: own });
    export.tag("second", 4);
    assert!(v1(&export.tar(), None).is_err());
}

#[test]
fn several_documents_and_none() {
    let mut files = Export::chain("app", 1).files();
    files.set(
        "tool.json",
        String::from_utf8(files.get("app.json").to_vec()).unwrap().replace("\"app\"", "\"tool\""),
    );
    let archive = open_bytes(&files.tar());
    assert_eq!(archive.repositories().unwrap(), ["app", "tool"]);
    assert!(matches!(archive.image(&Wanted::default()), Err(ImageError::Choice(_))));
    let wanted = Wanted { repository: Some("tool".into()), ..Wanted::default() };
    assert_eq!(archive.image(&wanted).unwrap().tags().len(), 1);
    for n in 0..64 {
        files.set(format!("more-{n}.json"), "{}");
    }
    assert!(failure("many", &files.tar(), &Limits::default()).to_string().contains("64 documents"));
    // Such an export has no v2 content.
    let mut files = Export::chain("app", 1).files();
    files.replace("app.json", "\"version\":1", "\"version\":4");
    assert!(failure("version 4", &files.tar(), &Limits::default()).to_string().contains("v2 content"));
}

#[test]
fn layers_of_every_packing_make_one_image() {
    let build = |pack: Pack| {
        let mut export = Export::chain("app", 2);
        let plain = layer(&[("a", b"a")]);
        export.images[1].layer = pack.apply(&plain);
        let set = v1(&export.tar(), None).unwrap();
        let top = set.tags["latest"];
        build(&set, &top, &Limits::default()).unwrap().config
    };
    let configs = [Pack::Plain, Pack::Gzip, Pack::Zstd].map(build);
    assert!(configs.iter().all(|config| *config == configs[0]));
    let plain = Digest::of(&layer(&[("a", b"a")])).to_string();
    assert!(String::from_utf8_lossy(&configs[0]).contains(&plain));
}

fn build(set: &V1Set, top: &ImageId, limits: &Limits) -> Result<raas_image::BuiltImage, ImageError> {
    let read = |image: &V1Image| image.json.as_ref().unwrap().read_all(limits.json);
    let packed = |id: &ImageId| {
        let layer = set.images[id].layer.as_ref().unwrap();
        PackedLayer::as_in_source(&fingerprint(layer, limits, &|_| {}).unwrap())
    };
    build_from_v1(set, top, |id| read(&set.images[id]), packed, limits)
}

#[test]
fn a_config_is_made_of_bounded_history() {
    let export = Export::chain("app", 30);
    let mut files = export.files();
    for n in 0..30 {
        let comment = format!("\"comment\":\"{}\",\"config\"", "x".repeat(500));
        files.replace(&export.file(n, "json"), "\"config\"", &comment);
    }
    let set = v1(&files.tar(), None).unwrap();
    let top = set.tags["latest"];
    assert!(build(&set, &top, &Limits::default()).is_ok());
    let error = build(&set, &top, &Limits { json: 10_000, ..Limits::default() }).unwrap_err();
    crate::support::assert_refused(
        "history",
        &error,
        rule!(TooLarge { limit: 10_000, .. }),
        "the history of",
    );
    // Deep JSON is an error where it is read as a whole.
    let deep = format!("\"config\":{}1{},\"x\"", "[".repeat(5000), "]".repeat(5000));
    let mut files = Export::chain("app", 1).files();
    files.replace(&export.file(0, "json"), "\"config\"", &deep);
    let set = v1(&files.tar(), None).unwrap();
    let error = build(&set, &export.id(0).parse().unwrap(), &Limits::default()).unwrap_err();
    crate::support::assert_refused("deep", &error, rule!(Json(_)), "/json");
}
