//! Pulp 3 exports: genuine exports with one change.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use raas_image::{Archive, Image, ImageError, Limits, ManifestSet, Rule, SourceKind, Wanted, copy};
use raas_testkit::{Files, fixtures};
use serde_json::Value;
use tempfile::TempDir;

use crate::rule;
use crate::support::{WAYS, assert_refused, open_bytes, open_path, open_way, wanted};

const APP: &str = "bigdatainc/bigdata-app";
const FOLDER: &str = "repository-bigdatainc/bigdata-app_3/";

fn new() -> Files {
    Files::from_tar(&fs::read(fixtures::pulp3_new()).unwrap())
}

fn old() -> Files {
    let mut bytes = Vec::new();
    let packed = fs::File::open(fixtures::pulp3_old()).unwrap();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    Files::from_tar(&bytes)
}

fn resource(files: &Files, end: &str) -> String {
    let mut names = files.names().filter(|name| name.starts_with("repository-bigdatainc/"));
    names.find(|name| name.ends_with(end)).unwrap().to_owned()
}

fn image(archive: &Archive, repository: &str) -> Result<ManifestSet, ImageError> {
    match archive.image(&Wanted { repository: Some(repository.into()), ..Wanted::default() })? {
        Image::Manifests(set) => Ok(set),
        other => panic!("expected manifests, found {other:?}"),
    }
}

fn read(archive: &Archive, repository: &str) -> Result<(), ImageError> {
    let limits = Limits::default();
    for blob in image(archive, repository)?.blobs.values() {
        if let Some(content) = &blob.content {
            copy(content, blob, &mut std::io::sink(), &limits, &|_| {})?;
        }
    }
    Ok(())
}

#[test]
fn a_changed_byte_in_any_artifact_is_noticed() {
    for files in [new(), old()] {
        let artifacts: Vec<&str> = files.names().filter(|name| name.starts_with("artifact/")).collect();
        assert!(artifacts.len() >= 9);
        for name in artifacts {
            let mut bytes = files.get(name).to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            let archive = open_bytes(&files.clone().set(name, bytes).tar());
            let failures: Vec<ImageError> =
                [APP, "acme/base"].iter().filter_map(|repository| read(&archive, repository).err()).collect();
            assert!(!failures.is_empty(), "{name} is accepted");
            for error in failures {
                // Unpacking a changed layer can fail before its digest is known.
                assert_refused(name, &error, rule!(Digest { .. } | Unpack(_)), name);
            }
        }
    }
}

