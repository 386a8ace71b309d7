//! The operator's settings for federation: the section `[redhat]` of the configuration.

use std::collections::BTreeSet;
use std::path::PathBuf;

use raas_base::Secret;
use raas_base::failure::{Failure, Kind};

use super::masks::MaskedLayerName;
use crate::credentials::{Credentials, PasswordLogin};
use crate::registry::ImageReference;

/// `[redhat]`: the masked layers, and their locations.
#[derive(Debug, Clone, Default)]
pub struct FederationSettings {
    /// `mask_layers`: image ids and digests of masked layers.
    pub mask_layers: Vec<MaskedLayerName>,
    /// `layer_url`: the base URL of masked layers, without a slash at the end.
    pub layer_url: Option<String>,
    /// `masked_without_location`: what a push does with a masked layer without a location.
    pub masked_without_location: MaskedWithoutLocation,
    /// `mask_images`: base images, all of whose layers are masked.
    pub mask_images: Vec<BaseImage>,
    /// `registry_host`: the registry that the next two are for, with its port.
    pub registry_host: Option<String>,
    /// `registry_username`: the user name for a registry of `mask_images` that requires a login.
    pub registry_username: Option<String>,
    /// `registry_password`: the password of that user.
    pub registry_password: Option<Secret>,
    /// `registry_auth_file`: a file of docker or podman with logins, in place of the files at their usual places.
    pub registry_auth_file: Option<PathBuf>,
    /// `metadata`: the operator's documents.
    pub metadata: Option<DocumentsAddress>,
    /// `metadata_repo`: the address of a git repository with documents of the operator.
    pub metadata_repo: Option<String>,
    /// `metadata_relpath`: the folder in that repository; without it, the whole repository.
    pub metadata_relpath: Option<String>,
}

/// What a push does with a masked layer without a location.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MaskedWithoutLocation {
    /// It rejects the image.
    #[default]
    Refuse,
    /// It publishes the image with a warning: clients cannot pull the image until the location is known.
    Warn,
}

impl FederationSettings {
    /// The logins of registries. The password in the configuration is for one host, and no other host ever gets it.
    ///
    /// # Errors
    /// The password may be meant for several hosts.
    pub fn credentials(&self) -> Result<Credentials, Failure> {
        let credentials = match &self.registry_auth_file {
            Some(file) => Credentials::of_file(file.clone()),
            None => Credentials::of_standard_files(),
        };
        let (Some(user), Some(password)) = (&self.registry_username, &self.registry_password) else {
            return Ok(credentials);
        };
        let login = PasswordLogin { user: user.clone(), password: password.clone() };
        if let Some(host) = &self.registry_host {
            return Ok(credentials.with(host, login));
        }
        let hosts: BTreeSet<&str> = self.mask_images.iter().filter_map(BaseImage::api_host).collect();
        match Vec::from_iter(hosts).as_slice() {
            [] => Ok(credentials),
            [host] => Ok(credentials.with(host, login)),
            hosts => Err(Failure::new(
                Kind::Usage,
                format!(
                    "`registry_password` in [redhat] is for one registry, but `mask_images` names {}: {}",
                    hosts.len(),
                    hosts.join(", ")
                ),
            )
            .hint(
                "set `registry_host` to the registry that the password is for; `podman login HOST` keeps the passwords of \
                 the others",
            )),
        }
    }
}

/// Where documents are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentsAddress {
    /// A file or a folder.
    Path(PathBuf),
    /// A document, or a folder with an `index.json`, on a web server; without a slash at the end.
    Url(String),
}

/// A base image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseImage {
    /// An image in a registry.
    Registry(ImageReference),
    /// All images of an OCI image layout, which is a folder or a tar.
    Layout(PathBuf),
}

impl BaseImage {
    /// The host and port of the registry that has the image. None for a layout.
    fn api_host(&self) -> Option<&str> {
        match self {
            BaseImage::Registry(image) => Some(image.api_host()),
            BaseImage::Layout(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(images: &[&str], host: Option<&str>) -> FederationSettings {
        FederationSettings {
            mask_images: images.iter().map(|image| BaseImage::Registry(image.parse().unwrap())).collect(),
            registry_host: host.map(str::to_owned),
            registry_username: Some("puller".into()),
            registry_password: Some(Secret::new("hunter2")),
            registry_auth_file: Some("/dev/null/none".into()),
            ..FederationSettings::default()
        }
    }

    #[test]
    fn the_password_is_for_one_host() {
        let has = |settings: &FederationSettings, host: &str| {
            let found = settings.credentials().unwrap().find(host, &"ubi9".parse().unwrap());
            found.is_ok_and(|login| login.is_some())
        };
        let one = settings(&["r.org/ubi9:9.4", "r.org/ubi8:8"], None);
        assert!(has(&one, "r.org") && !has(&one, "other.org"));
        let two = ["r.org/ubi9:9.4", "other.org:5000/ubi9"];
        let failure = settings(&two, None).credentials().unwrap_err().to_string();
        assert!(
            failure.contains("2: other.org:5000, r.org") && failure.contains("registry_host"),
            "{failure}"
        );
        assert!(!failure.contains("hunter2"));
        let named = settings(&two, Some("other.org:5000"));
        assert!(has(&named, "other.org:5000") && !has(&named, "other.org") && !has(&named, "r.org"));
        settings(&[], None).credentials().unwrap();
    }
}
