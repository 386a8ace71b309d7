//! A vendor's section, named like the vendor.

mod keys;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use raas_server::{HostName, TokenIssuer};
use raas_types::{BucketAccess, ChecksumPolicy, RepositoryPattern, VendorName};

use crate::bucket;
use crate::delivery::Delivery;
use crate::ini::{Ini, IniError, SectionName};
use crate::issuer::IssuerKeys;
use crate::key::{COMMON_SECTIONS, nearest};
use crate::registry_address::RegistryAddress;
use crate::signed_name::SignedName;
use crate::sync_rule::SyncRule;
use crate::tag_pattern::TagPattern;
use crate::trusted_signers::TrustedSigners;

pub(super) use keys::SECTION;

/// What is set for a vendor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VendorSettings {
    /// The vendor's bucket. Without it, objects are kept in the home.
    pub s3_bucket: Option<String>,
    /// The S3 service, if it is not AWS.
    pub s3_endpoint: Option<String>,
    /// The bucket's region, if it is not that of `[aws]`.
    pub s3_region: Option<String>,
    /// Whether the first push creates a missing bucket.
    pub create_bucket: bool,
    /// The prefix of all keys, without a slash at the end.
    pub s3_prefix: Option<String>,
    /// Whether the name of the bucket stands in a URL's path and not in its host name.
    pub s3_path_style: bool,
    /// Whether objects of `access = public` are stored with an ACL that lets everybody read them.
    pub s3_public_acl: bool,
    /// Whether uploads carry checksums.
    pub s3_checksums: ChecksumPolicy,
    /// How long a request to the bucket may stand still before it is tried again.
    pub s3_stall_timeout: Option<Duration>,
    /// The longest pause between two attempts of a request to the bucket.
    pub s3_longest_pause: Option<Duration>,
    /// How clients get objects.
    pub access: BucketAccess,
    /// The base URL before the bucket, for `access = cdn`.
    pub cdn_url: Option<String>,
    /// The addresses that people pull from, as they are written.
    pub registry_addresses: Vec<RegistryAddress>,
    /// The hosts of these addresses, sorted: a server selects the vendor by the name alone.
    pub registry_hosts: Vec<HostName>,
    /// The tags that must not move once they are published.
    pub immutable_tags: Vec<TagPattern>,
    /// The signers of whom one must have signed each image. If it is empty, no signature is needed.
    pub require_signature: TrustedSigners,
    /// The names that these signatures may give to an image. If it is empty, all names.
    pub signature_identity: Vec<SignedName>,
    /// The file with the root of the Sigstore whose keyless signatures count. `None` for the public one.
    pub sigstore_root: Option<PathBuf>,
    /// Whether each image must pass the checks of `raas certify`.
    pub require_certified: bool,
    /// The repositories that are protected from their first publication.
    pub protected_repositories: Vec<RepositoryPattern>,
    /// The file of users who may read protected repositories, for a server without a home.
    pub htpasswd: Option<PathBuf>,
    /// Another issuer of tokens for protected repositories.
    pub token_issuer: Option<TokenIssuer>,
    /// The file of the authorities whose client certificates open protected repositories.
    pub client_ca: Option<PathBuf>,
    /// Whether these certificates open only what they list.
    pub client_entitlements: bool,
    /// The file of the certificate of `registry_hosts`, for the router of a cluster.
    pub tls_certificate: Option<PathBuf>,
    /// The file of the certificate's key.
    pub tls_key: Option<PathBuf>,
    /// The repository of the deployed application.
    pub git_url: Option<String>,
    /// The deployed branch of `git_url`, if it is not the default branch.
    pub git_branch: Option<String>,
    /// The platform's domain or project.
    pub openshift_domain: Option<String>,
    /// Tokens of a CDN, and what the server proxies.
    pub delivery: Delivery,
    /// The images that are kept like their sources.
    pub sync: Vec<SyncRule>,
}

/// A section while its keys are read. The four keys of a token issuer make sense only together.
#[derive(Default)]
pub(super) struct Draft {
    settings: VendorSettings,
    issuer: IssuerKeys,
}

