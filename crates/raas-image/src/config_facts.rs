//! The parts of an image config that a registry looks at.

use raas_types::{Digest, Platform};
use serde::Deserialize;

/// What raas reads of a config. Source: OCI image-spec 1.1, config.md.
#[derive(Deserialize)]
pub(crate) struct ConfigFacts {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    pub(crate) rootfs: Rootfs,
}

#[derive(Deserialize, Default)]
pub(crate) struct Rootfs {
    #[serde(default)]
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
