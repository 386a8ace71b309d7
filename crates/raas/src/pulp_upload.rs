//! Uploads an archive to the Pulp server of `[pulpserver]`: to the registry of Pulp 3, or by the upload API of Pulp 2.

mod manifests;
mod mask;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Seek as _};
use std::path::PathBuf;

use raas_base::failure::{Context as _, Failure, Kind};
use raas_image::{Archive, Image, Input, Limits, SourceKind, Wanted};
use raas_publish::home::Home;
use raas_sources::pulp::{Pulp2, PulpTarget};
use raas_sources::registry::{Patience, RegistryAddress, Remote, RemoteOptions};
use raas_types::{Digest, RepositoryName, Tag, VendorName};
use serde::Serialize;

use crate::config::Config;
use crate::progress::Progress;
use crate::push::OrFail as _;
use crate::report;
use manifests::Uploader;

/// What the command line asks for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The vendor.
    pub(crate) vendor: VendorName,
    /// The archive.
    pub(crate) file: PathBuf,
    /// The name of the image at the Pulp server; without it the name in the archive.
    pub(crate) image: Option<RepositoryName>,
    /// The only tag of the archive to upload.
    pub(crate) tag: Option<Tag>,
}

/// What was uploaded.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Report {
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) vendor: VendorName,
    /// The repository: an address in Pulp's registry, or an id of Pulp 2.
    pub(crate) pulp_repository: String,
    /// Whether the repository existed before. A registry of Pulp 3 does not tell, and makes what is missing.
    pub(crate) existed: Option<bool>,
    /// The uploaded tags, with the digests of their manifests. Pulp 2 has no digests.
    #[serde(serialize_with = "report::tags")]
    #[cfg_attr(test, schemars(with = "Vec<report::TagReport<Option<String>>>"))]
    pub(crate) tags: BTreeMap<Tag, Option<Digest>>,
    /// The Docker v1 image that Pulp 2 leaves out, with its ancestors. `null` if nothing is left out.
    pub(crate) masked_image: Option<String>,
    /// The uploaded bytes.
    pub(crate) size: u64,
}

/// Uploads the archive. An upload that failed can be run again: what the server has is not sent again to Pulp 3.
///
/// # Errors
/// The archive cannot be read, Pulp is not configured, or the server does not take it.
pub(crate) fn upload(
    home: &Home,
    config: &Config,
    options: &Options,
    progress: &Progress,
) -> Result<Report, Failure> {
    let pulp = config.pulpserver.settings()?.ok_or_else(|| {
        Failure::new(Kind::Usage, "no Pulp server is configured").hint("set `host` in [pulpserver]")
    })?;
    home.ensure()?;
    let limits = Limits::default();
    let bar = progress.reading(None);
    let archive = raas_image::open(Input::Path(options.file.clone()), home.root(), &limits, &mut |bytes| {
        bar.advance(bytes);
    });
    bar.done();
    let archive = archive.or_fail()?;
    progress.say(&format!("Recognised {} as {}", archive.what(), archive.kind()));
    let wanted = Wanted {
        published_as: options.image.clone().map(|image| (options.vendor.clone(), image)),
        tag: options.tag.clone(),
        ..Wanted::default()
    };
    let selection = archive.choose(&wanted).or_fail()?;
    let image = match &options.image {
        Some(image) => image.clone(),
        None => name_of(selection.repository(), &options.vendor)?,
    };
    let access = pulp.access(progress.as_say(), Patience::default());
    match pulp.target(&options.vendor, &image, access.clone())? {
        PulpTarget::Registry(address) => {
            let image = archive.read(&selection, None).or_fail()?;
            progress.notes(image.notes());
            to_registry(&address, access, image, &options.vendor, (home, &limits), progress)
        }
        PulpTarget::Pulp2(server, id) => to_pulp2(&server, &id, &archive, config, options, progress),
    }
}

