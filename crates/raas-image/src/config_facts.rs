//! The parts of an image config that a registry reads.

use raas_types::{Digest, Platform, null_as_default};
use serde::Deserialize;

/// Platform and diff ids of a config. Source: OCI image-spec 1.1, config.md.
#[derive(Default, Deserialize)]
pub(crate) struct ConfigFacts {
    #[serde(default, deserialize_with = "null_as_default")]
    architecture: String,
    #[serde(default, deserialize_with = "null_as_default")]
    os: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) rootfs: Rootfs,
}

#[derive(Deserialize, Default)]
pub(crate) struct Rootfs {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) diff_ids: Vec<Digest>,
}

impl ConfigFacts {
    pub(crate) fn platform(&self) -> Option<Platform> {
        if self.architecture.is_empty() && self.os.is_empty() {
            return None;
        }
        let variant = self.variant.clone().filter(|v| !v.is_empty());
        Some(Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant,
            os_version: None,
        })
    }
}
