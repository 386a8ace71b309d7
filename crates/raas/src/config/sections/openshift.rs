//! `[openshift]`: the platform that registries run on.

use std::path::Path;

use raas_base::Secret;

use crate::config::ini::{Ini, IniError};
use crate::config::key::{Key, Section, SectionText};
use crate::config::values::{secret, text, url};

/// The platform that registries run on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Openshift {
    pub(crate) server_url: Option<String>,
    pub(crate) app_git_url: Option<String>,
    pub(crate) auth_token: Option<Secret>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) domain: Option<String>,
    pub(crate) cartridge: Option<String>,
}

impl Openshift {
    pub(in crate::config) fn read(ini: &Ini) -> Result<Self, IniError> {
        let mut openshift = Self::default();
        SECTION.read(ini, SECTION.name, Path::new(""), &mut openshift)?;
        Ok(openshift)
    }
}

pub(super) static SECTION: Section<Openshift> = Section {
    name: "openshift",
    text: SectionText {
        heading: "[openshift]: the platform",
        comment: "The platform that registries run on. raas checks these keys and does not use them yet.",
    },
    keys: &[
        Key::<Openshift>::new(
            "server_url",
            "the platform's API",
            "https://openshift.example.com",
            |openshift, value, _| {
                openshift.server_url = Some(url(value)?);
                Ok(())
            },
        ),
        Key::<Openshift>::new(
            "app_git_url",
            "the application that an OpenShift 2 gear starts from",
            "https://github.com/aweiteka/crane",
            |openshift, value, _| {
                openshift.app_git_url = Some(text(value)?);
                Ok(())
            },
        ),
        Key::<Openshift>::new(
            "auth_token",
            "a token for the platform's API",
            "${OPENSHIFT_TOKEN}",
            |openshift, value, _| {
                openshift.auth_token = Some(secret(value)?);
                Ok(())
            },
        )
        .secret(),
        Key::<Openshift>::new(
            "username",
            "the user name for the platform's API",
            "operator",
            |openshift, value, _| {
                openshift.username = Some(text(value)?);
                Ok(())
            },
        ),
        Key::<Openshift>::new(
            "password",
            "the password of `username`",
            "${OPENSHIFT_PASSWORD}",
            |openshift, value, _| {
                openshift.password = Some(secret(value)?);
                Ok(())
            },
        )
        .secret(),
        Key::<Openshift>::new(
            "domain",
            "the domain or project for vendors whose section has no `openshift_domain`",
            "mydomain",
            |openshift, value, _| {
                openshift.domain = Some(text(value)?);
                Ok(())
            },
        ),
        Key::<Openshift>::new(
            "cartridge",
            "what an OpenShift 2 gear runs",
            "python-2.7",
            |openshift, value, _| {
                openshift.cartridge = Some(text(value)?);
                Ok(())
            },
        ),
    ],
};
