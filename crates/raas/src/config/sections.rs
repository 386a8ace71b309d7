//! What each section of `raas.cfg` holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use raas_server::{HostName, HostNameError, TokenIssuer};
use raas_types::{ImageReferenceError, VendorName};

use super::bucket;
use super::delivery::Delivery;
use super::ini::{Ini, IniError, Value};
use super::issuer;
use raas_base::Secret;
use raas_sources::federation::{BaseImage, DocumentsPlace, FederationSettings, MaskedName};
use raas_types::BucketAccess;

/// `[openshift]`: the platform that registries run on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Openshift {
    /// `server_url`: the platform's API.
    pub(crate) server_url: Option<String>,
    /// `app_git_url`: the application that an OpenShift 2 gear starts from.
    pub(crate) app_git_url: Option<String>,
    /// `auth_token`.
    pub(crate) auth_token: Option<Secret>,
    /// `username`.
    pub(crate) username: Option<String>,
    /// `password`.
    pub(crate) password: Option<Secret>,
    /// `domain`: the domain or project, where a vendor's section names no other.
    pub(crate) domain: Option<String>,
    /// `cartridge`: what the gear runs.
    pub(crate) cartridge: Option<String>,
}

/// `[aws]`: overrides of the standard chain of credentials.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aws {
    /// `aws_access_key_id`.
    pub(crate) access_key_id: Option<String>,
    /// `aws_secret_access_key`.
    pub(crate) secret_access_key: Option<Secret>,
    /// `aws_session_token`.
    pub(crate) session_token: Option<Secret>,
    /// `profile`: a profile of `~/.aws/config` and `~/.aws/credentials`.
    pub(crate) profile: Option<String>,
    /// `region`: where a vendor's section names no other.
    pub(crate) region: Option<String>,
}

/// `[pulpserver]`: where images come from when `--from` says nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulpserver {
    /// `url`: the server's address.
    pub(crate) url: Option<String>,
    /// `username`.
    pub(crate) username: Option<String>,
    /// `password`.
    pub(crate) password: Option<Secret>,
}

/// A vendor's section, named like the vendor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VendorSettings {
    /// `s3_bucket`: the vendor's bucket; without one, objects are kept in the home.
    pub(crate) s3_bucket: Option<String>,
    /// `s3_endpoint`: the service, where it is not AWS.
    pub(crate) s3_endpoint: Option<String>,
    /// `s3_region`.
    pub(crate) s3_region: Option<String>,
    /// `s3_prefix`: what all keys begin with, without a slash at the end.
    pub(crate) s3_prefix: Option<String>,
    /// `s3_path_style`: whether the bucket stands in the path and not in the host name.
    pub(crate) s3_path_style: bool,
    /// `s3_public_acl`: whether objects of `access = public` are stored with an ACL that lets everybody read them, for
    /// a service that has no bucket policies.
    pub(crate) s3_public_acl: bool,
    /// `access`: how clients get at objects.
    pub(crate) access: BucketAccess,
    /// `cdn_url`: the base URL before the bucket, for `access = cdn`.
    pub(crate) cdn_url: Option<String>,
    /// `registry_host`: the hosts that people pull from.
    pub(crate) registry_hosts: Vec<HostName>,
    /// `htpasswd`: the users who see protected repositories, for a server without a home.
    pub(crate) htpasswd: Option<PathBuf>,
    /// `token_realm`, `token_service`, `token_issuer`, `token_keys`: who else gives out tokens.
    pub(crate) token_issuer: Option<TokenIssuer>,
    /// `client_ca`: the authorities of client certificates.
    pub(crate) client_ca: Option<PathBuf>,
    /// `openshift_domain`: the platform's domain or project.
    pub(crate) openshift_domain: Option<String>,
    /// A CDN's tokens, and what is passed on.
    pub(crate) delivery: Delivery,
}

/// The sections that are no vendor's.
pub(super) const OWN_SECTIONS: [&str; 4] = ["redhat", "openshift", "aws", "pulpserver"];

/// The keys of `[redhat]`.
const FEDERATION_KEYS: &[&str] = &[
    "mask_layers",
    "layer_url",
    "mask_images",
    "registry_username",
    "registry_password",
    "metadata",
    "metadata_repo",
    "metadata_relpath",
];

