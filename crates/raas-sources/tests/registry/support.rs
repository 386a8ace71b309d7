//! A registry, and how the tests read from it.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raas_base::Say;
use raas_base::failure::Failure;
use raas_image::{Limits, ManifestSet};
use raas_sources::registry::{
    LoginSource, Patience, ReadOptions, Remote, RemoteOptions, WantedAttachments, WantedImages, read_images,
};
use raas_testkit::oci::Layout;
use raas_testkit::registry::Registry;
use raas_types::{Descriptor, Digest};

/// A registry with one image under the tag `1.0`.
pub(crate) struct OneImage {
    pub(crate) registry: Registry,
    pub(crate) layout: Layout,
    pub(crate) image: Descriptor,
    pub(crate) layer: Descriptor,
}

pub(crate) fn one_image() -> OneImage {
    let mut layout = Layout::new();
    let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let layer = layout.layer(&[("content", &content)], raas_testkit::layers::Pack::Plain);
    let image = layout.image("amd64", std::slice::from_ref(&layer));
    let registry = Registry::new("team/app");
    registry.fill(&layout);
    registry.tag("1.0", &image.digest);
    OneImage { registry, layout, image, layer: layer.descriptor }
}

pub(crate) fn patience() -> Patience {
    Patience {
        attempts: 4,
        pause: Duration::from_millis(1),
        longest: Duration::from_secs(1),
        answer: Duration::from_secs(5),
        silence: Duration::from_millis(200),
        progress: 1,
    }
}

/// The options of a test: no login, and impatient.
pub(crate) fn options() -> RemoteOptions {
    RemoteOptions {
        login: LoginSource::None("find a login".into()),
        certificate_folders: Some(Vec::new()),
        registries_files: Some(Vec::new()),
        patience: patience(),
        ..RemoteOptions::default()
    }
}

pub(crate) fn open(registry: &Registry, options: RemoteOptions) -> Arc<Remote> {
    Arc::new(Remote::open(&registry.address().parse().unwrap(), options).unwrap())
}

pub(crate) fn read_with(
    registry: &Registry,
    wanted: &WantedImages,
    options: RemoteOptions,
) -> Result<ManifestSet, Failure> {
    read_images(&open(registry, options), wanted, &read_options(&Limits::default()))
}

/// Everything.
pub(crate) fn read_options(limits: &Limits) -> ReadOptions<'_> {
    ReadOptions { platforms: &[], limits, attachments: WantedAttachments::default() }
}

pub(crate) fn read(registry: &Registry, wanted: &WantedImages) -> Result<ManifestSet, Failure> {
    read_with(registry, wanted, options())
}

pub(crate) fn tag(text: &str) -> WantedImages {
    WantedImages::Tags(BTreeSet::from([text.parse().unwrap()]))
}

/// The message, the causes and the hints of the failure.
pub(crate) fn failure(registry: &Registry, wanted: &WantedImages) -> String {
    read(registry, wanted).unwrap_err().to_string()
}

/// The tags of a set, with the digests.
pub(crate) fn tags(set: &ManifestSet) -> Vec<(String, Digest)> {
    set.tags.iter().map(|(tag, digest)| (tag.to_string(), *digest)).collect()
}

/// All bytes of a blob of a set.
pub(crate) fn bytes(set: &ManifestSet, digest: &Digest) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    set.blobs[digest].content.as_ref().unwrap().open()?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Lines for the user, collected.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    pub(crate) fn say(&self) -> Say {
        let lines = self.0.clone();
        Say::new(move |line| lines.lock().unwrap().push(line.to_owned()))
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}
