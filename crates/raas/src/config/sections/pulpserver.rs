//! `[pulpserver]`: the Pulp server.

use std::path::Path;

use raas_base::Secret;

use crate::config::ini::{Ini, IniError};
use crate::config::key::{Key, Section, SectionText};
use crate::config::values::{secret, text, url};

/// The Pulp server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulpserver {
    pub(crate) url: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
}

impl Pulpserver {
    pub(in crate::config) fn read(ini: &Ini) -> Result<Self, IniError> {
        let mut pulp = Self::default();
        SECTION.read(ini, SECTION.name, Path::new(""), &mut pulp)?;
        Ok(pulp)
    }
}

pub(super) static SECTION: Section<Pulpserver> = Section {
    name: "pulpserver",
    text: SectionText {
        heading: "[pulpserver]: the Pulp server",
        comment: "The Pulp server. raas checks these keys and does not use them yet.",
    },
    keys: &[
        Key::<Pulpserver>::new(
            "url",
            "the server's address",
            "https://pulp.example.com",
            |pulp, value, _| {
                pulp.url = Some(url(value)?);
                Ok(())
            },
        ),
        Key::<Pulpserver>::new("username", "the user name at the server", "publisher", |pulp, value, _| {
            pulp.username = Some(text(value)?);
            Ok(())
        }),
        Key::<Pulpserver>::new(
            "password",
            "the password of `username`",
            "${PULP_PASSWORD}",
            |pulp, value, _| {
                pulp.password = Some(secret(value)?);
                Ok(())
            },
        )
        .secret(),
    ],
};
