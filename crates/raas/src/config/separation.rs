//! Checks that no two vendors share a prefix of a bucket: each would overwrite the other's registry.

use raas_types::VendorName;

use super::ini::{Ini, IniError};
use super::sections::VendorSettings;

/// Checks that no vendor's prefix contains another vendor's objects.
pub(super) fn check(ini: &Ini, vendors: &[(VendorName, VendorSettings)]) -> Result<(), IniError> {
    let region = ini.value("aws", "region").map(|value| value.text.as_str());
    for (n, (vendor, settings)) in vendors.iter().enumerate() {
        for (other, others) in &vendors[..n] {
            if !overlap(settings, others, region) {
                continue;
            }
            let line = |vendor: &VendorName| {
                let value = |key: &str| ini.value(vendor.as_str(), key);
                value("s3_prefix").or_else(|| value("s3_bucket")).map_or(0, |value| value.line())
            };
            let message = format!(
                "the objects of [{vendor}], {}, and those of [{other}] (line {}), {}, would overlap: give each vendor a \
                 bucket, or an `s3_prefix` that is not within the other's",
                name(settings),
                line(other),
                name(others)
            );
            return Err(IniError { line: line(vendor), message });
        }
    }
    Ok(())
}

fn overlap(one: &VendorSettings, other: &VendorSettings, region: Option<&str>) -> bool {
    let path = |settings: &VendorSettings| match &settings.s3_prefix {
        Some(prefix) => format!("{prefix}/"),
        None => String::new(),
    };
    let within = |one: &VendorSettings, other: &VendorSettings| path(one).starts_with(&path(other));
    one.s3_bucket.is_some()
        && one.s3_bucket == other.s3_bucket
        && service(one, region) == service(other, region)
        && (within(one, other) || within(other, one))
}

/// The identity of the service: host, port and path of its endpoint.
///
/// A bucket's name is unique in all regions of AWS, except for the partitions of China and of the US government, which
/// have names of their own. `region` is that of `[aws]`.
fn service(settings: &VendorSettings, region: Option<&str>) -> String {
    let region = settings.s3_region.as_deref().or(region).unwrap_or_default();
    let partition = ["cn-", "us-gov-"].iter().find(|begin| region.starts_with(**begin));
    let aws = || partition.copied().unwrap_or("aws").to_owned();
    let Some(endpoint) = &settings.s3_endpoint else { return aws() };
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.to_ascii_lowercase();
    let port = if scheme == "http" { ":80" } else { ":443" };
    let host = host.strip_suffix(port).unwrap_or(&host);
    if host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn") {
        return aws();
    }
    format!("{host}/{path}")
}

fn name(settings: &VendorSettings) -> String {
    let bucket = settings.s3_bucket.as_deref().unwrap_or_default();
    match &settings.s3_prefix {
        Some(prefix) => format!("s3://{bucket}/{prefix}"),
        None => format!("s3://{bucket}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(), String> {
        let ini = Ini::parse(text.as_bytes(), &|_| None).unwrap();
        VendorSettings::read_all(&ini, std::path::Path::new(""))
            .and_then(|vendors| check(&ini, &vendors))
            .map_err(|error| format!("line {}: {}", error.line, error.message))
    }

    #[test]
    fn no_vendor_lies_within_another() {
        let elsewhere = "s3_endpoint = https://s3.x\n";
        let table = [
            ("", "", true),
            ("s3_prefix = a\n", "s3_prefix = a/\n", true),
            ("s3_prefix = a\n", "s3_prefix = a/b\n", true),
            ("s3_prefix = a/b\n", "s3_prefix = a\n", true),
            ("s3_prefix = a\n", "", true),
            ("", "s3_prefix = a\n", true),
            ("s3_region = eu-west-1\n", "s3_region = eu-central-1\n", true),
            ("", "s3_endpoint = https://s3.eu-west-1.amazonaws.com\n", true),
            (elsewhere, "s3_endpoint = https://S3.x:443/\n", true),
            ("s3_prefix = a\n", "s3_prefix = ab\n", false),
            ("s3_prefix = a\n", "s3_prefix = b/a\n", false),
            ("", elsewhere, false),
            (elsewhere, "s3_endpoint = https://s3.x:8443\n", false),
            (elsewhere, "s3_endpoint = https://s3.y\n", false),
            ("s3_region = cn-north-1\n", "s3_region = eu-central-1\n", false),
        ];
        for (one, two, refused) in table {
            let text = format!("[one]\ns3_bucket = shared\n{one}[two]\ns3_bucket = shared\n{two}");
            assert_eq!(read(&text).is_err(), refused, "{text}");
            read(&text.replacen("shared", "other", 1)).unwrap();
        }
        let text = "[acme]\ns3_bucket = shared\n[other]\ns3_bucket = shared\ns3_prefix = a/b\n";
        let failure = read(text).unwrap_err();
        let expected = "line 5: the objects of [other], s3://shared/a/b, and those of [acme] (line 2), s3://shared, would";
        assert!(failure.starts_with(expected), "{failure}");
        let china = "[aws]\nregion = cn-north-1\n[acme]\ns3_bucket = shared\n[other]\ns3_bucket = shared\n";
        assert!(read(&format!("{china}s3_region = cn-northwest-1\n")).is_err());
        read("[acme]\nregistry_host = a\n[other]\nregistry_host = b\n").unwrap();
    }
}