/// The name in the archive, without the host of a registry and without the vendor.
fn name_of(repository: Option<&str>, vendor: &VendorName) -> Result<RepositoryName, Failure> {
    let unclear = |why: String| Failure::new(Kind::Usage, why).hint("name the image with --image NAME");
    let Some(repository) = repository else {
        return Err(unclear("the archive does not name its image".into()));
    };
    // As docker knows it: the first part is a host if it has a dot or a port, or is `localhost`.
    let named = match repository.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => rest,
        _ => repository,
    };
    let named = named.strip_prefix(vendor.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(named);
    named.parse().map_err(|error| unclear(format!("the name in the archive cannot be used: {error}")))
}

fn to_registry(
    address: &RegistryAddress,
    access: RemoteOptions,
    image: Image,
    vendor: &VendorName,
    (home, limits): (&Home, &Limits),
    progress: &Progress,
) -> Result<Report, Failure> {
    let remote = Remote::open(address, access)?;
    let uploader = Uploader { remote: &remote, spool: home.root(), limits, progress };
    let (tags, bytes) = uploader.upload(image)?;
    let tags = tags.into_iter().map(|(tag, digest)| (tag, Some(digest))).collect();
    Ok(Report {
        vendor: vendor.clone(),
        pulp_repository: address.to_string(),
        existed: None,
        tags,
        masked_image: None,
        size: bytes,
    })
}

fn to_pulp2(
    server: &Pulp2,
    id: &str,
    archive: &Archive,
    config: &Config,
    options: &Options,
    progress: &Progress,
) -> Result<Report, Failure> {
    let images = match archive.kind() {
        SourceKind::DockerV1 | SourceKind::DockerSave => archive.v1_parents().or_fail()?,
        _ => Default::default(),
    };
    if images.is_empty() {
        let message = format!("{} has no Docker v1 images, and Pulp 2 takes nothing else", archive.what());
        return Err(Failure::new(Kind::Refused, message).hint(
            "save the image with a Docker before version 25, which still writes them, or upload it to a Pulp 3",
        ));
    }
    if options.tag.is_some() {
        return Err(Failure::new(Kind::Usage, "Pulp 2 takes an archive as a whole")
            .hint("leave --tag out, or save the tag into an archive of its own"));
    }
    let mask = mask::youngest(&images, &config.redhat.mask_layers)?;
    if let Some(mask) = &mask {
        progress.say(&format!("Leaving out the masked image {mask} and its ancestors"));
    }
    let (repository, made) = server.repository_or_new(id)?;
    if made {
        progress.say(&format!("Made the repository {id} of the Pulp server {}", repository.host()));
    }
    let shown = options.file.display();
    let mut file = File::open(&options.file).context(|| format!("cannot read {shown}"))?;
    let size = file.seek(std::io::SeekFrom::End(0)).and_then(|size| file.rewind().map(|()| size));
    let size = size.context(|| format!("cannot read {shown}"))?;
    let bar = progress.layer("uploading", size);
    repository.upload(&mut BufReader::new(file), mask.as_ref(), &|bytes| bar.advance(bytes))?;
    bar.done();
    let tags = archive.choose(&Wanted::default()).map(|selection| selection.tags()).unwrap_or_default();
    let tags = tags.into_iter().map(|tag| (tag, None)).collect();
    Ok(Report {
        vendor: options.vendor.clone(),
        pulp_repository: id.to_owned(),
        existed: Some(!made),
        tags,
        masked_image: mask.map(|mask| mask.to_string()),
        size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_an_archive_loses_its_host_and_its_vendor() {
        let vendor: VendorName = "acme".parse().unwrap();
        for (repository, name) in [
            ("app", "app"),
            ("acme/app", "app"),
            ("x.org:5000/acme/tools/app", "tools/app"),
            ("localhost/app", "app"),
            ("acmes/app", "acmes/app"),
        ] {
            assert_eq!(name_of(Some(repository), &vendor).unwrap().as_str(), name);
        }
        assert!(name_of(None, &vendor).is_err());
    }
}
