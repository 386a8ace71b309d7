//! What Red Hat's preflight demands of an image, as far as raas sees it: labels, licenses, user, layers, base image.
//!
//! ```text
//! image ──▶ config ──▶ labels, user
//!       └─▶ layers, from the base on, each read once ──▶ FileSystem ──▶ licenses, files of the base, setuid
//! ```

pub(crate) mod attestation;
mod config_checks;
mod file_system;

use raas_base::failure::{Failure, Kind};
use raas_image::{Content, Image, ImageError, LayerDigest, Limits, ManifestSet, SavedSet, walk_layer};
use raas_sources::federation::Masks;
use raas_types::{Digest, ManifestBody, RepositoryName, Tag, VendorName, media_type};
use serde::Serialize;

use crate::check::{Check, Outcome};
use file_system::FileSystem;

/// The most layers of an image. Source: preflight, `LayerCountAcceptable`.
const MAX_LAYERS: usize = 40;

/// The longest config.
const MAX_CONFIG: u64 = 8 * 1024 * 1024;

/// The checks of one image.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ImageCertification {
    /// The digest of the manifest. If the source has no manifest, that of the config.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) digest: Digest,
    /// The digest of the config.
    #[serde(skip)]
    pub(crate) config: Digest,
    /// What the image runs on. `null` if the source does not say it.
    pub(crate) image_platform: Option<String>,
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) image_tags: Vec<Tag>,
    pub(crate) checks: Vec<Check>,
}

impl ImageCertification {
    /// Whether every check holds.
    pub(crate) fn is_certified(&self) -> bool {
        self.checks.iter().all(|check| check.outcome != Outcome::Failed)
    }

    /// The checks that do not hold, in words.
    fn failures(&self) -> String {
        let failed = self.checks.iter().filter(|check| check.outcome == Outcome::Failed);
        let failed: Vec<&str> = failed.map(|check| check.found.as_str()).collect();
        format!("{}: {}", self.name(), failed.join(", "))
    }

    /// The image in words.
    pub(crate) fn name(&self) -> String {
        let mut name = self.digest.to_string();
        if let Some(platform) = &self.image_platform {
            name.push_str(&format!(" for {platform}"));
        }
        if !self.image_tags.is_empty() {
            let tags: Vec<&str> = self.image_tags.iter().take(3).map(Tag::as_str).collect();
            name.push_str(&format!(" ({})", tags.join(", ")));
        }
        name
    }
}

/// Checks every image of a source. `say` is told which layer is read.
///
/// # Errors
/// The source cannot be read, breaks a limit, or has images without a config.
pub(crate) fn certify(
    image: &Image,
    masks: &Masks,
    limits: &Limits,
    say: &dyn Fn(&str),
) -> Result<Vec<ImageCertification>, Failure> {
    let images = match image {
        Image::Manifests(set) => of_manifests(set)?,
        Image::Saved(set) => of_saved(set),
        Image::V1(_) => {
            return Err(Failure::new(
                Kind::Refused,
                "Docker v1 images cannot be certified: they have no labels",
            )
            .hint("build the image again with a tool that writes Docker or OCI manifests"));
        }
    };
    images.iter().map(|one| one.check(masks, limits, say)).collect()
}

/// An image to check.
struct ToCheck {
    digest: Digest,
    platform: Option<String>,
    tags: Vec<Tag>,
    config: Vec<u8>,
    layers: Vec<Layer>,
}

/// A layer, the base first.
struct Layer {
    /// The digest of its bytes; for a layer of `docker save`, of its plain tar.
    digest: LayerDigest,
    /// The bytes; `None` if the source does not have them.
    content: Option<Content>,
}

impl Layer {
    fn name(&self) -> Digest {
        match self.digest {
            LayerDigest::Blob(digest) | LayerDigest::DiffId(digest) => digest,
        }
    }
}

fn of_manifests(set: &ManifestSet) -> Result<Vec<ToCheck>, Failure> {
    let mut images = Vec::new();
    for (digest, item) in &set.manifests {
        let ManifestBody::Image { config, layers } = &item.manifest.body else { continue };
        let is_image = media_type::is_image_config(&config.media_type)
            && layers.iter().all(|layer| media_type::layer_packing(&layer.media_type).is_some());
        if !is_image {
            continue;
        }
        let content = set.blobs.get(&config.digest).and_then(|blob| blob.content.as_ref());
        let Some(content) = content else {
            return Err(Failure::new(
                Kind::Refused,
                format!("the source does not have the config of {digest}"),
            )
            .hint("save or copy the image again: the source is incomplete"));
        };
        let config = read(content)?;
        let layers = layers
            .iter()
            .map(|layer| Layer {
                digest: LayerDigest::Blob(layer.digest),
                content: set.blobs.get(&layer.digest).and_then(|blob| blob.content.clone()),
            })
            .collect();
        let tags = tags_of(set, digest);
        let platform = item.platform.as_ref().map(ToString::to_string);
        images.push(ToCheck { digest: *digest, platform, tags, config, layers });
    }
    Ok(images)
}

