//! Opens sources in every way, and compares the outcomes.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use raas_image::{
    Archive, Image, ImageError, Input, Limits, ManifestSet, Rule, SavedSet, V1Set, Wanted, copy, open, pack,
};
use raas_testkit::layers::Pack;
use tempfile::TempDir;

/// The ways to open an archive: as a file or as a stream, in these packings.
pub(crate) const WAYS: [(bool, Pack); 4] =
    [(false, Pack::Plain), (true, Pack::Plain), (false, Pack::Gzip), (true, Pack::Zstd)];

/// A source on disk, in a folder that is removed with it.
pub(crate) struct Source {
    pub(crate) folder: TempDir,
    pub(crate) path: PathBuf,
}

pub(crate) fn source(bytes: &[u8]) -> Source {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("source");
    std::fs::write(&path, bytes).unwrap();
    Source { folder, path }
}

pub(crate) fn open_path(path: &Path, limits: &Limits) -> Result<Archive, ImageError> {
    open(Input::Path(path.to_owned()), &std::env::temp_dir(), limits, &mut |_| {})
}

pub(crate) fn open_stream(
    stream: impl std::io::Read + Send + 'static,
    limits: &Limits,
) -> Result<Archive, ImageError> {
    let input = Input::Stream("the stream".into(), Box::new(stream));
    open(input, &std::env::temp_dir(), limits, &mut |_| {})
}

pub(crate) fn open_bytes(bytes: &[u8]) -> Archive {
    open_stream(Cursor::new(bytes.to_vec()), &Limits::default()).unwrap()
}

/// Opens an archive in one way. Its name in messages is the same in all ways.
pub(crate) fn open_way(
    (streamed, packing): (bool, Pack),
    bytes: &[u8],
    limits: &Limits,
) -> Result<Archive, ImageError> {
    let source = source(&packing.apply(bytes));
    let name = source.path.display().to_string();
    let input = if streamed {
        Input::Stream(name, Box::new(std::fs::File::open(&source.path).unwrap()))
    } else {
        Input::Path(source.path.clone())
    };
    open(input, source.folder.path(), limits, &mut |_| {})
}

/// Reads a whole source: the metadata, then every byte of the layers.
pub(crate) fn read_whole(archive: &Archive, limits: &Limits) -> Result<(), ImageError> {
    match archive.image(&Wanted::default())? {
        Image::Manifests(set) => {
            for blob in set.blobs.values() {
                if let Some(content) = &blob.content {
                    copy(content, blob, &mut std::io::sink(), limits, &|_| {})?;
                }
            }
        }
        Image::Saved(set) => {
            for content in set.layers.values() {
                pack(content, None, &mut std::io::sink(), 1, limits, &|_| {})?;
            }
        }
        Image::V1(set) => {
            for layer in set.images.values().filter_map(|image| image.layer.as_ref()) {
                pack(layer, None, &mut std::io::sink(), 1, limits, &|_| {})?;
            }
        }
    }
    Ok(())
}

/// The error of a source, which is the same in every way of opening it.
pub(crate) fn failure(label: &str, bytes: &[u8], limits: &Limits) -> ImageError {
    let mut failures = WAYS.iter().map(|way| {
        let outcome = open_way(*way, bytes, limits).and_then(|archive| read_whole(&archive, limits));
        outcome.expect_err(&format!("{label}: it is accepted, {way:?}"))
    });
    let first = failures.next().unwrap();
    let without_path = |error: &ImageError| {
        let text = error.to_string();
        assert!(!text.chars().any(char::is_control), "{label}: {text:?}");
        assert!(text.len() < 3000, "{label}: a message of {} bytes", text.len());
        // Each way has a temporary folder of its own.
        text.split('/').map(|part| if part.starts_with(".tmp") { "tmp" } else { part }).collect::<String>()
    };
    for other in failures {
        assert_eq!(without_path(&first), without_path(&other), "{label}");
    }
    first
}

/// A row of a table: a label, the archive, the rule that it breaks, and the member that breaks it.
pub(crate) type Row<'a> = (&'a str, Vec<u8>, fn(&Rule) -> bool, &'a str);

/// A rule of this shape.
#[macro_export]
macro_rules! rule {
    ($shape:pat) => {
        |rule: &raas_image::Rule| {
            use raas_image::Rule::*;
            matches!(rule, $shape)
        }
    };
}

pub(crate) fn check(rows: Vec<Row<'_>>, limits: &Limits) {
    for (label, bytes, expected, member) in rows {
        let error = failure(label, &bytes, limits);
        assert_refused(label, &error, expected, member);
    }
}

pub(crate) fn assert_refused(label: &str, error: &ImageError, expected: fn(&Rule) -> bool, member: &str) {
    match error {
        ImageError::Refused { member: found, rule } => {
            assert!(expected(rule), "{label}: another rule: {rule:?}");
            assert!(found.contains(member), "{label}: `{found}` is named, not `{member}`");
        }
        other => panic!("{label}: not refused by a rule: {other:?}"),
    }
}

pub(crate) fn manifests(bytes: &[u8], tag: Option<&str>) -> Result<ManifestSet, ImageError> {
    match open_bytes(bytes).image(&wanted(tag))? {
        Image::Manifests(set) => Ok(set),
        other => panic!("expected manifests, found {other:?}"),
    }
}

pub(crate) fn saved(bytes: &[u8], tag: Option<&str>) -> Result<SavedSet, ImageError> {
    match open_bytes(bytes).image(&wanted(tag))? {
        Image::Saved(set) => Ok(set),
        other => panic!("expected saved images, found {other:?}"),
    }
}

pub(crate) fn v1(bytes: &[u8], tag: Option<&str>) -> Result<V1Set, ImageError> {
    match open_bytes(bytes).image(&wanted(tag))? {
        Image::V1(set) => Ok(set),
        other => panic!("expected v1 images, found {other:?}"),
    }
}

pub(crate) fn wanted(tag: Option<&str>) -> Wanted {
    Wanted { tag: tag.map(|tag| tag.parse().unwrap()), ..Wanted::default() }
}

/// What a push of the vendor `acme` wants.
pub(crate) fn published_as(image: &str) -> Wanted {
    let named = ("acme".parse().unwrap(), image.parse().unwrap());
    Wanted { published_as: Some(named), ..Wanted::default() }
}

/// Opens an archive in every way and reads it as a whole.
pub(crate) fn accepted(label: &str, bytes: &[u8]) -> Archive {
    let limits = Limits::default();
    let mut last = None;
    for way in WAYS {
        let archive =
            open_way(way, bytes, &limits).unwrap_or_else(|error| panic!("{label}, {way:?}: {error}"));
        read_whole(&archive, &limits).unwrap_or_else(|error| panic!("{label}, {way:?}: {error}"));
        last = Some(archive);
    }
    last.unwrap()
}
