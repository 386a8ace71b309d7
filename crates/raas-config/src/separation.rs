//! Checks that no two vendors share a prefix of a bucket: each would overwrite the other's registry.

use raas_types::VendorName;

use crate::ini::{Ini, IniError};
use crate::sections::{VendorSection, VendorSettings};

/// Refuses all sections whose objects would overlap: which of them is right cannot be known, and one vendor's server must
/// not serve another's protected content.
pub(crate) fn check(ini: &Ini, sections: &mut [VendorSection]) {
    let region = ini.value("aws", "region").map(|value| value.text.as_str());
    // A section with another fault may name a wrong place: a misspelt `s3_prefix` is no prefix. So such a section keeps away
    // only a vendor with exactly its place.
    let is_sound: Vec<bool> = sections.iter().map(|section| section.refusal.is_none()).collect();
    for n in 0..sections.len() {
        let (earlier, rest) = sections.split_at_mut(n);
        let section = &mut rest[0];
        if section.refusal.is_some() {
            continue;
        }
        let vendor = &section.vendor;
        let overlaps = |(at, other): &(usize, &VendorSection)| {
            let (one, other) = (&section.settings, &other.settings);
            if is_sound[*at] { overlap(one, other, region) } else { is_same(one, other, region) }
        };
        let Some((at, other)) = earlier.iter().enumerate().find(overlaps) else { continue };
        let line = |vendor: &VendorName| {
            let value = |key: &str| ini.value(vendor.as_str(), key);
            value("s3_prefix").or_else(|| value("s3_bucket")).map_or(0, |value| value.line())
        };
        let message = format!(
            "the objects of [{vendor}], {}, and those of [{}] (line {}), {}, would overlap: give each vendor a \
             bucket, or an `s3_prefix` that is not within the other's",
            name(&section.settings),
            other.vendor,
            line(&other.vendor),
            name(&other.settings)
        );
        let error = IniError { line: line(vendor), message };
        earlier[at].refusal.get_or_insert_with(|| error.clone());
        section.refusal = Some(error);
    }
}

fn overlap(one: &VendorSettings, other: &VendorSettings, region: Option<&str>) -> bool {
    let within = |one: &VendorSettings, other: &VendorSettings| path(one).starts_with(&path(other));
    is_in_one_bucket(one, other, region) && (within(one, other) || within(other, one))
}

fn is_same(one: &VendorSettings, other: &VendorSettings, region: Option<&str>) -> bool {
    is_in_one_bucket(one, other, region) && path(one) == path(other)
}

fn is_in_one_bucket(one: &VendorSettings, other: &VendorSettings, region: Option<&str>) -> bool {
    one.s3_bucket.is_some()
        && one.s3_bucket == other.s3_bucket
        && service(one, region) == service(other, region)
}

fn path(settings: &VendorSettings) -> String {
    settings.s3_prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default()
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
    use crate::sections::VendorSections;

    fn read(text: &str) -> Result<(), String> {
        let ini = Ini::parse(text.as_bytes(), &|_| None).unwrap();
        let read = VendorSections::read(&ini, std::path::Path::new("")).and_then(|mut vendors| {
            check(&ini, &mut vendors.sections);
            vendors.all_right().map(drop)
        });
        read.map_err(|error| format!("line {}: {}", error.line, error.message))
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