/// Reads `[redhat]`.
pub(super) fn federation(ini: &Ini, folder: &Path) -> Result<FederationSettings, IniError> {
    let mut redhat = FederationSettings::default();
    each(ini, "redhat", FEDERATION_KEYS, |key, value| {
        match key {
            "mask_layers" => redhat.mask_layers = masked_names(value)?,
            "layer_url" => redhat.layer_url = Some(url(value)?),
            "mask_images" => redhat.mask_images = base_images(value, folder)?,
            "registry_username" => redhat.registry_username = Some(text(value)?),
            "registry_password" => redhat.registry_password = Some(Secret::new(text(value)?)),
            "metadata" => redhat.metadata = Some(place(value, folder)?),
            "metadata_repo" => redhat.metadata_repo = Some(text(value)?),
            _ => redhat.metadata_relpath = Some(relative(value)?),
        }
        Ok(())
    })?;
    Ok(redhat)
}

impl Openshift {
    pub(super) const KEYS: &[&str] =
        &["server_url", "app_git_url", "auth_token", "username", "password", "domain", "cartridge"];

    pub(super) fn read(ini: &Ini) -> Result<Self, IniError> {
        let mut openshift = Openshift::default();
        each(ini, "openshift", Self::KEYS, |key, value| {
            match key {
                "server_url" => openshift.server_url = Some(url(value)?),
                "app_git_url" => openshift.app_git_url = Some(text(value)?),
                "auth_token" => openshift.auth_token = Some(Secret::new(text(value)?)),
                "username" => openshift.username = Some(text(value)?),
                "password" => openshift.password = Some(Secret::new(text(value)?)),
                "domain" => openshift.domain = Some(text(value)?),
                _ => openshift.cartridge = Some(text(value)?),
            }
            Ok(())
        })?;
        Ok(openshift)
    }
}

impl Aws {
    pub(super) const KEYS: &[&str] =
        &["aws_access_key_id", "aws_secret_access_key", "aws_session_token", "profile", "region"];

    pub(super) fn read(ini: &Ini) -> Result<Self, IniError> {
        let mut aws = Aws::default();
        each(ini, "aws", Self::KEYS, |key, value| {
            match key {
                "aws_access_key_id" => aws.access_key_id = Some(text(value)?),
                "aws_secret_access_key" => aws.secret_access_key = Some(Secret::new(text(value)?)),
                "aws_session_token" => aws.session_token = Some(Secret::new(text(value)?)),
                "profile" => aws.profile = Some(text(value)?),
                _ => aws.region = Some(text(value)?),
            }
            Ok(())
        })?;
        Ok(aws)
    }
}

impl Pulpserver {
    pub(super) const KEYS: &[&str] = &["url", "username", "password"];

    pub(super) fn read(ini: &Ini) -> Result<Self, IniError> {
        let mut pulp = Pulpserver::default();
        each(ini, "pulpserver", Self::KEYS, |key, value| {
            match key {
                "url" => pulp.url = Some(url(value)?),
                "username" => pulp.username = Some(text(value)?),
                _ => pulp.password = Some(Secret::new(text(value)?)),
            }
            Ok(())
        })?;
        Ok(pulp)
    }
}

impl VendorSettings {
    pub(super) const KEYS: &[&str] = &[
        "s3_bucket",
        "s3_endpoint",
        "s3_region",
        "s3_prefix",
        "s3_path_style",
        "s3_public_acl",
        "access",
        "cdn_url",
        "registry_host",
        "htpasswd",
        "token_realm",
        "token_service",
        "token_issuer",
        "token_keys",
        "client_ca",
        "openshift_domain",
        "cdn_akamai_secret",
        "cdn_akamai_param",
        "cdn_akamai_ttl",
        "cdn_akamai_algo",
        "cdn_cloudfront_key_id",
        "cdn_cloudfront_key",
        "proxy_repositories",
        "proxy_hosts",
    ];

