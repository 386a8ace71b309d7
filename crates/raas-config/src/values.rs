//! How values of `raas.cfg` are read.
//!
//! A list is separated by commas, spaces or line breaks. A relative path starts at the folder of the file.

use std::path::Path;
use std::time::Duration;

use raas_base::Secret;
use raas_server::{AllowedHost, AllowedHostError, HostNameError, TokenAlgorithm};
use raas_sources::federation::{BaseImage, DocumentsAddress, MaskedLayerName, MaskedWithoutLocation};
use raas_types::{
    BucketAccess, ChecksumPolicy, ImageReference, ImageReferenceError, RepositoryName, RepositoryPattern,
    RepositoryPatternError,
};

use crate::ini::{IniError, Value};
use crate::registry_address::RegistryAddress;
use crate::signed_name::SignedName;
use crate::tag_pattern::TagPattern;
use crate::trusted_signers::TrustedSigners;

/// A text that is not empty.
pub(crate) fn text(value: &Value) -> Result<String, IniError> {
    if value.text.is_empty() { Err(value.error("the value is empty".into())) } else { Ok(value.text.clone()) }
}

/// A text that is never shown.
pub(crate) fn secret(value: &Value) -> Result<Secret, IniError> {
    text(value).map(Secret::new)
}

/// A base URL. The result has no slash at the end.
pub(crate) fn url(value: &Value) -> Result<String, IniError> {
    let url = value.text.trim_end_matches('/');
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let is_plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}?#@".contains(c);
    match rest {
        Some(rest) if !rest.is_empty() && rest.chars().all(is_plain) => Ok(url.to_owned()),
        // The value is not shown: it may hold a password.
        _ => Err(value.error(
            "expected a base URL, http://… or https://…, without user name, password, query or fragment"
                .into(),
        )),
    }
}

/// A server: a URL without a path, or a host name with or without a port, which is called by https. The result is a
/// URL.
pub(crate) fn server(value: &Value) -> Result<String, IniError> {
    let with_scheme = match value.text.contains("://") {
        true => value.text.clone(),
        false => format!("https://{}", value.text),
    };
    let url = with_scheme.trim_end_matches('/');
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let is_host =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    match is_host {
        true => Ok(url.to_owned()),
        // The value is not shown: it may hold a password.
        false => {
            Err(value.error("expected a host such as pulp.example.com, or https://… without a path".into()))
        }
    }
}

/// The name of a domain of a Pulp server.
pub(crate) fn pulp_domain(value: &Value) -> Result<String, IniError> {
    let text = text(value)?;
    match text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
        true => Ok(text),
        false => Err(value
            .error(format!("`{text}` is not the name of a domain: expected letters, digits, `-` and `_`"))),
    }
}

/// A folder of another machine, from its root on. The result has no slash at the end.
pub(crate) fn absolute_path(value: &Value) -> Result<String, IniError> {
    let path = value.text.trim_end_matches('/');
    match path.starts_with('/') && !path.split('/').any(|part| part == "..") {
        true => Ok(path.to_owned()),
        false => Err(value.error("expected a folder from the root on, such as /var/lib/pulp/exports".into())),
    }
}

/// A list of base paths with `{isv}` and `{image}`.
pub(crate) fn base_paths(value: &Value) -> Result<Vec<String>, IniError> {
    let paths: Vec<String> = words(value).map(str::to_owned).collect();
    for path in &paths {
        let example = path.replace("{isv}", "isv").replace("{image}", "image");
        if !path.contains("{image}") || example.parse::<RepositoryName>().is_err() {
            return Err(value.error(format!(
                "`{path}` is not a base path: expected a repository name with `{{image}}` in it, such as {{isv}}/{{image}}"
            )));
        }
    }
    match paths.is_empty() {
        true => Err(value.error("the value is empty".into())),
        false => Ok(paths),
    }
}

/// `yes` or `no`, in all spellings of ConfigParser.
pub(crate) fn yes_or_no(value: &Value) -> Result<bool, IniError> {
    match value.text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        other => Err(value.error(format!("`{other}` is neither yes nor no"))),
    }
}

/// A whole number of seconds, from 1 to a week.
pub(crate) fn seconds(value: &Value) -> Result<Duration, IniError> {
    const WEEK: u64 = 7 * 24 * 60 * 60;
    match value.text.parse() {
        Ok(seconds @ 1..=WEEK) => Ok(Duration::from_secs(seconds)),
        _ => Err(value.error(format!("`{}` is no number of seconds from 1 to {WEEK}", value.text))),
    }
}

/// A number of seconds, which may be 0.
pub(crate) fn seconds_or_none(value: &Value) -> Result<Duration, IniError> {
    if value.text == "0" { Ok(Duration::ZERO) } else { seconds(value) }
}

/// A list of host names, each with or without a port.
pub(crate) fn registry_addresses(value: &Value) -> Result<Vec<RegistryAddress>, IniError> {
    let wrong = |error: HostNameError| value.error(error.to_string());
    words(value).map(|word| word.parse().map_err(wrong)).collect()
}

/// A list of patterns of tags.
pub(crate) fn tag_patterns(value: &Value) -> Result<Vec<TagPattern>, IniError> {
    words(value).map(|word| word.parse().map_err(|message: String| value.error(message))).collect()
}

