//! Writes published images into one file, for registries that reach neither the vendor's registry nor the operator's CDN.
//!
//! ```text
//! argument ──▶ contents ──▶ leave out, with --since ──▶ write ──▶ destination
//!              (the record)                             blobs from the storage and from locations
//! ```

mod argument;
mod contents;
mod destination;

use std::collections::BTreeMap;
use std::io::Read;

use raas_base::failure::{Failure, Kind};
use raas_git::{CommitId, Reader};
use raas_image::{LayoutError, LayoutIndex, LayoutName, LayoutWriter, Limits};
use raas_publish::history;
use raas_publish::home::{Home, Vendor};
use raas_publish::storage::Storage;
use raas_types::{Digest, Reference, RepositoryName, Tag, VendorName};
use serde::Serialize;

pub(crate) use argument::ImageToExport;
use contents::Contents;
pub(crate) use destination::Destination;

use crate::config::Config;
use crate::output::number;
use crate::progress::{Bar, Progress, bytes};
use crate::report;
use crate::storage::{self, refresh_or_say};
use crate::vendors;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) vendor: VendorName,
    pub(crate) images: Vec<ImageToExport>,
    pub(crate) destination: Destination,
    /// The publication whose layers are left out, as the user wrote it.
    pub(crate) since: Option<String>,
    /// Whether the command only reports what it would write.
    pub(crate) dry_run: bool,
}

/// What was exported.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Report {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: VendorName,
    /// The exported publication.
    commit: String,
    /// The publication whose layers are left out. `null` for a whole bundle.
    since: Option<String>,
    /// The path of the bundle. `null` for standard output.
    file: Option<String>,
    dry_run: bool,
    /// The length of the bundle.
    size: u64,
    /// The part of the blobs that the vendor's storage does not have, and that was fetched from the operator's.
    size_elsewhere: u64,
    /// How many manifests the bundle has.
    manifest_count: usize,
    /// How many configs and layers the bundle has.
    blob_count: usize,
    /// How many layers are left out.
    left_out_count: usize,
    /// The size of the layers that are left out.
    left_out_size: u64,
    repositories: Vec<ExportedRepository>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ExportedRepository {
    #[cfg_attr(test, schemars(with = "String"))]
    repository: RepositoryName,
    protected: bool,
    #[serde(serialize_with = "report::tags")]
    #[cfg_attr(test, schemars(with = "Vec<report::TagReport<String>>"))]
    tags: BTreeMap<Tag, Digest>,
    /// The manifests that are in the bundle under their digests.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    untagged: Vec<Digest>,
}

/// Exports some images of the last publication.
///
/// # Errors
/// An image is not published or cannot be exported, a blob is missing or damaged, or the bundle cannot be written. Then
/// there is no file.
pub(crate) fn export(
    home: &Home,
    config: &Config,
    options: &Options,
    progress: &Progress,
) -> Result<Report, Failure> {
    if !options.dry_run {
        options.destination.check()?;
    }
    let vendor = vendors::existing(home, config, &options.vendor)?;
    refresh_or_say(&vendor, config);
    let record = vendor.record();
    let head = record.head()?.ok_or_else(|| nothing_published(&vendor))?;
    let reader = record.reader(&head)?;
    let mut contents = Contents::gather(&reader, &options.images)?;
    let since = match &options.since {
        Some(text) => {
            let since = history::find(&record, &head, text)?;
            contents.leave_out(&record.reader(&since)?)?;
            Some(since)
        }
        None => None,
    };
    let registry = config.vendor(vendor.name()).registry_addresses.first().map(ToString::to_string);
    let index = LayoutIndex {
        registry: registry.as_deref(),
        since: since.as_ref().map(CommitId::as_str),
        manifests: std::mem::take(&mut contents.named),
    };
    let bundle = Bundle { reader, contents, index: index.to_bytes() };
    bundle.check()?;
    progress.notes(&bundle.contents.notes);
    let report = report_of(options, &head, since.as_ref(), &index, &bundle);
    if !options.dry_run {
        let storage = storage::open(&vendor, config, &progress.as_say())?;
        let bar = progress.layer(&options.destination.shown(), report.size);
        bundle.write(storage.as_ref(), &options.destination, &bar)?;
        bar.done();
    }
    say(&report, progress);
    Ok(report)
}

fn nothing_published(vendor: &Vendor) -> Failure {
    Failure::new(Kind::Usage, format!("{} has published nothing yet", vendor.name()))
        .hint(format!("publish an image with `raas push {}`", vendor.name()))
}

/// What is written.
struct Bundle<'a> {
    reader: Reader<'a>,
    contents: Contents,
    /// The bytes of `index.json`.
    index: Vec<u8>,
}