    /// Every vendor's section.
    pub(super) fn read_all(ini: &Ini, folder: &Path) -> Result<Vec<(VendorName, Self)>, IniError> {
        let others = ini.sections().filter(|section| !OWN_SECTIONS.contains(&section.name));
        let mut hosts = BTreeMap::new();
        let vendors = others
            .map(|section| {
                let vendor = section.name.parse().map_err(|error| IniError {
                    line: section.line,
                    message: format!(
                        "[{}] is neither one of [{}] nor a vendor's: {error}",
                        section.name,
                        OWN_SECTIONS.join("], [")
                    ),
                })?;
                let settings = Self::read(ini, section.name, folder)?;
                for host in &settings.registry_hosts {
                    if let Some(other) = hosts.insert(host.clone(), section.name) {
                        let named = ini.section(section.name).find(|(key, _)| *key == "registry_host");
                        return Err(IniError {
                            line: named.map_or(section.line, |(_, value)| value.line()),
                            message: format!("{host} is the `registry_host` of [{other}] already"),
                        });
                    }
                }
                Ok((vendor, settings))
            })
            .collect::<Result<Vec<_>, _>>()?;
        bucket::check_apart(ini, &vendors)?;
        Ok(vendors)
    }

    fn read(ini: &Ini, section: &str, folder: &Path) -> Result<Self, IniError> {
        let mut vendor = VendorSettings::default();
        let mut issuer = issuer::Parts::default();
        for (key, value) in ini.section(section) {
            issuer.take(key, value);
        }
        vendor.token_issuer = issuer.issuer(folder)?;
        each(ini, section, Self::KEYS, |key, value| {
            match key {
                "s3_bucket" => vendor.s3_bucket = Some(text(value)?),
                "s3_endpoint" => vendor.s3_endpoint = Some(url(value)?),
                "s3_region" => vendor.s3_region = Some(text(value)?),
                "s3_prefix" => vendor.s3_prefix = bucket::prefix(value)?,
                "s3_path_style" => vendor.s3_path_style = yes_or_no(value)?,
                "s3_public_acl" => vendor.s3_public_acl = yes_or_no(value)?,
                "access" => vendor.access = bucket_access(value)?,
                "cdn_url" => vendor.cdn_url = Some(url(value)?),
                "registry_host" => vendor.registry_hosts = hosts(value)?,
                "htpasswd" => vendor.htpasswd = Some(folder.join(text(value)?)),
                "client_ca" => vendor.client_ca = Some(folder.join(text(value)?)),
                "openshift_domain" => vendor.openshift_domain = Some(text(value)?),
                // They were taken together.
                key if issuer::KEYS.contains(&key) => {}
                key => vendor.delivery.take(key, value, folder)?,
            }
            Ok(())
        })?;
        if let Some((_, value)) = ini.section(section).find(|(key, _)| *key == "s3_bucket") {
            bucket::check_name(value, vendor.s3_endpoint.is_some())?;
        }
        let all = vendor.access == BucketAccess::Proxy || vendor.s3_bucket.is_none();
        let contradiction = vendor.delivery.contradiction(all);
        if let Some((about, message)) = contradiction
            && let Some((key, value)) = ini.section(section).find(|(key, _)| *key == about)
        {
            return Err(value.error(format!("`{key}`: {message}")));
        }
        if let Some((_, value)) = ini.section(section).find(|(key, _)| *key == "access")
            && vendor.access == BucketAccess::Cdn
            && vendor.cdn_url.is_none()
        {
            return Err(value.error("`access = cdn` needs `cdn_url`, the base URL before the bucket".into()));
        }
        Ok(vendor)
    }
}

fn bucket_access(value: &Value) -> Result<BucketAccess, IniError> {
    match value.text.as_str() {
        "presigned" => Ok(BucketAccess::Presigned),
        "public" => Ok(BucketAccess::Public),
        "cdn" => Ok(BucketAccess::Cdn),
        "proxy" => Ok(BucketAccess::Proxy),
        other => {
            Err(value.error(format!("`{other}` is no access: expected presigned, public, cdn or proxy")))
        }
    }
}

