//! The sections of `raas.cfg`, one file each: the settings, and the table of the keys.

mod aws;
mod openshift;
mod pulpserver;
mod redhat;
mod vendor;

pub(crate) use aws::Aws;
pub(crate) use openshift::{Openshift, PlatformName};
pub(crate) use pulpserver::Pulpserver;
pub(crate) use vendor::VendorSettings;
pub(super) use vendor::{VendorSection, VendorSections};

use std::path::Path;

use raas_sources::federation::FederationSettings;

use super::ini::{Ini, IniError};

/// Reads `[redhat]`. Relative paths start at `folder`.
pub(super) fn federation(ini: &Ini, folder: &Path) -> Result<FederationSettings, IniError> {
    let mut settings = FederationSettings::default();
    redhat::SECTION.read(ini, redhat::SECTION.name, folder, &mut settings)?;
    Ok(settings)
}

/// Whether the value of a key is a secret, which raas never shows.
pub(super) fn is_secret(section: &str, key: &str) -> bool {
    match section {
        "redhat" => redhat::SECTION.is_secret(key),
        "openshift" => openshift::SECTION.is_secret(key),
        "aws" => aws::SECTION.is_secret(key),
        "pulpserver" => pulpserver::SECTION.is_secret(key),
        _ => vendor::SECTION.is_secret(key),
    }
}

/// What the template and the reference need of a section.
#[cfg(test)]
pub(super) struct SectionDescription {
    pub(super) name: &'static str,
    pub(super) text: super::key::SectionText,
    pub(super) keys: Vec<KeyDescription>,
}

/// What the template and the reference need of a key.
#[cfg(test)]
pub(super) struct KeyDescription {
    pub(super) name: &'static str,
    pub(super) text: super::key::KeyText,
    pub(super) is_secret: bool,
}

/// All sections, in the order of the reference.
#[cfg(test)]
pub(super) fn describe() -> Vec<SectionDescription> {
    fn of<T>(section: &super::key::Section<T>) -> SectionDescription {
        let key = |key: &super::key::Key<T>| KeyDescription {
            name: key.name,
            text: key.text,
            is_secret: key.is_secret,
        };
        SectionDescription {
            name: section.name,
            text: section.text,
            keys: section.keys.iter().map(key).collect(),
        }
    }
    vec![
        of(&redhat::SECTION),
        of(&openshift::SECTION),
        of(&aws::SECTION),
        of(&pulpserver::SECTION),
        of(&vendor::SECTION),
    ]
}
