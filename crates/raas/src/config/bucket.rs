//! Where a vendor's objects are: what a bucket and a prefix may be called, and that no two vendors have one place.

use raas_types::VendorName;

use super::ini::{Ini, IniError, Value};
use super::sections::{VendorSettings, text};

/// A bucket's name. A service that is not AWS may allow what AWS did in its first region, long ago.
///
/// Source: "General purpose bucket naming rules", Amazon S3 User Guide.
pub(super) fn check_name(value: &Value, at_another_service: bool) -> Result<(), IniError> {
    let name = value.text.as_str();
    let at_its_end = |b: &u8| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || (at_another_service && b.is_ascii_uppercase())
    };
    let within = |b: &u8| at_its_end(b) || b"-.".contains(b) || (at_another_service && *b == b'_');
    let bytes = name.as_bytes();
    let good = (3..=63).contains(&bytes.len())
        && bytes.iter().all(within)
        && bytes.first().is_some_and(at_its_end)
        && bytes.last().is_some_and(at_its_end)
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err();
    if good {
        return Ok(());
    }
    let letters = if at_another_service { "letters" } else { "lower-case letters" };
    let more = if at_another_service { "`-`, `.` and `_`" } else { "`-` and `.`" };
    Err(value.error(format!(
        "`{}` is not the name of a bucket: expected 3 to 63 {letters}, digits, {more}, a letter or digit first and last, \
         not `..`, and no IP address",
        shown(name)
    )))
}

/// What all keys begin with, without slashes around it; nothing for one that is empty.
pub(super) fn prefix(value: &Value) -> Result<Option<String>, IniError> {
    let whole = text(value)?;
    let path = whole.strip_prefix('/').unwrap_or(&whole);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(None);
    }
    // The last three mean something else in a bucket's policy.
    let odd = |c: char| c.is_control() || "*?$".contains(c);
    let bad = |part: &str| matches!(part, "" | "." | "..") || part.starts_with('_') || part.contains(odd);
    if path.split('/').any(bad) {
        return Err(value.error(format!(
            "`{}` is no prefix of keys: expected a path such as `registry` or `registry/images`, whose parts are not empty, \
             `.` or `..`, do not begin with `_`, and have no control characters, `*`, `?` or `$`",
            shown(&whole)
        )));
    }
    Ok(Some(path.to_owned()))
}

/// The values of the file are of any length, and may hold anything.
fn shown(value: &str) -> String {
    value.chars().take(80).flat_map(char::escape_default).collect()
}

/// Refuses vendors whose objects would be in one another's way.
pub(super) fn check_apart(ini: &Ini, vendors: &[(VendorName, VendorSettings)]) -> Result<(), IniError> {
    let region = ini.section("aws").find(|(key, _)| *key == "region").map(|(_, value)| value.text.as_str());
    for (n, (vendor, settings)) in vendors.iter().enumerate() {
        for (other, others) in &vendors[..n] {
            if !overlap(settings, others, region) {
                continue;
            }
            let line = |vendor: &VendorName| {
                let key = |key: &str| ini.section(vendor.as_str()).find(|(found, _)| *found == key);
                key("s3_prefix").or_else(|| key("s3_bucket")).map_or(0, |(_, value)| value.line())
            };
            let message = format!(
                "the objects of [{vendor}], {}, and those of [{other}] (line {}), {}, would be in one another's way: give \
                 each a bucket, or an `s3_prefix` that is not within the other's",
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

/// What tells services apart: host, port and path of the endpoint. A bucket's name is the only one of its kind in all of
/// AWS, whatever the region, but for the parts of AWS that know nothing of each other. `region` is the one of `[aws]`.
fn service(settings: &VendorSettings, region: Option<&str>) -> String {
    let region = settings.s3_region.as_deref().or(region).unwrap_or_default();
    let apart = ["cn-", "us-gov-"].iter().find(|begin| region.starts_with(**begin));
    let aws = || apart.copied().unwrap_or("aws").to_owned();
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

    fn read(text: &str) -> Result<Vec<(VendorName, VendorSettings)>, String> {
        let ini = Ini::parse(text.as_bytes(), &|_| None).unwrap();
        VendorSettings::read_all(&ini, std::path::Path::new(""))
            .map_err(|error| format!("line {}: {}", error.line, error.message))
    }

    #[test]
    fn buckets_are_called_as_s3_allows() {
        let (long, longest) = ("a".repeat(64), "a".repeat(63));
        let table = [
            ("acme-images", true, true),
            ("1.a", true, true),
            (&longest, true, true),
            (&long, false, false),
            ("ab", false, false),
            ("../x y", false, false),
            ("a..b", false, false),
            ("-acme", false, false),
            ("acme.", false, false),
            ("192.168.0.1", false, false),
            ("acme/images", false, false),
            ("acme\u{1b}[2J", false, false),
            ("acmé", false, false),
            ("Acme_images", false, true),
            ("_acme", false, false),
        ];
        for (name, at_aws, elsewhere) in table {
            let section = format!("[acme]\ns3_bucket = {name}\n");
            assert_eq!(read(&section).is_ok(), at_aws, "{name}");
            assert_eq!(read(&format!("{section}s3_endpoint = https://s3.x\n")).is_ok(), elsewhere, "{name}");
        }
        let failure = read("[acme]\n\ns3_bucket = a\u{1b}b\n").unwrap_err();
        assert!(
            failure.starts_with("line 3: `a\\u{1b}b` is not the name of a bucket: expected 3 to 63"),
            "{failure}"
        );
    }

    #[test]
    fn prefixes_are_plain_paths() {
        let table = [("/x/y/", Some("x/y")), ("/", None), ("Team 1/ü", Some("Team 1/ü"))];
        for (prefix, expected) in table {
            let vendors = read(&format!("[acme]\ns3_prefix = {prefix}\n")).unwrap();
            assert_eq!(vendors[0].1.s3_prefix.as_deref(), expected, "{prefix}");
        }
        for prefix in
            ["/a/../b/", "a//b", "//a", ".", "./a", "_turns", "a/_record", "a\u{7}", "a/*", "a?", "$a"]
        {
            let failure = read(&format!("[acme]\ns3_prefix = {prefix}\n")).unwrap_err();
            assert!(failure.starts_with("line 2: ") && failure.contains("is no prefix of keys"), "{failure}");
        }
    }

    #[test]
    fn no_two_vendors_have_one_place() {
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
