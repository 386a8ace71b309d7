//! The genuine exports under `fixtures/`, read to their end.

use std::path::Path;

use raas_image::{Archive, Image, Input, Limits, ManifestSet, SourceKind, Wanted, copy, fingerprint, open};
use raas_testkit::fixtures;
use raas_types::Digest;

fn opened(path: &Path) -> Archive {
    let spool = std::env::temp_dir();
    open(Input::Path(path.to_owned()), &spool, &Limits::default(), &mut |_| {}).unwrap()
}

fn manifests(archive: &Archive, repository: Option<&str>) -> ManifestSet {
    let wanted = Wanted { repository: repository.map(str::to_owned), ..Wanted::default() };
    match archive.image(&wanted).unwrap() {
        Image::Manifests(set) => set,
        other => panic!("expected manifests, found {other:?}"),
    }
}

/// Streams every blob, which checks digests and diff ids. Returns the number of blobs.
fn stream_all(set: &ManifestSet) -> usize {
    for blob in set.blobs.values() {
        let content = blob.content.as_ref().unwrap();
        let mut bytes = Vec::new();
        copy(content, blob, &mut bytes, &Limits::default(), &|_| {}).unwrap();
        assert_eq!(Digest::of(&bytes), blob.digest);
    }
    set.blobs.len()
}

#[test]
fn an_oci_layout_of_two_platforms() {
    let archive = opened(&fixtures::oci_multi());
    assert_eq!(archive.kind(), SourceKind::Oci);
    let set = manifests(&archive, None);
    assert_eq!(set.tags.keys().map(|t| t.as_str()).collect::<Vec<_>>(), ["2.0"]);
    assert_eq!((set.manifests.len(), stream_all(&set)), (3, 5));
    let platforms: Vec<String> =
        set.manifests.values().filter_map(|m| m.platform.as_ref()).map(ToString::to_string).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    assert!(set.blobs.values().filter(|blob| blob.layer).all(|blob| blob.diff_id.is_some()));
}

#[test]
fn pulp_3_exports_of_both_generations_hold_the_same_images() {
    let sources = [
        fixtures::pulp3_new(),
        fixtures::toc(&fixtures::path("pulp3/new-full")),
        fixtures::toc(&fixtures::pulp3_chunked()),
        fixtures::pulp3_first_chunk(),
        fixtures::pulp3_old(),
        fixtures::toc(&fixtures::path("pulp3/old-full")),
    ];
    for source in sources {
        let archive = opened(&source);
        assert_eq!(archive.kind(), SourceKind::Pulp3, "{}", source.display());
        assert_eq!(archive.repositories().unwrap(), ["acme/base", "bigdatainc/bigdata-app"]);
        let app = manifests(&archive, Some("bigdatainc/bigdata-app"));
        let tags: Vec<String> =
            app.tags.iter().map(|(tag, digest)| format!("{tag} {}", digest.short())).collect();
        assert_eq!(tags, ["1.0 bf9af32f9ff4", "2.0 cf5fab77e988", "latest bf9af32f9ff4"]);
        assert_eq!((app.manifests.len(), stream_all(&app)), (4, 9));
        let base = manifests(&archive, Some("acme/base"));
        assert_eq!((base.tags.len(), base.manifests.len(), stream_all(&base)), (1, 3, 5));
    }
}

#[test]
fn one_tag_of_a_pulp_3_export() {
    let archive = opened(&fixtures::pulp3_new());
    let wanted = Wanted {
        repository: Some("bigdatainc/bigdata-app".into()),
        tag: Some("1.0".parse().unwrap()),
        ..Wanted::default()
    };
    let Image::Manifests(set) = archive.image(&wanted).unwrap() else { panic!("manifests") };
    assert_eq!((set.tags.len(), set.manifests.len(), set.blobs.len()), (1, 1, 4));
}

#[test]
fn a_docker_save_archive() {
    let archive = opened(&fixtures::docker_save());
    assert_eq!(archive.kind(), SourceKind::DockerSave);
    assert_eq!(archive.repositories().unwrap(), ["bigdatainc/bigdata-app"]);
    let Image::Saved(set) = archive.image(&Wanted::default()).unwrap() else { panic!("a saved image") };
    assert_eq!((set.images.len(), set.layers.len()), (1, 3));
    for (diff_id, content) in &set.layers {
        assert_eq!(fingerprint(content, &Limits::default(), &|_| {}).unwrap().diff_id, *diff_id);
    }
}

#[test]
fn the_pulp_2_export() {
    let archive = opened(&fixtures::pulp2());
    assert_eq!(archive.kind(), SourceKind::Pulp2);
    let named = ("bigdatainc".parse().unwrap(), "bigdata-app".parse().unwrap());
    let wanted = Wanted { published_as: Some(named), ..Wanted::default() };
    assert_eq!(archive.choose(&wanted).unwrap().repository(), Some("bigdata-app"));
    let Image::V1(set) = archive.image(&Wanted::default()).unwrap() else { panic!("v1 images") };
    let top = set.tags["latest"];
    assert_eq!(top.short(), "bf3bf3a4371d");
    let chain: Vec<String> = set.chain(&top).iter().map(|id| id.short()).collect();
    assert_eq!(chain.first().map(String::as_str), Some("e1f5733f050b"));
    assert_eq!((chain.len(), set.images.len()), (7, 7));
}
