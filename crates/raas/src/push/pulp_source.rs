//! Reads an image from the Pulp server of `[pulpserver]`: through Pulp's registry, or from an export.

use std::sync::Arc;

use raas_image::{Image, Input, Limits};
use raas_sources::pulp::{Pulp2Export, PulpImage, PulpRepository, PulpSettings};
use raas_sources::registry::{Patience, Remote, RemoteOptions, atomic_signatures};

use super::Options;
use super::registry_source::{read_remote, wanted};
use super::source::{
    GivenArchive, SourceArgument, SourceImage, Via, default_archive, note_signatures, read_archive,
};
use crate::progress::Progress;
use raas_base::failure::Failure;
use raas_publish::home::Home;

/// Finds the repository and reads the manifests that are asked for. The blobs stay in Pulp, or in its export.
pub(super) fn read(
    pulp: &PulpSettings,
    home: &Home,
    options: &Options,
    limits: &Limits,
    progress: &Progress,
) -> Result<SourceImage, Failure> {
    let access = pulp.access(progress.as_say(), Patience::default());
    let (vendor, name) = (&options.vendor, &options.image.name);
    if options.via == Via::Export {
        let export = pulp.export(vendor, name, access)?;
        note_archive(options, progress);
        let repository = options.repository.clone().or_else(|| Some(export.repository.clone()));
        let given = GivenArchive { input: Input::Path(export.file.clone()), size: None, repository };
        let mut source = read_archive(home, options, given, limits, progress)?;
        source.source.name = format!("an export of {}", export.host());
        source.private = export.private;
        source.export = Some(export);
        return Ok(source);
    }
    match pulp.locate(vendor, name, access.clone())? {
        PulpImage::Registry(found) => {
            note_archive(options, progress);
            through_registry(&found, access, options, limits, progress)
        }
        PulpImage::Pulp2(found) => {
            note_archive(options, progress);
            let Pulp2Export { name, stream, length } = found.export(access.patience)?;
            let input = Input::Stream(name, stream);
            let given = GivenArchive { input, size: length, repository: options.repository.clone() };
            read_archive(home, options, given, limits, progress)
        }
    }
}

/// Says that an archive that would have been read without a Pulp server is not read.
fn note_archive(options: &Options, progress: &Progress) {
    let archive = default_archive(&options.image.name);
    if options.from == SourceArgument::Default && archive.is_file() {
        let archive = archive.display();
        progress.say(&format!(
            "Note: {archive} in the current folder is not read, since [pulpserver] names a server: give --from {archive} for it"
        ));
    }
}

fn through_registry(
    found: &PulpRepository,
    access: RemoteOptions,
    options: &Options,
    limits: &Limits,
    progress: &Progress,
) -> Result<SourceImage, Failure> {
    progress.notes(&found.notes);
    let wanted = wanted(&found.address, options)?;
    let remote = Arc::new(Remote::open(&found.address, access)?);
    let shown = found.address.to_string();
    let mut source = read_remote(&remote, &shown, &wanted, options, limits, progress)?;
    source.source.kind = "pulp";
    source.private = found.private;
    if found.has_signatures
        && let Image::Manifests(set) = &source.image
    {
        source.signatures = atomic_signatures(&remote, set.manifests.keys().copied().collect())?;
        note_signatures(&source.signatures, progress);
    }
    Ok(source)
}
