//! Pulp servers: which repository of a Pulp server an image is, and how the server is asked for it.
//!
//! ```text
//! export ──▶ task ──▶ api
//! version2 (Pulp 2)
//! ```

mod api;
mod export;
mod task;
mod version2;

use std::path::PathBuf;
use std::sync::Arc;

use raas_base::failure::{Failure, Kind};
use raas_base::{Say, Secret};
use raas_http::ClientIdentity;
use raas_types::{RepositoryName, VendorName};

use crate::registry::{
    LoginSource, PasswordLogin, Patience, RegistryAddress, RegistryError, RemoteOptions, Transport, escaped,
};
use api::{Api, Distribution};
pub use export::Export;
pub use version2::{ExportPlaces, Pulp2, Pulp2Export, Pulp2Repository};

/// `[pulpserver]`: a Pulp server.
#[derive(Debug, Clone, Default)]
pub struct PulpSettings {
    /// The server: `http://` or `https://`, host and port.
    pub url: String,
    /// The user name and the password.
    pub login: Option<(String, Secret)>,
    /// The certificate to show in place of a password.
    pub identity: Option<Arc<ClientIdentity>>,
    /// Whether to take any certificate of the server.
    pub any_certificate: bool,
    /// The domain, for a server with domains; `default` without it.
    pub domain: Option<String>,
    /// The base paths under which an image may be, the first that exists counts. `{isv}` and `{image}` stand for the names.
    pub base_paths: Vec<String>,
    /// Whether Katello, Satellite or Foreman stands before Pulp. Then raas sends no requests to Pulp's REST API.
    pub katello: bool,
    /// The folder on the server where exports go.
    pub export_path: Option<String>,
    /// Where this machine sees `export_path`, if it is elsewhere.
    pub export_mount: Option<PathBuf>,
    /// The URL where Pulp 2's web server has `export_path`.
    pub export_url: Option<String>,
}

/// The base paths of an image without a setting.
pub const DEFAULT_BASE_PATHS: [&str; 2] = ["{isv}/{image}", "{isv}-{image}"];

/// A repository of a Pulp server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulpRepository {
    /// Where Pulp's registry has it.
    pub address: RegistryAddress,
    /// The base path of its distribution.
    pub base_path: RepositoryName,
    /// Whether only some users may pull it.
    pub private: bool,
    /// Whether the registry has lists of atomic signatures.
    pub has_signatures: bool,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// The most base paths that an error lists.
const MOST_LISTED: usize = 10;

/// Where an upload goes.
#[derive(Debug)]
pub enum PulpTarget {
    /// A repository of Pulp's registry.
    Registry(RegistryAddress),
    /// A repository of Pulp 2, by its id.
    Pulp2(Pulp2, String),
}

/// An image at a Pulp server.
#[derive(Debug)]
pub enum PulpImage {
    /// A repository of Pulp 3, or of Katello.
    Registry(PulpRepository),
    /// A repository of Pulp 2, which has no registry.
    Pulp2(Pulp2Repository),
}

impl PulpSettings {
    /// How Pulp's registry and its REST API are asked.
    pub fn access(&self, say: Say, patience: Patience) -> RemoteOptions {
        const ADVICE: &str = "set or correct `username` and `password` in [pulpserver]";
        let login = match &self.login {
            Some((name, password)) => LoginSource::Given(
                PasswordLogin { user: name.clone(), password: password.clone() }.into(),
                ADVICE.into(),
            ),
            None => LoginSource::None(ADVICE.into()),
        };
        RemoteOptions {
            transport: if self.url.starts_with("http://") { Transport::Plain } else { Transport::Tls },
            any_certificate: self.any_certificate,
            identity: self.identity.clone(),
            login,
            // The configuration names the server itself.
            registries_files: Some(Vec::new()),
            patience,
            say,
            ..RemoteOptions::default()
        }
    }

    /// Finds the repository of an image.
    ///
    /// # Errors
    /// The server does not answer, is no Pulp, or has no such repository.
    pub fn locate(
        &self,
        vendor: &VendorName,
        image: &RepositoryName,
        access: RemoteOptions,
    ) -> Result<PulpImage, Failure> {
        let base_paths = self.base_paths(vendor, image)?;
        if self.katello {
            return self.behind_katello(&base_paths).map(PulpImage::Registry);
        }
        let Some(api) = Api::open(self, access.clone())? else {
            let found = Pulp2::open(self, access)?.find(&self.repository_ids(vendor, image)?)?;
            return Ok(PulpImage::Pulp2(found));
        };
        let (base_path, distribution) = self.distribution(&api, &base_paths, image)?;
        self.repository(&base_path, api.domain(), &distribution).map(PulpImage::Registry)
    }