/// Whose signatures count. It is never empty: an empty value would switch a policy off without a word.
pub(crate) fn trusted_signers(value: &Value, folder: &Path) -> Result<TrustedSigners, IniError> {
    let words: Vec<&str> = words(value).collect();
    let signers = TrustedSigners::read(&words, folder).map_err(|message| value.error(message))?;
    if signers.is_empty() { Err(value.error("the value is empty".into())) } else { Ok(signers) }
}

/// A list of names in registries.
pub(crate) fn signed_names(value: &Value) -> Result<Vec<SignedName>, IniError> {
    let names: Result<Vec<_>, _> =
        words(value).map(|word| word.parse().map_err(|message: String| value.error(message))).collect();
    match names?.as_slice() {
        [] => Err(value.error("the value is empty".into())),
        names => Ok(names.to_vec()),
    }
}

/// The host of a registry, with its port if it has one.
pub(crate) fn registry_host(value: &Value) -> Result<String, IniError> {
    // The parser of image references checks the host.
    let image = format!("{}/x", value.text).parse::<ImageReference>();
    match image {
        Ok(_) if !value.text.contains('/') => Ok(value.text.to_ascii_lowercase()),
        _ => Err(value.error("expected the host of a registry, such as `registry.example.com:5000`".into())),
    }
}

/// A list of repository names and patterns.
pub(crate) fn repository_patterns(value: &Value) -> Result<Vec<RepositoryPattern>, IniError> {
    let wrong = |error: RepositoryPatternError| value.error(error.to_string());
    words(value).map(|word| word.parse().map_err(wrong)).collect()
}

/// A list of hosts, addresses and networks, each with or without a port.
pub(crate) fn allowed_hosts(value: &Value) -> Result<Vec<AllowedHost>, IniError> {
    let wrong = |error: AllowedHostError| value.error(error.to_string());
    words(value).map(|word| word.parse().map_err(wrong)).collect()
}

/// A list of image ids and digests.
pub(crate) fn masked_layers(value: &Value) -> Result<Vec<MaskedLayerName>, IniError> {
    words(value).map(|word| word.parse().map_err(|message: String| value.error(message))).collect()
}

/// What a push does with a masked layer without a location.
pub(crate) fn masked_without_location(value: &Value) -> Result<MaskedWithoutLocation, IniError> {
    match value.text.as_str() {
        "refuse" => Ok(MaskedWithoutLocation::Refuse),
        "warn" => Ok(MaskedWithoutLocation::Warn),
        other => Err(value.error(format!("`{other}` is neither refuse nor warn"))),
    }
}

/// A list of images in registries and of paths of OCI image layouts. A path begins with `/`, `./` or `../`.
pub(crate) fn base_images(value: &Value, folder: &Path) -> Result<Vec<BaseImage>, IniError> {
    let wrong = |error: ImageReferenceError| value.error(error.to_string());
    let is_path = |word: &str| ["/", "./", "../"].iter().any(|begin| word.starts_with(begin));
    words(value)
        .map(|word| match is_path(word) {
            true => Ok(BaseImage::Layout(folder.join(word))),
            false => word.parse().map(BaseImage::Registry).map_err(wrong),
        })
        .collect()
}

/// A URL, or a path.
pub(crate) fn documents(value: &Value, folder: &Path) -> Result<DocumentsAddress, IniError> {
    if value.text.contains("://") {
        Ok(DocumentsAddress::Url(url(value)?))
    } else {
        Ok(DocumentsAddress::Path(folder.join(text(value)?)))
    }
}

/// A folder within a repository.
pub(crate) fn folder_in_repository(value: &Value) -> Result<String, IniError> {
    let path = value.text.trim_matches('/');
    if path.is_empty() || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(value.error("expected a folder in the repository, such as `crane/data`".into()));
    }
    Ok(path.to_owned())
}

/// How clients get a vendor's objects.
pub(crate) fn bucket_access(value: &Value) -> Result<BucketAccess, IniError> {
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

/// Whether uploads carry checksums.
pub(crate) fn checksum_policy(value: &Value) -> Result<ChecksumPolicy, IniError> {
    match value.text.as_str() {
        "auto" => Ok(ChecksumPolicy::Auto),
        "required" => Ok(ChecksumPolicy::Required),
        "off" => Ok(ChecksumPolicy::Off),
        other => {
            Err(value.error(format!("`{other}` is no setting of checksums: expected auto, required or off")))
        }
    }
}

/// The hash of an Akamai CDN's tokens.
pub(crate) fn token_algorithm(value: &Value) -> Result<TokenAlgorithm, IniError> {
    match value.text.to_ascii_lowercase().as_str() {
        "sha256" => Ok(TokenAlgorithm::Sha256),
        "sha1" => Ok(TokenAlgorithm::Sha1),
        "md5" => Ok(TokenAlgorithm::Md5),
        other => Err(value.error(format!("`{other}` is no algorithm: expected sha256, sha1 or md5"))),
    }
}

/// A list of words.
pub(crate) fn word_list(value: &Value) -> Vec<String> {
    words(value).map(str::to_owned).collect()
}

fn words(value: &Value) -> impl Iterator<Item = &str> {
    value.text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty())
}