/// A vendor's section as it was read.
#[derive(Debug)]
pub(crate) struct VendorSection {
    pub(crate) vendor: VendorName,
    /// The settings. If the section is refused, the settings that could be read.
    pub(crate) settings: VendorSettings,
    /// Why the section cannot be used.
    pub(crate) refusal: Option<IniError>,
}

/// The sections of the vendors, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct VendorSections {
    pub(crate) sections: Vec<VendorSection>,
    /// The sections whose name is no vendor's, with the reason.
    pub(crate) unnamed: Vec<(String, IniError)>,
}

impl VendorSections {
    /// Reads all sections of vendors. Relative paths start at `folder`. A fault of one vendor refuses that vendor's section
    /// only.
    ///
    /// # Errors
    /// A section that cannot be used is probably a misspelt common section, which concerns all vendors.
    pub(crate) fn read(ini: &Ini, folder: &Path) -> Result<Self, IniError> {
        let mut all = Self::default();
        for section in ini.sections().filter(|section| !COMMON_SECTIONS.contains(&section.name)) {
            let name = section.name;
            let fault = match vendor_name(&section) {
                Ok(vendor) => {
                    let (settings, read) = VendorSettings::read(ini, name, folder);
                    let faults = ini.fault(name).cloned().into_iter().chain(read.err());
                    let refusal = faults.min_by_key(|fault| fault.line);
                    all.sections.push(VendorSection { vendor, settings, refusal: refusal.clone() });
                    refusal
                }
                Err(error) => {
                    all.unnamed.push((name.to_owned(), error.clone()));
                    Some(error)
                }
            };
            if let Some(fault) = fault
                && nearest(&name.to_ascii_lowercase(), &COMMON_SECTIONS).is_some()
            {
                return Err(fault);
            }
        }
        check_hosts(ini, &mut all.sections);
        Ok(all)
    }

    /// The sections, if all of them can be used.
    #[cfg(test)]
    pub(crate) fn all_right(self) -> Result<Self, IniError> {
        let refused = self.sections.iter().filter_map(|section| section.refusal.as_ref());
        let first = refused.chain(self.unnamed.iter().map(|(_, error)| error)).min_by_key(|error| error.line);
        match first {
            Some(error) => Err(error.clone()),
            None => Ok(self),
        }
    }
}

impl VendorSettings {
    /// The settings that can be read, and the first fault.
    fn read(ini: &Ini, section: &str, folder: &Path) -> (Self, Result<(), IniError>) {
        let mut draft = Draft::default();
        let read = SECTION.read(ini, section, folder, &mut draft);
        let Draft { mut settings, issuer } = draft;
        let whole = read
            .and_then(|()| issuer.issuer(folder))
            .map(|issuer| settings.token_issuer = issuer)
            .and_then(|()| settings.check(ini, section));
        (settings, whole)
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
        if let Some(value) = ini.value(section, "signature_identity")
            && self.require_signature.is_empty()
        {
            let message = "`signature_identity` needs `require_signature`, the keys of the signatures";
            return Err(value.error(message.into()));
        }
        if let Some(value) = ini.value(section, "sigstore_root")
            && self.require_signature.keyless.is_empty()
        {
            let message = "`sigstore_root` needs `require_signature` with `IDENTITY from ISSUER`";
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

/// Refuses all sections with the same host: a server selects the vendor by the host, and which of them is right cannot be
/// known. A section with another fault keeps its hosts too.
fn check_hosts(ini: &Ini, sections: &mut [VendorSection]) {
    let mut owners: BTreeMap<HostName, usize> = BTreeMap::new();
    for n in 0..sections.len() {
        let (earlier, rest) = sections.split_at_mut(n);
        let VendorSection { vendor, settings, refusal } = &mut rest[0];
        for host in &settings.registry_hosts {
            let Some(owner) = owners.get(host).map(|at| &mut earlier[*at]) else {
                owners.insert(host.clone(), n);
                continue;
            };
            let line = ini.value(vendor.as_str(), "registry_host").map_or(0, |value| value.line());
            let message = format!(
                "{host} is the `registry_host` of [{}] already, and a server selects the vendor by the host name without the \
                 port: give each vendor a name of its own",
                owner.vendor
            );
            let error = IniError { line, message };
            owner.refusal.get_or_insert_with(|| error.clone());
            refusal.get_or_insert(error);
        }
    }
}
