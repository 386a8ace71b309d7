//! The base images of `mask_images`: all layers of all their platforms are masked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use raas_image::{Image, Input, Limits, Wanted};
use raas_types::media_type::{self, LayerPacking};
use raas_types::{Descriptor, Digest, Manifest, ManifestBody, Reference, null_as_default};
use serde::Deserialize;

use super::settings::{BaseImage, FederationSettings};
use super::sources::Workspace;
use crate::http;
use crate::image_failure::image_failure;
use crate::registry::{Client, ImageReference, Presence, ask};
use raas_base::failure::{Context as _, Failure, Kind};

/// A layer of a base image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseLayer {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The length in bytes.
    pub size: u64,
    /// The digest of the plain tar of a gzipped layer: docker save archives have the plain tar.
    pub diff_id: Option<Digest>,
    /// The URL of the bytes.
    pub location: String,
}

/// The largest number of manifests of one base image.
const MAX_MANIFESTS: usize = 1000;

/// The layers of `mask_images`.
pub(super) fn layers(
    settings: &FederationSettings,
    workspace: &Workspace,
    notes: &mut Vec<String>,
) -> Result<Vec<BaseLayer>, Failure> {
    let client = Client::new(settings.credentials()?)?;
    let mut layers = Vec::new();
    for image in &settings.mask_images {
        let before = layers.len();
        let shown = match image {
            BaseImage::Registry(image) => {
                let found = in_registry(&client, image);
                // The notes say to which host a password went, so a failure shows them too.
                let told = |failure: Failure| {
                    client.notes().iter().fold(failure, |failure, note| failure.preceded_by(note))
                };
                layers.extend(found.map_err(told)?);
                image.to_string()
            }
            BaseImage::Layout(path) => {
                let base = settings.layer_url.as_deref().ok_or_else(|| {
                    Failure::new(
                        Kind::Usage,
                        format!(
                            "the layers of the layout {} in `mask_images` have no location",
                            path.display()
                        ),
                    )
                    .hint("set `layer_url` in [redhat]: layers are served from <layer_url>/blobs/<digest>")
                })?;
                layers.extend(in_layout(path, base, &workspace.spool)?);
                path.display().to_string()
            }
        };
        notes.push(format!("{} layers of {shown} are masked", layers.len() - before));
    }
    notes.extend(client.notes());
    Ok(layers)
}

fn in_registry(client: &Client, image: &ImageReference) -> Result<Vec<BaseLayer>, Failure> {
    let mut layers = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut left = vec![image.reference.clone()];
    while let Some(reference) = left.pop() {
        if !seen.insert(reference.to_string()) {
            continue;
        }
        if seen.len() > MAX_MANIFESTS {
            return Err(Failure::new(
                Kind::Refused,
                format!("{image} has more than {MAX_MANIFESTS} manifests"),
            ));
        }
        let manifest = client.manifest(image, &reference)?;
        left.extend(manifest.children().iter().map(|child| Reference::Digest(child.digest)));
        add_layers(&manifest, &image.blobs_url(), &mut layers, |config| {
            client.config(image, &config.digest)
        })?;
    }
    // A redirected client has no token of that registry, so the registry must serve layers without a token.
    if let Some(first) = layers.values().next()
        && let Presence::Refused(status) = ask(&http::agent()?, &first.location)
    {
        let message = format!(
            "{} answers {status}: clients that are redirected there for a layer would be refused",
            first.location
        );
        return Err(Failure::new(Kind::Usage, message).hint(
            "name another registry in `mask_images` that serves the image to anybody, or copy the image into a layout \
             and set `layer_url`",
        ));
    }
    Ok(layers.into_values().collect())
}

fn in_layout(path: &Path, base: &str, spool: &Path) -> Result<Vec<BaseLayer>, Failure> {
    let limits = Limits::default();
    fs::create_dir_all(spool).context(|| format!("cannot make the folder {}", spool.display()))?;
    let archive =
        raas_image::open(Input::Path(path.to_owned()), spool, &limits, &mut |_| {}).map_err(image_failure)?;
    let Image::Manifests(set) = archive.image(&Wanted::default()).map_err(image_failure)? else {
        let message =
            format!("{} in `mask_images` is {}, no OCI image layout", path.display(), archive.kind());
        return Err(Failure::new(Kind::Usage, message));
    };
    let mut layers = BTreeMap::new();
    for item in set.manifests.values() {
        add_layers(&item.manifest, &format!("{base}/blobs"), &mut layers, |config| {
            let content = set.blobs.get(&config.digest).and_then(|blob| blob.content.as_ref());
            content.map_or_else(
                || Ok(Vec::new()),
                |content| content.read_all(limits.json).map_err(image_failure),
            )
        })?;
    }
    Ok(layers.into_values().collect())
}

/// Adds the layers of a manifest. `read` reads the config.
fn add_layers(
    manifest: &Manifest,
    blobs_url: &str,
    layers: &mut BTreeMap<Digest, BaseLayer>,
    read: impl Fn(&Descriptor) -> Result<Vec<u8>, Failure>,
) -> Result<(), Failure> {
    let ManifestBody::Image { config, layers: listed } = &manifest.body else { return Ok(()) };
    let diff_ids =
        if media_type::is_image_config(&config.media_type) { diff_ids(&read(config)?) } else { Vec::new() };
    for (n, layer) in listed.iter().enumerate() {
        let gzipped = media_type::layer_packing(&layer.media_type) == Some(LayerPacking::Gzip);
        // With another number of diff ids than layers, it is unknown which belongs to which.
        let diff_id = diff_ids.get(n).copied().filter(|_| gzipped && diff_ids.len() == listed.len());
        let location = layer.urls.first().cloned().unwrap_or_else(|| format!("{blobs_url}/{}", layer.digest));
        layers.insert(layer.digest, BaseLayer { digest: layer.digest, size: layer.size, diff_id, location });
    }
    Ok(())
}

/// The diff ids of a config. A config that cannot be read has none.
fn diff_ids(config: &[u8]) -> Vec<Digest> {
    #[derive(Deserialize)]
    struct Config {
        rootfs: Rootfs,
    }
    #[derive(Deserialize)]
    struct Rootfs {
        #[serde(default, deserialize_with = "null_as_default")]
        diff_ids: Vec<Digest>,
    }
    serde_json::from_slice::<Config>(config).map_or_else(|_| Vec::new(), |config| config.rootfs.diff_ids)
}
