//! `raas certify`: checks the images of a source, and publishes attestations of published images that pass.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use raas_base::failure::{Failure, Kind};
use raas_types::crane::{BlobEntry, V2Extension, tree};
use raas_types::{Descriptor, Digest, Manifest, ManifestBody, ObjectKey, media_type};

use super::signer::read_key;
use super::transfer::{Stored, StoredManifest, Tally, Transfer};
use super::{Options, Report, Run};
use crate::certify::attestation::{self, Attestation};
use crate::certify::{self, ImageCertification};
use crate::config::Config;
use crate::progress::Progress;
use crate::storage::OpenRegistry;
use crate::traces;
use raas_publish::home::{Home, Vendor};
use raas_publish::publication::Current;
use raas_sources::federation::Sources;

/// The images of a source with their checks, and the publication of their attestations.
pub(crate) struct Certified {
    pub(crate) source: String,
    pub(crate) images: Vec<ImageCertification>,
    /// The publication, if attestations were asked for and every image passed.
    pub(crate) report: Option<Report>,
}

/// Checks every image of the source. With `attach`, publishes an attestation of each if all pass.
///
/// # Errors
/// The source cannot be read, an image is not published, or publishing fails.
pub(crate) fn certify(
    home: &Home,
    config: &Config,
    options: &Options,
    attach: bool,
    progress: &Progress,
) -> Result<Certified, Failure> {
    let run = Run::new(home, config, options, progress);
    let vendor = run.check()?;
    let key = options.sign.as_ref().map(read_key).transpose()?;
    let federation = Sources::gather(&config.redhat, &config.workspace(home))?;
    let masks = run.masks(&federation);
    let source = run.read()?;
    let say = |line: &str| progress.say(line);
    let images = certify::certify(&source.image, &masks, &run.limits, &say)?;
    let name = source.source.name.clone();
    if !attach || !images.iter().all(ImageCertification::is_certified) {
        return Ok(Certified { source: name, images, report: None });
    }
    let open = OpenRegistry::open(&vendor, config, progress.as_say())?;
    run.catch_up(&vendor, &open)?;
    let registry = open.registry();
    let published = Published::read(&vendor, options)?;
    let mut attestations = Vec::new();
    for image in &images {
        let subject = published.subject(image, options)?;
        let statement = attestation::statement(options.image.name.as_str(), &subject.digest, image);
        if published.manifests.values().any(|manifest| attestation::is_of(manifest, &statement, key.as_ref()))
        {
            continue;
        }
        attestations.push(attestation::make(&statement, &subject, key.as_ref()).map_err(|error| {
            Failure::new(Kind::Environment, "cannot sign the attestation").caused_by(error)
        })?);
    }
    open.remember_storage()?;
    let listing = run.list_repository(&registry, &source.image)?;
    let mut report = Report::new(source.source, &[], options);
    let transfer = Transfer {
        name: &options.image.name,
        storage: registry.storage,
        listing: &listing,
        limits: &run.limits,
        progress,
        spool: home.root(),
        span: traces::current(),
    };
    let stored = store(&transfer, &attestations, &mut report)?;
    let rules = run.rules(&registry, &federation, false)?;
    let notes = vec![format!("Attestations: {} of certified images", attestations.len())];
    let done = run.publish(&registry, &rules, &stored, notes, &mut report)?;
    let report = run.follow_up(&registry, &done, report)?;
    Ok(Certified { source: name, images, report: Some(report) })
}

fn store(
    transfer: &Transfer<'_>,
    attestations: &[Attestation],
    report: &mut Report,
) -> Result<Stored, Failure> {
    let tally = Mutex::new(Tally::default());
    let mut stored = Stored::default();
    let mut put = |bytes: &[u8]| -> Result<(), Failure> {
        let digest = Digest::of(bytes);
        transfer.put_small(&ObjectKey::Blob(transfer.name.clone(), digest), bytes, &tally)?;
        stored.blobs.insert(digest, BlobEntry { size: bytes.len() as u64, diff_id: None, location: None });
        Ok(())
    };
    for Attestation { layer, .. } in attestations {
        put(attestation::EMPTY)?;
        put(layer)?;
    }
    for Attestation { manifest, .. } in attestations {
        let media_type = media_type::OCI_MANIFEST.to_owned();
        let entry = StoredManifest { bytes: manifest.clone(), media_type, platform: None, facts: None };
        stored.manifests.insert(Digest::of(manifest), entry);
    }
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    (report.stored, report.present) = (tally.stored, tally.present);
    Ok(stored)
}

/// The manifests that the repository publishes.
struct Published {
    v2: V2Extension,
    manifests: BTreeMap<Digest, Manifest>,
}

impl Published {
    fn read(vendor: &Vendor, options: &Options) -> Result<Self, Failure> {
        let name = &options.image.name;
        let nothing = Self { v2: V2Extension::default(), manifests: BTreeMap::new() };
        if !vendor.exists()? {
            return Ok(nothing);
        }
        let record = vendor.record();
        let Some(head) = record.head()? else { return Ok(nothing) };
        let Some(v2) = Current::read(&record, &head, name)?.v2 else { return Ok(nothing) };
        let mut manifests = BTreeMap::new();
        for (digest, entry) in &v2.manifests {
            let bytes = record.read(&head, &tree::manifest(name, digest))?;
            let parsed = bytes.and_then(|bytes| Manifest::parse(&bytes, Some(&entry.media_type)).ok());
            manifests.extend(parsed.map(|manifest| (*digest, manifest)));
        }
        Ok(Self { v2, manifests })
    }

    /// The published manifest of an image. raas has made it, if the source has none.
    fn subject(&self, image: &ImageCertification, options: &Options) -> Result<Descriptor, Failure> {
        let has_config = |manifest: &Manifest| matches!(&manifest.body, ManifestBody::Image { config, .. } if config.digest == image.config);
        let found = match self.manifests.contains_key(&image.digest) {
            true => Some(image.digest),
            false => {
                self.manifests.iter().find(|(_, manifest)| has_config(manifest)).map(|(digest, _)| *digest)
            }
        };
        let Some((digest, entry)) = found.and_then(|digest| Some((digest, self.v2.manifests.get(&digest)?)))
        else {
            let message = format!("{} does not publish {}", options.image.name, image.name());
            return Err(Failure::new(Kind::Refused, message)
                .hint(format!("push it first: raas push {} {}", options.vendor, options.image.name)));
        };
        Ok(Descriptor { digest, size: entry.size, ..attestation::descriptor(&entry.media_type, b"") })
    }
}
