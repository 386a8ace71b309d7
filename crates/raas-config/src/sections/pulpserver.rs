//! `[pulpserver]`: the Pulp server.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raas_base::Secret;
use raas_base::failure::{Failure, Kind};
use raas_http::ClientIdentity;
use raas_sources::pulp::PulpSettings;

use crate::ini::{Ini, IniError, Value};
use crate::key::{Key, Section, SectionText};
use crate::values::{absolute_path, base_paths, pulp_domain, secret, server, text, url, yes_or_no};

/// The Pulp server.
#[derive(Debug, Clone, Default)]
pub struct Pulpserver {
    url: Option<String>,
    username: Option<String>,
    password: Option<Secret>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
    any_certificate: bool,
    domain: Option<String>,
    base_paths: Vec<String>,
    katello: bool,
    export_path: Option<String>,
    export_mount: Option<PathBuf>,
    export_url: Option<String>,
}

impl Pulpserver {
    pub(crate) fn read(ini: &Ini, folder: &Path) -> Result<Self, IniError> {
        let mut pulp = Self::default();
        SECTION.read(ini, SECTION.name, folder, &mut pulp)?;
        if let Some(key) = [
            "username",
            "password",
            "client_certificate",
            "client_key",
            "domain",
            "base_path",
            "export_path",
            "export_mount",
            "export_url",
        ]
        .iter()
        .find(|key| pulp.url.is_none() && ini.value(SECTION.name, key).is_some())
            && let Some(value) = ini.value(SECTION.name, key)
        {
            return Err(value.error(format!("`{key}` needs `host`, the Pulp server")));
        }
        for (key, other) in [
            ("username", "password"),
            ("password", "username"),
            ("client_certificate", "client_key"),
            ("client_key", "client_certificate"),
        ] {
            if let (Some(value), None) = (ini.value(SECTION.name, key), ini.value(SECTION.name, other)) {
                return Err(value.error(format!("`{key}` needs `{other}`")));
            }
        }
        Ok(pulp)
    }

    /// The settings of the server; none if no server is set.
    ///
    /// # Errors
    /// The certificate or its key cannot be used.
    pub fn settings(&self) -> Result<Option<PulpSettings>, Failure> {
        let Some(url) = self.url.clone() else { return Ok(None) };
        let identity = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => Some(Arc::new(identity(certificate, key)?)),
            _ => None,
        };
        Ok(Some(PulpSettings {
            url,
            login: self.username.clone().zip(self.password.clone()),
            identity,
            any_certificate: self.any_certificate,
            domain: self.domain.clone(),
            base_paths: self.base_paths.clone(),
            katello: self.katello,
            export_path: self.export_path.clone(),
            export_mount: self.export_mount.clone(),
            export_url: self.export_url.clone(),
        }))
    }
}

fn identity(certificate: &Path, key: &Path) -> Result<ClientIdentity, Failure> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| {
            Failure::new(Kind::Usage, format!("cannot read {} of [pulpserver]", path.display()))
                .caused_by(error)
        })
    };
    ClientIdentity::from_pem(&read(certificate)?, &read(key)?).map_err(|error| {
        let message = format!("cannot use `client_certificate` of [pulpserver], {}", certificate.display());
        Failure::new(Kind::Usage, message).caused_by(error)
    })
}

/// Sets the server, which both of its keys may name.
fn set_server(pulp: &mut Pulpserver, value: &Value) -> Result<(), IniError> {
    let url = server(value)?;
    if pulp.url.as_ref().is_some_and(|other| *other != url) {
        return Err(value.error("`host` and `url` name different servers".into()));
    }
    pulp.url = Some(url);
    Ok(())
}

pub(super) static SECTION: Section<Pulpserver> = Section {
    name: "pulpserver",
    text: SectionText {
        heading: "[pulpserver]: the Pulp server",
        comment: "The Pulp server that `raas push` reads images from if there is no --from.",
    },
    keys: &[
        Key::<Pulpserver>::new(
            "host",
            "the server: a host name with or without a port, or a URL without a path",
            "pulp.example.com",
            |pulp, value, _| set_server(pulp, value),
        ),
        Key::<Pulpserver>::new(
            "url",
            "another name of `host`, for older files",
            "https://pulp.example.com",
            |pulp, value, _| set_server(pulp, value),
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
        Key::<Pulpserver>::new(
            "client_certificate",
            "the file of a certificate in PEM, in place of a password",
            "/etc/raas/pulp-client.pem",
            |pulp, value, folder| {
                pulp.client_certificate = Some(folder.join(text(value)?));
                Ok(())
            },
        ),
        Key::<Pulpserver>::new(
            "client_key",
            "the file of the key of `client_certificate`, in PEM",
            "/etc/raas/pulp-client.key",
            |pulp, value, folder| {
                pulp.client_key = Some(folder.join(text(value)?));
                Ok(())
            },
        ),
        Key::<Pulpserver>::new(
            "verify_ssl",
            "whether to check the server's certificate; its authority may also lie in \
             `/etc/containers/certs.d/<host>/ca.crt`",
            "no",
            |pulp, value, _| {
                pulp.any_certificate = !yes_or_no(value)?;
                Ok(())
            },
        )
        .default("yes"),
        Key::<Pulpserver>::new(
            "domain",
            "the Pulp domain, if the server has domains",
            "acme",
            |pulp, value, _| {
                pulp.domain = Some(pulp_domain(value)?);
                Ok(())
            },
        )
        .default("default"),
        Key::<Pulpserver>::new(
            "base_path",
            "the possible base paths of an image's distribution: raas takes the first that exists; `{isv}` and \
             `{image}` stand for the vendor and the image",
            "{isv}/{image}, {isv}-{image}",
            |pulp, value, _| {
                pulp.base_paths = base_paths(value)?;
                Ok(())
            },
        )
        .default("`{isv}/{image}, {isv}-{image}`"),
        Key::<Pulpserver>::new(
            "katello",
            "whether Katello, Satellite or Foreman stands in front of Pulp; then `base_path` must be a single path, \
             and raas assumes that all repositories are private",
            "no",
            |pulp, value, _| {
                pulp.katello = yes_or_no(value)?;
                Ok(())
            },
        )
        .default("no"),
        Key::<Pulpserver>::new(
            "export_path",
            "the folder on the server where exports go: for `--via export` in ALLOWED_EXPORT_PATHS of Pulp 3; for Pulp 2 a \
             folder that the server's httpd serves",
            "/var/lib/pulp/exports",
            |pulp, value, _| {
                pulp.export_path = Some(absolute_path(value)?);
                Ok(())
            },
        )
        .default("none; of Pulp 2 `/var/www/pub/docker/web`"),
        Key::<Pulpserver>::new(
            "export_mount",
            "where this machine sees `export_path` of Pulp 3",
            "/mnt/pulp-exports",
            |pulp, value, folder| {
                pulp.export_mount = Some(folder.join(text(value)?));
                Ok(())
            },
        )
        .default("`export_path`"),
        Key::<Pulpserver>::new(
            "export_url",
            "the URL where the httpd of Pulp 2 serves `export_path`",
            "https://pulp.example.com/pulp/docker/v1",
            |pulp, value, _| {
                pulp.export_url = Some(url(value)?);
                Ok(())
            },
        )
        .default("`https://<host>/pulp/docker`"),
    ],
};