/// The tags of a manifest, and of the indexes that list it.
fn tags_of(set: &ManifestSet, digest: &Digest) -> Vec<Tag> {
    let lists = |tagged: &Digest| {
        let children = set.manifests.get(tagged).map_or(&[][..], |item| item.manifest.children());
        children.iter().any(|child| child.digest == *digest)
    };
    let named = set.tags.iter().filter(|(_, tagged)| *tagged == digest || lists(tagged));
    named.map(|(tag, _)| tag.clone()).collect()
}

fn of_saved(set: &SavedSet) -> Vec<ToCheck> {
    let images = set.images.iter().map(|image| ToCheck {
        digest: Digest::of(&image.config),
        platform: image.platform.as_ref().map(ToString::to_string),
        tags: image.tags.clone(),
        config: image.config.clone(),
        layers: image
            .diff_ids
            .iter()
            .map(|diff_id| Layer {
                digest: LayerDigest::DiffId(*diff_id),
                content: set.layers.get(diff_id).cloned(),
            })
            .collect(),
    });
    images.collect()
}

fn read(content: &Content) -> Result<Vec<u8>, Failure> {
    content.read_all(MAX_CONFIG).map_err(failure)
}

fn failure(error: ImageError) -> Failure {
    raas_sources::image_failure(error)
}

impl ToCheck {
    fn check(
        &self,
        masks: &Masks,
        limits: &Limits,
        say: &dyn Fn(&str),
    ) -> Result<ImageCertification, Failure> {
        let mut checks = config_checks::checks(&self.config);
        checks.push(self.layer_count());
        let base = self.layers.iter().take_while(|layer| masks.blob(&layer.name()).is_some()).count();
        checks.push(base_image(base, self.layers.len()));
        let mut files = FileSystem::default();
        let mut unread = 0;
        for (n, layer) in self.layers.iter().enumerate() {
            files.begin_layer(n < base);
            let Some(content) = &layer.content else {
                unread += usize::from(n < base);
                if n >= base {
                    let message =
                        format!("the source does not have layer {} of {}", layer.name(), self.digest);
                    return Err(Failure::new(Kind::Refused, message)
                        .hint("certify a source that has all layers of the image"));
                }
                continue;
            };
            say(&format!("Reading layer {} of {} of {}", n + 1, self.layers.len(), self.digest.short()));
            walk_layer(content, layer.digest, limits, &mut |entry| files.add(entry)).map_err(failure)?;
        }
        checks.extend(files.checks(base, unread));
        Ok(ImageCertification {
            digest: self.digest,
            config: Digest::of(&self.config),
            image_platform: self.platform.clone(),
            image_tags: self.tags.clone(),
            checks,
        })
    }

    fn layer_count(&self) -> Check {
        let count = self.layers.len();
        let found = format!("the image has {count} layers, and at most {MAX_LAYERS} are allowed");
        match count {
            0..=MAX_LAYERS => Check::ok("layers", found),
            _ => Check::failed("layers", found, "join commands in the Dockerfile, or build with --squash"),
        }
    }
}

fn base_image(base: usize, all: usize) -> Check {
    if base > 0 {
        return Check::ok("base_image", format!("{base} of {all} layers are of a base image that is masked"));
    }
    Check::failed(
        "base_image",
        "the first layer is of no base image that raas knows",
        "build FROM a base image of the operator, and name it in `mask_images` or `metadata` of [redhat]",
    )
}

/// Rejects a push with an image that is not certified.
///
/// # Errors
/// A check of an image does not hold.
pub(crate) fn require(
    images: &[ImageCertification],
    name: &RepositoryName,
    vendor: &VendorName,
) -> Result<(), Failure> {
    /// How many images the error tells about.
    const MOST: usize = 5;
    let failed: Vec<&ImageCertification> = images.iter().filter(|image| !image.is_certified()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let mut told: Vec<String> = failed.iter().take(MOST).map(|image| image.failures()).collect();
    if failed.len() > MOST {
        told.push(format!("and {} more", failed.len() - MOST));
    }
    let message = format!("{name} is not certified, and `require_certified` of [{vendor}] demands it");
    Err(Failure::new(Kind::Refused, message)
        .caused_by(told.join("; "))
        .hint(format!("see all checks with `raas certify {vendor} {name} --from …`; nothing was stored")))
}
