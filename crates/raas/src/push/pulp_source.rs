//! Reads an image from the Pulp server of `[pulpserver]`, through Pulp's registry.

use std::sync::Arc;

use raas_image::Limits;
use raas_sources::pulp::PulpSettings;
use raas_sources::registry::{Patience, Remote};

use super::Options;
use super::registry_source::{read_remote, wanted};
use super::source::{SourceArgument, SourceImage, default_archive};
use crate::progress::Progress;
use raas_base::failure::Failure;

/// Finds the repository and reads the manifests that are asked for. The blobs stay in Pulp.
pub(super) fn read(
    pulp: &PulpSettings,
    options: &Options,
    limits: &Limits,
    progress: &Progress,
) -> Result<SourceImage, Failure> {
    let access = pulp.access(progress.as_say(), Patience::default());
    let found = pulp.find(&options.vendor, &options.image.name, access.clone())?;
    let archive = default_archive(&options.image.name);
    if options.from == SourceArgument::Default && archive.is_file() {
        let archive = archive.display();
        progress.say(&format!(
            "Note: {archive} in the current folder is not read, since [pulpserver] names a server: give --from {archive} for it"
        ));
    }
    progress.notes(&found.notes);
    let wanted = wanted(&found.address, options)?;
    let remote = Arc::new(Remote::open(&found.address, access)?);
    let shown = found.address.to_string();
    let mut source = read_remote(&remote, &shown, &wanted, options, limits, progress)?;
    source.source.kind = "pulp";
    source.private = found.private;
    Ok(source)
}
