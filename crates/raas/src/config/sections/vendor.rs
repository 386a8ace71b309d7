//! A vendor's section, named like the vendor.

mod keys;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use raas_server::{HostName, TokenIssuer};
use raas_types::{BucketAccess, ChecksumPolicy, RepositoryPattern, VendorName};

use crate::config::bucket;
use crate::config::delivery::Delivery;
use crate::config::ini::{Ini, IniError, SectionName};
use crate::config::issuer::IssuerKeys;
use crate::config::key::COMMON_SECTIONS;
use crate::config::registry_address::RegistryAddress;
use crate::config::tag_pattern::TagPattern;
use crate::sync_rule::SyncRule;

pub(super) use keys::SECTION;

/// What is set for a vendor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VendorSettings {
    /// The vendor's bucket. Without it, objects are kept in the home.
    pub(crate) s3_bucket: Option<String>,
    /// The S3 service, if it is not AWS.
    pub(crate) s3_endpoint: Option<String>,
    pub(crate) s3_region: Option<String>,
    /// Whether the first push creates a missing bucket.
    pub(crate) create_bucket: bool,
    /// The prefix of all keys, without a slash at the end.
    pub(crate) s3_prefix: Option<String>,
    /// Whether the name of the bucket stands in a URL's path and not in its host name.
    pub(crate) s3_path_style: bool,
    /// Whether objects of `access = public` are stored with an ACL that lets everybody read them.
    pub(crate) s3_public_acl: bool,
    /// Whether uploads carry checksums.
    pub(crate) s3_checksums: ChecksumPolicy,
    /// How long a request to the bucket may stand still before it is tried again.
    pub(crate) s3_stall_timeout: Option<Duration>,
    /// The longest pause between two attempts of a request to the bucket.
    pub(crate) s3_longest_pause: Option<Duration>,
    /// How clients get objects.
    pub(crate) access: BucketAccess,
    /// The base URL before the bucket, for `access = cdn`.
    pub(crate) cdn_url: Option<String>,
    /// The addresses that people pull from, as they are written.
    pub(crate) registry_addresses: Vec<RegistryAddress>,
    /// The hosts of these addresses, sorted: a server selects the vendor by the name alone.
    pub(crate) registry_hosts: Vec<HostName>,
    /// The tags that must not move once they are published.
    pub(crate) immutable_tags: Vec<TagPattern>,
    /// The repositories that are protected from their first publication.
    pub(crate) protected_repositories: Vec<RepositoryPattern>,
    /// The file of users who may read protected repositories, for a server without a home.
    pub(crate) htpasswd: Option<PathBuf>,
    /// Another issuer of tokens for protected repositories.
    pub(crate) token_issuer: Option<TokenIssuer>,
    /// The file of the authorities whose client certificates open protected repositories.
    pub(crate) client_ca: Option<PathBuf>,
    /// Whether these certificates open only what they list.
    pub(crate) client_entitlements: bool,
    /// The files of the certificate of `registry_hosts` and of its key, for the router of a cluster.
    pub(crate) tls_certificate: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    /// The repository of the deployed application, and its deployed branch.
    pub(crate) git_url: Option<String>,
    pub(crate) git_branch: Option<String>,
    /// The platform's domain or project.
    pub(crate) openshift_domain: Option<String>,
    /// Tokens of a CDN, and what the server proxies.
    pub(crate) delivery: Delivery,
    /// The images that are kept like their sources.
    pub(crate) sync: Vec<SyncRule>,
}

/// A section while its keys are read. The four keys of a token issuer make sense only together.
#[derive(Default)]
pub(super) struct Draft {
    settings: VendorSettings,
    issuer: IssuerKeys,
}

impl VendorSettings {
    /// Reads all sections of vendors. Relative paths start at `folder`.
    ///
    /// # Errors
    /// A section is not named like a vendor, a key or a value cannot be used, or two vendors have the same host.
    pub(in crate::config) fn read_all(ini: &Ini, folder: &Path) -> Result<Vec<(VendorName, Self)>, IniError> {
        let sections = ini.sections().filter(|section| !COMMON_SECTIONS.contains(&section.name));
        let vendors = sections
            .map(|section| Ok((vendor_name(&section)?, Self::read(ini, section.name, folder)?)))
            .collect::<Result<Vec<_>, _>>()?;
        check_hosts(ini, &vendors)?;
        Ok(vendors)
    }

    fn read(ini: &Ini, section: &str, folder: &Path) -> Result<Self, IniError> {
        let mut draft = Draft::default();
        SECTION.read(ini, section, folder, &mut draft)?;
        let Draft { settings, issuer } = draft;
        let settings = Self { token_issuer: issuer.issuer(folder)?, ..settings };
        settings.check(ini, section)?;
        Ok(settings)
    }

    fn set_registry_addresses(&mut self, addresses: Vec<RegistryAddress>) {
        self.registry_hosts = addresses.iter().map(|address| address.host.clone()).collect();
        self.registry_hosts.sort();
        self.registry_hosts.dedup();
        self.registry_addresses = addresses;
    }

    /// Checks the values against each other.
    fn check(&self, ini: &Ini, section: &str) -> Result<(), IniError> {
        if let Some(value) = ini.value(section, "s3_bucket") {
            bucket::check_name(value, self.s3_endpoint.is_some())?;
        }
        let proxies_all = self.access == BucketAccess::Proxy || self.s3_bucket.is_none();
        if let Some((key, message)) = self.delivery.contradiction(proxies_all)
            && let Some(value) = ini.value(section, key)
        {
            return Err(value.error(format!("`{key}`: {message}")));
        }
        // Without authorities no certificate counts, so the key alone would promise something.
        if let Some(value) = ini.value(section, "client_entitlements")
            && self.client_entitlements
            && self.client_ca.is_none()
        {
            let message =
                "`client_entitlements = yes` needs `client_ca`, the authorities of the certificates";
            return Err(value.error(message.into()));
        }
        if let Some(value) = ini.value(section, "access")
            && self.access == BucketAccess::Cdn
            && self.cdn_url.is_none()
        {
            return Err(value.error("`access = cdn` needs `cdn_url`, the base URL before the bucket".into()));
        }
        Ok(())
    }
}

fn vendor_name(section: &SectionName<'_>) -> Result<VendorName, IniError> {
    section.name.parse().map_err(|error| IniError {
        line: section.line,
        message: format!(
            "[{}] is neither one of [{}] nor a vendor's: {error}",
            section.name,
            COMMON_SECTIONS.join("], [")
        ),
    })
}

/// Checks that no host belongs to two vendors: a server selects the vendor by it.
fn check_hosts(ini: &Ini, vendors: &[(VendorName, VendorSettings)]) -> Result<(), IniError> {
    let mut owners: BTreeMap<&HostName, &VendorName> = BTreeMap::new();
    for (vendor, settings) in vendors {
        for host in &settings.registry_hosts {
            if let Some(owner) = owners.insert(host, vendor) {
                let line = ini.value(vendor.as_str(), "registry_host").map_or(0, |value| value.line());
                let message = format!("{host} is the `registry_host` of [{owner}] already");
                return Err(IniError { line, message });
            }
        }
    }
    Ok(())
}