    /// Finds the repository of an image in Pulp's registry.
    ///
    /// # Errors
    /// As [`locate`](Self::locate), or the server is a Pulp 2, which has no registry.
    pub fn find(
        &self,
        vendor: &VendorName,
        image: &RepositoryName,
        access: RemoteOptions,
    ) -> Result<PulpRepository, Failure> {
        match self.locate(vendor, image, access)? {
            PulpImage::Registry(found) => Ok(found),
            PulpImage::Pulp2(_) => {
                let message = format!("{} is a Pulp 2 server, which has no digests to compare", self.host());
                Err(Failure::new(Kind::Usage, message)
                    .hint(format!("publish the image with `raas push {vendor} {image}`")))
            }
        }
    }

    /// Where an upload of an image goes: its repository in Pulp's registry, or Pulp 2 with the id of the repository. The
    /// repository need not exist.
    ///
    /// # Errors
    /// The server does not answer, or is no Pulp.
    pub fn target(
        &self,
        vendor: &VendorName,
        image: &RepositoryName,
        access: RemoteOptions,
    ) -> Result<PulpTarget, Failure> {
        let base_paths = self.base_paths(vendor, image)?;
        if self.katello {
            return Ok(PulpTarget::Registry(self.behind_katello(&base_paths)?.address));
        }
        let Some(api) = Api::open(self, access.clone())? else {
            let ids = self.repository_ids(vendor, image)?;
            let server = Pulp2::open(self, access)?;
            let id = server.existing(&ids)?.unwrap_or_else(|| ids[0].clone());
            return Ok(PulpTarget::Pulp2(server, id));
        };
        let found = api.first_distribution(&base_paths)?;
        let base_path = found.map_or_else(|| base_paths[0].clone(), |(base_path, _)| base_path);
        self.address(api.domain(), &base_path).map(PulpTarget::Registry)
    }

    /// Lets Pulp 3 export the repository of an image.
    ///
    /// # Errors
    /// The server has no such repository, does not export it, or this machine cannot see the files.
    pub fn export(
        &self,
        vendor: &VendorName,
        image: &RepositoryName,
        access: RemoteOptions,
    ) -> Result<Export, Failure> {
        let base_paths = self.base_paths(vendor, image)?;
        let say = access.say.clone();
        let api = match self.katello {
            true => None,
            false => Api::open(self, access)?,
        };
        let Some(api) = api else {
            let message = format!("{} is no Pulp 3 server whose REST API raas may ask", self.host());
            return Err(Failure::new(Kind::Usage, message).hint(
                "leave --via out: Pulp 2 is always asked for an export, and Katello through its registry",
            ));
        };
        let (base_path, distribution) = self.distribution(&api, &base_paths, image)?;
        // The same refusals as for the registry.
        let found = self.repository(&base_path, api.domain(), &distribution)?;
        let name = format!("raas-{vendor}-{}", image.as_str().replace('/', "-"));
        Export::make(Arc::new(api), self, &name, &distribution, found.private, say)
    }

    fn distribution(
        &self,
        api: &Api,
        base_paths: &[RepositoryName],
        image: &RepositoryName,
    ) -> Result<(RepositoryName, Distribution), Failure> {
        match api.first_distribution(base_paths)? {
            Some(found) => Ok(found),
            None => Err(self.none(api, base_paths, image)?),
        }
    }

    /// The ids that an image may have in Pulp 2, which allows no slash in an id.
    fn repository_ids(&self, vendor: &VendorName, image: &RepositoryName) -> Result<Vec<String>, Failure> {
        let defaults = || DEFAULT_BASE_PATHS.map(str::to_owned).to_vec();
        let patterns = if self.base_paths.is_empty() { defaults() } else { self.base_paths.clone() };
        let image = image.as_str().replace('/', "-");
        let ids: Vec<String> = patterns
            .iter()
            .filter(|pattern| !pattern.contains('/'))
            .map(|pattern| pattern.replace("{isv}", vendor.as_str()).replace("{image}", &image))
            .collect();
        if ids.is_empty() {
            let message = "every `base_path` of [pulpserver] has a slash, and the server is a Pulp 2, whose ids have none";
            return Err(Failure::new(Kind::Usage, message).hint("set `base_path = {isv}-{image}`"));
        }
        Ok(ids)
    }