/// Every section and its keys, a vendor's by the name that the template gives it.
#[cfg(test)]
pub(super) fn all() -> [(&'static str, &'static [&'static str]); 5] {
    [
        ("redhat", FEDERATION_KEYS),
        ("openshift", Openshift::KEYS),
        ("aws", Aws::KEYS),
        ("pulpserver", Pulpserver::KEYS),
        ("bigdatainc", VendorSettings::KEYS),
    ]
}

/// The keys whose values are never shown.
pub(super) const SECRETS: [&str; 7] = [
    "auth_token",
    "password",
    "registry_password",
    "aws_secret_access_key",
    "aws_session_token",
    "cdn_akamai_secret",
    // It may be the key itself, and not the name of its file.
    "cdn_cloudfront_key",
];

/// Takes each key of a section; one that is not known is told with what was probably meant.
fn each(
    ini: &Ini,
    section: &str,
    keys: &[&str],
    mut take: impl FnMut(&str, &Value) -> Result<(), IniError>,
) -> Result<(), IniError> {
    for (key, value) in ini.section(section) {
        if !keys.contains(&key) {
            let meant = match (nearest(key, keys), nearest(section, &OWN_SECTIONS)) {
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, Some(near)) if near != section => format!("did you mean the section [{near}]?"),
                _ => format!("it has {}", keys.join(", ")),
            };
            return Err(value.error(format!("[{section}] has no key `{key}`; {meant}")));
        }
        take(key, value)?;
    }
    Ok(())
}

/// The word that somebody who wrote this one probably meant.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distances = known.iter().map(|one| (strsim::damerau_levenshtein(word, one), *one));
    // A third of the letters may be wrong.
    distances.min().filter(|(distance, one)| *distance <= one.len().min(word.len()) / 3).map(|(_, one)| one)
}

/// A URL as it is, a path from the file's own folder.
fn place(value: &Value, folder: &Path) -> Result<DocumentsPlace, IniError> {
    if value.text.contains("://") {
        Ok(DocumentsPlace::Url(url(value)?))
    } else {
        Ok(DocumentsPlace::Path(folder.join(text(value)?)))
    }
}

/// A path that stays below where it begins.
fn relative(value: &Value) -> Result<String, IniError> {
    let path = value.text.trim_matches('/');
    if path.is_empty() || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(value.error("expected a folder in the repository, such as `crane/data`".into()));
    }
    Ok(path.to_owned())
}

/// Comma-, space- or line-separated. What begins as a path is one.
fn base_images(value: &Value, folder: &Path) -> Result<Vec<BaseImage>, IniError> {
    words(value)
        .map(|word| {
            if ["/", "./", "../"].iter().any(|begin| word.starts_with(begin)) {
                return Ok(BaseImage::Layout(folder.join(word)));
            }
            word.parse()
                .map(BaseImage::Registry)
                .map_err(|error: ImageReferenceError| value.error(error.to_string()))
        })
        .collect()
}

/// Comma-, space- or line-separated. A port is no part of what vendors are told apart by.
pub(super) fn hosts(value: &Value) -> Result<Vec<HostName>, IniError> {
    let without_port = |word: &str| match word.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name.to_owned(),
        _ => word.to_owned(),
    };
    let mut hosts = words(value)
        .map(|word| without_port(word).parse().map_err(|error: HostNameError| value.error(error.to_string())))
        .collect::<Result<Vec<HostName>, _>>()?;
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

pub(super) fn words(value: &Value) -> impl Iterator<Item = &str> {
    value.text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty())
}

pub(super) fn text(value: &Value) -> Result<String, IniError> {
    if value.text.is_empty() { Err(value.error("the value is empty".into())) } else { Ok(value.text.clone()) }
}

pub(super) fn yes_or_no(value: &Value) -> Result<bool, IniError> {
    // As ConfigParser reads them.
    match value.text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        other => Err(value.error(format!("`{other}` is neither yes nor no"))),
    }
}

/// Comma-, space- or line-separated.
fn masked_names(value: &Value) -> Result<Vec<MaskedName>, IniError> {
    words(value).map(|word| word.parse().map_err(|message: String| value.error(message))).collect()
}

/// A base URL, without a slash at the end.
fn url(value: &Value) -> Result<String, IniError> {
    let url = value.text.trim_end_matches('/');
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}?#@".contains(c);
    match host {
        Some(host) if !host.is_empty() && host.chars().all(plain) => Ok(url.to_owned()),
        // The value is not shown: it may hold a password.
        _ => Err(value.error(
            "expected a base URL, http://… or https://…, without user name, password, query or fragment"
                .into(),
        )),
    }
}
