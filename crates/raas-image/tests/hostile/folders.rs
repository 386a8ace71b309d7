//! Folders. Nothing in a folder leads out of it.

use std::fs;
use std::os::unix::fs::symlink;

use raas_image::{Image, ImageError, Limits, SourceKind, Wanted};
use raas_testkit::docker_save::{LayerPlaces, Saved, newer};
use raas_testkit::layers::layer;
use raas_testkit::oci::{Layout, blob_name};
use serde_json::json;

use crate::rule;
use crate::support::{assert_refused, open_path, read_whole};

#[test]
fn a_layout_in_a_folder() {
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    layout.tag(&image, "1.0");
    let limits = Limits::default();
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("layout");
    layout.files().write_to(&folder);
    let archive = open_path(&folder, &limits).unwrap();
    assert_eq!(archive.kind(), SourceKind::Oci);
    read_whole(&archive, &limits).unwrap();
    // The path of the folder may be a link.
    symlink(&folder, outer.path().join("link")).unwrap();
    read_whole(&open_path(&outer.path().join("link"), &limits).unwrap(), &limits).unwrap();

    let blob = folder.join(blob_name(&image.digest));
    let inside = folder.join("inside");
    fs::rename(&blob, &inside).unwrap();
    symlink("../../inside", &blob).unwrap();
    read_whole(&open_path(&folder, &limits).unwrap(), &limits).unwrap();

    let refusal =
        || open_path(&folder, &limits).and_then(|archive| read_whole(&archive, &limits)).unwrap_err();
    // The right bytes, but outside of the source.
    fs::rename(&inside, outer.path().join("outside")).unwrap();
    fs::remove_file(&blob).unwrap();
    symlink("../../../outside", &blob).unwrap();
    assert_refused("a link out", &refusal(), rule!(LinkLeaves(_)), &blob_name(&image.digest));
    fs::remove_file(&blob).unwrap();
    symlink(outer.path().join("outside"), &blob).unwrap();
    assert_refused("an absolute one", &refusal(), rule!(LinkLeaves(_)), &blob_name(&image.digest));

    fs::remove_file(&blob).unwrap();
    symlink("nowhere", &blob).unwrap();
    assert_refused("a dangling one", &refusal(), rule!(Missing(_)), &blob_name(&image.digest));
    fs::remove_file(&blob).unwrap();
    symlink(image.digest.hex(), &blob).unwrap();
    assert!(matches!(refusal(), ImageError::Read { .. }));
    fs::remove_file(&blob).unwrap();
    fs::create_dir(&blob).unwrap();
    assert_refused("a folder", &refusal(), rule!(Missing(_)), &blob_name(&image.digest));

    let blobs = folder.join("blobs");
    fs::rename(&blobs, outer.path().join("blobs")).unwrap();
    symlink("../blobs", &blobs).unwrap();
    assert_refused("all of them", &refusal(), rule!(LinkLeaves(_)), &blob_name(&image.digest));
    fs::remove_file(&blobs).unwrap();
    fs::write(&blobs, "x").unwrap();
    assert_refused("no folder", &refusal(), rule!(Missing(_)), &blob_name(&image.digest));
}

#[test]
fn a_docker_save_in_a_folder_reads_its_own_files_alone() {
    let layers = [layer(&[("a", b"a")])];
    let limits = Limits::default();
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("saved");
    newer(&[Saved { names: &["app:1.0"], layers: &layers }], LayerPlaces::Folders).write_to(&folder);
    read_whole(&open_path(&folder, &limits).unwrap(), &limits).unwrap();
    let secret = outer.path().join("secret");
    fs::write(&secret, "a secret").unwrap();
    let list = fs::read_to_string(folder.join("manifest.json")).unwrap();
    let names = [("../secret", false), (secret.to_str().unwrap(), true)];
    for (name, absolute) in names {
        let mut entries: serde_json::Value = serde_json::from_str(&list).unwrap();
        entries[0]["Layers"] = json!([name]);
        fs::write(folder.join("manifest.json"), entries.to_string()).unwrap();
        let error = open_path(&folder, &limits).unwrap().image(&Wanted::default()).unwrap_err();
        let expected = if absolute { rule!(AbsolutePath) } else { rule!(ParentPath) };
        assert_refused(name, &error, expected, name);
    }
}

#[test]
fn a_folder_that_is_no_source() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("oci-layout"), "{}").unwrap();
    let error = open_path(folder.path(), &Limits::default()).err().unwrap();
    assert!(
        matches!(&error, ImageError::NotAnImage { found, .. } if found.contains("oci-layout")),
        "{error:?}"
    );
}

#[test]
fn a_file_that_changes_during_the_push_is_noticed() {
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    layout.tag(&image, "1.0");
    let folder = tempfile::tempdir().unwrap();
    layout.files().write_to(folder.path());
    let limits = Limits::default();
    let archive = open_path(folder.path(), &limits).unwrap();
    let Image::Manifests(set) = archive.image(&Wanted::default()).unwrap() else { panic!("manifests") };
    let blob = set.blobs.values().find(|blob| blob.layer).unwrap();
    let content = blob.content.as_ref().unwrap();
    fs::write(folder.path().join(content.name()), "other").unwrap();
    let mut sink = Vec::new();
    let error = raas_image::copy(content, blob, &mut sink, &limits, &|_| {}).unwrap_err();
    assert!(matches!(error, ImageError::Read { .. }) && sink.is_empty(), "{error:?}");
}
