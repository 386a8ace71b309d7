//! The sections of `raas.cfg`, one file each: the settings, and the table of the keys.

mod aws;
mod openshift;
mod pulpserver;
mod redhat;
mod vendor;

pub use aws::Aws;
pub use openshift::{Openshift, PlatformName};
pub use pulpserver::Pulpserver;
pub use vendor::VendorSettings;
pub(crate) use vendor::{VendorSection, VendorSections};

use std::path::Path;

use raas_sources::federation::FederationSettings;

use crate::ini::{Ini, IniError};

/// Reads `[redhat]`. Relative paths start at `folder`.
pub(crate) fn federation(ini: &Ini, folder: &Path) -> Result<FederationSettings, IniError> {
    let mut settings = FederationSettings::default();
    redhat::SECTION.read(ini, redhat::SECTION.name, folder, &mut settings)?;
    Ok(settings)
}

/// Whether the value of a key is a secret, which raas never shows.
pub(crate) fn is_secret(section: &str, key: &str) -> bool {
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
pub(crate) struct SectionDescription {
    pub(crate) name: &'static str,
    pub(crate) text: crate::key::SectionText,
    pub(crate) keys: Vec<KeyDescription>,
}

/// What the template and the reference need of a key.
#[cfg(test)]
pub(crate) struct KeyDescription {
    pub(crate) name: &'static str,
    pub(crate) text: crate::key::KeyText,
    pub(crate) is_secret: bool,
}

/// All sections, in the order of the reference.
#[cfg(test)]
pub(crate) fn describe() -> Vec<SectionDescription> {
    fn of<T>(section: &crate::key::Section<T>) -> SectionDescription {
        let key = |key: &crate::key::Key<T>| KeyDescription {
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