#[test]
fn a_changed_manifest_is_noticed() {
    let mut files = new();
    let name = resource(&files, "container.app.modelresource.ManifestResource.json");
    files.replace(&name, r#"\"schemaVersion\": 2"#, r#"\"schemaVersion\":  2"#);
    let error = image(&open_bytes(&files.tar()), APP).unwrap_err();
    assert_refused("data", &error, rule!(Digest { .. }), "artifact/");
}

#[test]
fn artifacts_that_are_not_there() {
    // A blob may be masked, or in the bucket already.
    let mut files = new();
    let layer = "artifact/5f/f6ae8115d0eb80e10c3865a24cd52d1869929a6cf3d950212e6b03f6516e5c";
    let set = image(&open_bytes(&files.remove(layer).tar()), "acme/base").unwrap();
    assert_eq!(set.blobs.values().filter(|blob| blob.content.is_none()).count(), 1);
    // A manifest of the older generation is an artifact too.
    let mut files = old();
    let digest = image(&open_bytes(&files.tar()), APP).unwrap().tags["1.0"];
    let name = format!("artifact/{}/{}", &digest.hex()[..2], &digest.hex()[2..]);
    let archive = open_bytes(&files.remove(&name).tar());
    assert_refused("manifest", &image(&archive, APP).unwrap_err(), rule!(Missing(_)), &name);
    // Another tag of the same export is whole.
    let wanted = Wanted { repository: Some(APP.into()), ..wanted(Some("2.0")) };
    assert!(archive.image(&wanted).is_ok());
}

#[test]
fn malformed_resource_files() {
    let mut files = new();
    let tags = resource(&files, "TagResource.json");
    let list = resource(&files, ".app.modelresource.ManifestResource.json");
    let artifacts = resource(&files, "ContentArtifactResource.json");
    let long = format!("[{{\"name\": \"{}\"", "x".repeat(3000));
    type Expected = fn(&Rule) -> bool;
    let table: [(&str, Files, Expected, &str); 6] = [
        ("tags are no list", files.clone().set(&tags, "{}").clone(), rule!(Json(_)), &tags),
        ("tags are cut", files.clone().set(&tags, "[{").clone(), rule!(Json(_)), &tags),
        (
            "tags are not text",
            files.clone().set(&tags, b"[\"\xff\"]".as_slice()).clone(),
            rule!(Json(_)),
            &tags,
        ),
        ("a long entry", files.clone().set(&tags, long).clone(), rule!(TooLarge { limit: 2000, .. }), &tags),
        ("deep", files.clone().set(&list, "[".repeat(1500)).clone(), rule!(Json(_)), &list),
        ("no manifests", files.clone().remove(&list).clone(), rule!(Missing(_)), "artifact/"),
    ];
    for name in ["a b", "../x"] {
        let bytes = files.clone().replace(&tags, "\"1.0\"", &format!("\"{name}\"")).tar();
        let set = image(&open_bytes(&bytes), APP).unwrap();
        let noted = set.notes.iter().any(|note| note.contains(&format!("`{name}`")));
        assert!(noted && !set.tags.contains_key("1.0") && set.tags.contains_key("2.0"), "{:?}", set.notes);
    }
    // Pulp omits the file of a resource without entries.
    assert!(image(&open_bytes(&files.clone().remove(&artifacts).tar()), APP).is_ok());
    let limits = Limits { entry: 2000, ..Limits::default() };
    for (label, files, expected, member) in table {
        let source = crate::support::source(&files.tar());
        let error = image(&open_path(&source.path, &limits).unwrap(), APP).unwrap_err();
        assert_refused(label, &error, expected, member);
    }
    // The memory for entries is bounded, however long the files are.
    let entries: Vec<String> = (0..500)
        .map(|n| format!(r#"{{"name": "t{n}", "tagged_manifest": "sha256:{}"}}"#, "a".repeat(64)))
        .collect();
    let many = format!("[{}]", entries.join(","));
    let source = crate::support::source(&files.set(&tags, many).tar());
    let limits = Limits { manifests: 20_000, ..Limits::default() };
    let error = image(&open_path(&source.path, &limits).unwrap(), APP).unwrap_err();
    assert_refused("many tags", &error, rule!(TooLarge { limit: 20_000, .. }), &tags);
}

#[test]
fn the_latest_version_of_a_repository_is_read() {
    let files = new();
    let archive = open_bytes(&files.tar());
    assert!(matches!(archive.image(&Wanted::default()), Err(ImageError::Choice(_))));
    assert!(
        matches!(image(&archive, "acme/other"), Err(ImageError::Choice(text)) if text.contains("acme/other"))
    );
    // The tenth version is later than the third.
    let mut two = files.clone();
    for name in files.names().filter(|name| name.starts_with(FOLDER)) {
        two.set(name.replace("app_3/", "app_10/"), files.get(name));
    }
    let tags = resource(&two, "app_10/pulp_container.app.modelresource.TagResource.json");
    two.replace(&tags, "\"1.0\"", "\"10.0\"");
    let set = image(&open_bytes(&two.tar()), APP).unwrap();
    assert!(set.tags.contains_key("10.0") && !set.tags.contains_key("1.0"));
}

/// A copy of the export in chunks, and its table of contents.
fn chunked() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixtures::pulp3_chunked()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let toc = fixtures::toc(folder.path());
    (folder, toc)
}

fn chunk(toc: &Path, n: usize) -> PathBuf {
    let name = toc.file_name().unwrap().to_str().unwrap().replace("-toc.json", &format!(".tar.{n:04}"));
    toc.with_file_name(name)
}

fn failure(path: &Path) -> ImageError {
    open_path(path, &Limits::default()).err().expect("it is accepted")
}

#[test]
fn chunks() {
    let limits = Limits::default();
    let (_folder, toc) = chunked();
    assert!(open_path(&toc, &limits).is_ok());
    assert!(open_path(&chunk(&toc, 0), &limits).is_ok());

    let mut bytes = fs::read(chunk(&toc, 2)).unwrap();
    bytes[1000] ^= 1;
    fs::write(chunk(&toc, 2), bytes).unwrap();
    for path in [&toc, &chunk(&toc, 0)] {
        assert_refused("changed", &failure(path), rule!(Checksum { .. }), "tar.0002");
    }

    let (_folder, toc) = chunked();
    fs::remove_file(chunk(&toc, 1)).unwrap();
    for path in [&toc, &chunk(&toc, 0)] {
        assert_refused("missing", &failure(path), rule!(Missing(_)), "tar.0001");
    }
    fs::remove_file(&toc).unwrap();
    assert_refused("missing, without a list", &failure(&chunk(&toc, 0)), rule!(Missing(_)), "tar.0001");

    let (_folder, toc) = chunked();
    fs::remove_file(&toc).unwrap();
    assert!(open_path(&chunk(&toc, 0), &limits).is_ok());
    fs::remove_file(chunk(&toc, 3)).unwrap();
    assert_refused("the last one", &failure(&chunk(&toc, 0)), rule!(Truncated), "");
}

/// Edits the files of a table of contents.
fn edit(toc: &Path, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    let mut document: Value = serde_json::from_slice(&fs::read(toc).unwrap()).unwrap();
    change(document["files"].as_object_mut().unwrap());
    fs::write(toc, document.to_string()).unwrap();
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn chunks_that_a_table_of_contents_lacks_are_named() {
    for (number, words) in [(1, "does not list the chunk"), (3, "lies beside it")] {
        let (_folder, toc) = chunked();
        let lacking = name_of(&chunk(&toc, number));
        edit(&toc, |files| drop(files.remove(&lacking)));
        let error = failure(&toc);
        assert_refused("lacking", &error, rule!(Content(_)), "toc.json");
        assert!(error.to_string().contains(&lacking) && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn chunks_that_an_import_has_joined_are_explained() {
    let (_folder, toc) = chunked();
    let chunks: Vec<PathBuf> = (0..4).map(|n| chunk(&toc, n)).collect();
    let whole = toc.with_file_name(name_of(&chunks[0]).trim_end_matches(".0000"));
    let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| fs::read(chunk).unwrap()).collect();
    fs::write(&whole, bytes).unwrap();
    chunks.iter().for_each(|chunk| fs::remove_file(chunk).unwrap());
    let message = failure(&toc).to_string();
    assert!(message.contains("has joined them") && message.contains(&name_of(&whole)), "{message}");
    assert!(open_path(&whole, &Limits::default()).is_ok());
}

#[test]
fn another_chunk_than_the_first_is_explained() {
    let (_folder, toc) = chunked();
    let message = failure(&chunk(&toc, 1)).to_string();
    assert!(message.contains("chunk 1 of an export") && message.contains(".0000"), "{message}");
}

#[test]
fn more_than_ten_thousand_chunks_are_in_order() {
    let (_folder, toc) = chunked();
    let chunks: Vec<PathBuf> = (0..4).map(|n| chunk(&toc, n)).collect();
    let whole: Vec<u8> = chunks.iter().flat_map(|chunk| fs::read(chunk).unwrap()).collect();
    chunks.iter().for_each(|chunk| fs::remove_file(chunk).unwrap());
    let base = chunks[0].to_str().unwrap().trim_end_matches(".0000").to_owned();
    let mut files = serde_json::Map::new();
    for (n, piece) in whole.chunks(whole.len() / 10_050).enumerate() {
        let path = PathBuf::from(format!("{base}.{n:04}"));
        fs::write(&path, piece).unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(piece);
        files.insert(name_of(&path), format!("{:08x}", crc.sum()).into());
    }
    assert!(files.len() > 10_000);
    edit(&toc, |old| *old = files);
    let limits = Limits::default();
    read(&open_path(&toc, &limits).unwrap(), APP).unwrap();
    fs::remove_file(&toc).unwrap();
    assert!(open_path(&chunk(&toc, 0), &limits).is_ok());
}

#[test]
fn tables_of_contents() {
    let (_folder, toc) = chunked();
    let text = fs::read_to_string(&toc).unwrap();
    let outside = toc.parent().unwrap().parent().unwrap().join("raas-outside");
    for name in ["../raas-outside", "/etc/passwd", "..", ".", "", "a/b", "a\\u0000b"] {
        let chunk = chunk(&toc, 1);
        let chunk = chunk.file_name().unwrap().to_str().unwrap();
        fs::write(&toc, text.replace(chunk, name)).unwrap();
        let error = failure(&toc);
        assert!(
            matches!(&error, ImageError::Refused { rule: Rule::Content(_) | Rule::Missing(_), .. }),
            "{name}: {error:?}"
        );
    }
    assert!(!outside.exists());
    fs::write(&toc, text.replace("94f18411", "94f18412")).unwrap();
    assert_refused("checksum", &failure(&toc), rule!(Checksum { .. }), "tar.0001");
}

#[test]
fn both_generations_by_every_way() {
    for files in [new(), old()] {
        for way in WAYS {
            let archive = open_way(way, &files.tar(), &Limits::default()).unwrap();
            assert_eq!(archive.kind(), SourceKind::Pulp3);
            read(&archive, APP).unwrap();
            read(&archive, "acme/base").unwrap();
        }
    }
}

#[test]
fn atomic_signatures_of_an_export_are_read_and_checked() {
    let files = new();
    let digest = image(&open_bytes(&files.tar()), APP).unwrap().tags["1.0"];
    let name = resource(&files, "TagResource.json").replace("TagResource", "ManifestSignatureResource");
    let entry = |kind: &str, of: &str, data: &str| {
        format!(
            r#"{{"name":"{of}@0123","type":"{kind}","signed_manifest":"{of}","data":"{data}","key_id":"x"}}"#
        )
    };
    let of = digest.to_string();
    let read = |entries: &[String]| {
        let mut files = new();
        files.set(&name, format!("[{}]", entries.join(",")));
        let archive = open_bytes(&files.tar());
        let wanted = Wanted { repository: Some(APP.into()), ..Wanted::default() };
        let selection = archive.choose(&wanted).unwrap();
        archive.signatures(&selection, &[digest].into())
    };
    let other = format!("sha256:{}", "0".repeat(64));
    let found = read(&[
        entry("atomic", &of, "b3dH"),
        entry("other", &of, "b3dH"),
        entry("atomic", &other, "b3dH"),
        entry("atomic", &of, "AAAA"),
    ])
    .unwrap();
    let bytes: Vec<Vec<u8>> = found[&digest].iter().map(raas_types::AtomicSignature::bytes).collect();
    assert_eq!((found.len(), bytes), (1, vec![b"owG".to_vec(), vec![0; 3]]));
    assert!(read(&[]).unwrap().is_empty());
    type Expected = fn(&Rule) -> bool;
    let table: [(Vec<String>, Expected); 2] =
        [(vec![entry("atomic", &of, "?")], rule!(Content(_))), (vec!["{}".to_owned()], rule!(Json(_)))];
    for (entries, expected) in table {
        assert_refused("signatures", &read(&entries).unwrap_err(), expected, &name);
    }
}