impl Bundle<'_> {
    /// The lengths in bytes of all files below `blobs/`, in the order of their digests.
    fn sizes(&self) -> BTreeMap<Digest, u64> {
        let Contents { manifests, blobs, .. } = &self.contents;
        let blobs = blobs.iter().map(|(digest, blob)| (*digest, blob.size));
        blobs.chain(manifests.iter().map(|(digest, manifest)| (*digest, manifest.size))).collect()
    }

    /// The length in bytes of the whole bundle.
    fn length(&self) -> u64 {
        let signatures = self.contents.signatures.values().flatten().map(|signature| signature.len() as u64);
        LayoutWriter::<Vec<u8>>::length(&self.index, self.sizes().into_values().chain(signatures))
    }

    /// Checks that `raas push` reads the bundle: its limits keep hostile archives out.
    fn check(&self) -> Result<(), Failure> {
        let limits = Limits::default();
        if self.index.len() as u64 <= limits.json && self.sizes().len() < limits.members {
            return Ok(());
        }
        Err(Failure::new(
            Kind::Refused,
            "one bundle cannot hold so many images: `raas push` would not read it",
        )
        .hint("export fewer images, or fewer tags, into each of several bundles"))
    }

    fn write(&self, storage: &dyn Storage, destination: &Destination, bar: &Bar) -> Result<(), Failure> {
        let unwritable = |source: std::io::Error| {
            Failure::new(Kind::Environment, format!("cannot write {}", destination.shown()))
                .caused_by(source)
                .hint("make room there, or name another file")
        };
        let write_failed = |error: LayoutError| match error {
            LayoutError::Write(source) => unwritable(source),
            other => Failure::new(Kind::Environment, "cannot write the bundle").caused_by(other),
        };
        let mut writer = LayoutWriter::start(destination.open()?, &self.index).map_err(write_failed)?;
        for (digest, size) in self.sizes() {
            let manifest = self.contents.manifests.get(&digest);
            let blob = self.contents.blobs.get(&digest);
            let mut stream: Box<dyn Read> = match (manifest, blob) {
                (Some(manifest), _) => Box::new(std::io::Cursor::new(manifest.bytes(&self.reader, &digest)?)),
                (None, Some(blob)) => blob.open(storage)?,
                (None, None) => continue,
            };
            let written = writer.blob(&digest, size, stream.as_mut(), &mut |bytes| bar.advance(bytes));
            written.map_err(|error| match (error, blob) {
                (error @ LayoutError::Write(_), _) => write_failed(error),
                (error, Some(blob)) => blob.failure(error),
                (error, None) => Failure::new(Kind::Environment, format!("the manifest {digest} is damaged"))
                    .caused_by(error)
                    .hint("run `raas setup ISV --repair`"),
            })?;
        }
        for (digest, signatures) in &self.contents.signatures {
            for (n, signature) in signatures.iter().enumerate() {
                writer.signature(digest, n + 1, signature).map_err(write_failed)?;
            }
        }
        writer.finish().map_err(write_failed)?.finish().map_err(unwritable)
    }
}

fn report_of(
    options: &Options,
    head: &CommitId,
    since: Option<&CommitId>,
    index: &LayoutIndex<'_>,
    bundle: &Bundle<'_>,
) -> Report {
    let Contents { manifests, blobs, repositories, notes, left_out, .. } = &bundle.contents;
    let repository = |(name, protected): (&RepositoryName, &bool)| {
        let own = |manifest: &raas_image::NamedManifest| {
            let LayoutName { repository, reference } = manifest.name.clone()?;
            (repository == *name).then_some((reference, manifest.digest))
        };
        let (mut tags, mut untagged) = (BTreeMap::new(), Vec::new());
        for (reference, digest) in index.manifests.iter().filter_map(own) {
            match reference {
                Reference::Tag(tag) => drop(tags.insert(tag, digest)),
                Reference::Digest(digest) => untagged.push(digest),
            }
        }
        ExportedRepository { repository: name.clone(), protected: *protected, tags, untagged }
    };
    Report {
        vendor: options.vendor.clone(),
        commit: head.as_str().to_owned(),
        since: since.map(|since| since.as_str().to_owned()),
        file: match &options.destination {
            Destination::File(path) => Some(path.display().to_string()),
            Destination::Stdout => None,
        },
        dry_run: options.dry_run,
        size: bundle.length(),
        size_elsewhere: blobs.values().filter(|blob| blob.is_elsewhere()).map(|blob| blob.size).sum(),
        manifest_count: manifests.len(),
        blob_count: blobs.len(),
        left_out_count: left_out.len(),
        left_out_size: left_out.iter().map(|blob| blob.size).sum(),
        repositories: repositories.iter().map(repository).collect(),
        notes: notes.clone(),
    }
}

/// Says what was exported, on standard error: standard output may be the bundle.
fn say(report: &Report, progress: &Progress) {
    let done = if report.dry_run { "Would export" } else { "Exported" };
    for ExportedRepository { repository, tags, untagged, .. } in &report.repositories {
        for (tag, digest) in tags {
            progress.say(&format!("{done} {repository}:{tag} ({digest})"));
        }
        for digest in untagged {
            progress.say(&format!("{done} {repository}@{digest}"));
        }
    }
    if report.size_elsewhere > 0 {
        progress.say(&format!("Base layers from elsewhere: {}", bytes(report.size_elsewhere)));
    }
    if let Some(since) = &report.since {
        progress.say(&format!(
            "The bundle is incremental: it leaves out {} ({}) that publication {} had",
            number(report.left_out_count, "layer"),
            bytes(report.left_out_size),
            &since[..12]
        ));
    }
}

impl Report {
    /// The line for people: the last one.
    pub(crate) fn line(&self) -> String {
        let written = if self.dry_run { "Would write" } else { "Wrote" };
        let to = self.file.as_deref().unwrap_or("standard output");
        let manifests = number(self.manifest_count, "manifest");
        format!(
            "{written} {to}: {}, {manifests}, {}",
            bytes(self.size),
            number(self.blob_count, "config or layer").replace("config or layers", "configs and layers")
        )
    }
}