    fn base_paths(
        &self,
        vendor: &VendorName,
        image: &RepositoryName,
    ) -> Result<Vec<RepositoryName>, Failure> {
        let defaults = || DEFAULT_BASE_PATHS.map(str::to_owned).to_vec();
        let patterns = if self.base_paths.is_empty() { defaults() } else { self.base_paths.clone() };
        let of = |pattern: &String| {
            let text = pattern.replace("{isv}", vendor.as_str()).replace("{image}", image.as_str());
            text.parse::<RepositoryName>().map_err(|error| {
                Failure::new(Kind::Usage, format!("`base_path` of [pulpserver] makes no name: {error}"))
            })
        };
        patterns.iter().map(of).collect()
    }

    fn host(&self) -> &str {
        self.url.split_once("://").map_or(self.url.as_str(), |(_, host)| host)
    }

    fn address(&self, domain: Option<&str>, base_path: &RepositoryName) -> Result<RegistryAddress, Failure> {
        let text = match domain {
            Some(domain) => format!("{domain}/{base_path}"),
            None => base_path.to_string(),
        };
        let name = text.parse().map_err(|error| {
            Failure::new(Kind::Refused, format!("the domain of the Pulp server makes no name: {error}"))
        })?;
        Ok(RegistryAddress { host: self.host().to_owned(), name, tag: None, digest: None })
    }

    fn repository(
        &self,
        base_path: &RepositoryName,
        domain: Option<&str>,
        distribution: &Distribution,
    ) -> Result<PulpRepository, Failure> {
        let Distribution { repository, repository_version, remote, private, .. } = distribution;
        let mut notes = Vec::new();
        if remote.is_some() {
            notes.push(format!(
                "the distribution {base_path} passes on what another registry has: only the tags that Pulp lists are published"
            ));
        } else if repository.is_none() && repository_version.is_none() {
            let message =
                format!("the distribution {base_path} of the Pulp server {} has no repository", self.host());
            return Err(Failure::new(Kind::Refused, message).hint(
                "give it a repository: `pulp container distribution update --name NAME --repository NAME`",
            ));
        }
        let address = self.address(domain, base_path)?;
        Ok(PulpRepository {
            address,
            base_path: base_path.clone(),
            private: *private,
            has_signatures: true,
            notes,
        })
    }

    /// Katello lets no client use Pulp's REST API, so raas cannot know whether a repository is private, and takes it
    /// for private.
    fn behind_katello(&self, base_paths: &[RepositoryName]) -> Result<PulpRepository, Failure> {
        let [base_path] = base_paths else {
            return Err(Failure::new(Kind::Usage, "`katello` of [pulpserver] needs one `base_path`")
                .hint("set `base_path` to the names of your Katello, such as `myorg-{isv}-{image}`"));
        };
        let notes =
            vec!["Katello does not tell whether a repository is private: raas takes it for private".into()];
        let address = self.address(None, base_path)?;
        Ok(PulpRepository {
            address,
            base_path: base_path.clone(),
            private: true,
            has_signatures: false,
            notes,
        })
    }

    fn none(
        &self,
        api: &Api,
        base_paths: &[RepositoryName],
        image: &RepositoryName,
    ) -> Result<Failure, RegistryError> {
        let names: Vec<String> = base_paths.iter().map(|path| format!("`{path}`")).collect();
        let message = format!(
            "the Pulp server {} has no distribution with the base path {}, or does not show it to this user",
            self.host(),
            names.join(" or ")
        );
        let last = image.parts().last().unwrap_or_default();
        let query = format!("base_path__contains={}&limit={MOST_LISTED}", escaped(last));
        // Old releases do not know this filter, and the error is the same without it.
        let similar = api.distributions(&query).unwrap_or_default();
        let similar: Vec<&str> =
            similar.iter().take(MOST_LISTED).map(|found| found.base_path.as_str()).collect();
        let failure = Failure::new(Kind::Refused, message);
        Ok(match similar.as_slice() {
            [] => failure.hint(
                "look with `pulp container distribution list`, and set `base_path` in [pulpserver] to the names of your server",
            ),
            similar => {
                let similar: String = similar.join(", ").chars().filter(|c| !c.is_control()).take(1000).collect();
                failure.hint(format!("set `base_path` in [pulpserver] to your names; the server has {similar}"))
            }
        })
    }
}
