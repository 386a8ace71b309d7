//! The rules for the names of buckets and for the prefixes of keys.

use crate::ini::{IniError, Value};
use crate::values::text;

/// Checks the name of a bucket. A service that is not AWS may allow the old rules of AWS, with capitals and `_`.
///
/// Source: "General purpose bucket naming rules", Amazon S3 User Guide.
pub(crate) fn check_name(value: &Value, at_another_service: bool) -> Result<(), IniError> {
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

/// The prefix of all keys, without slashes around it. `None` if nothing is left.
pub(crate) fn prefix(value: &Value) -> Result<Option<String>, IniError> {
    let whole = text(value)?;
    let path = whole.strip_prefix('/').unwrap_or(&whole);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(None);
    }
    // `*`, `?` and `$` have a meaning in a bucket's policy.
    let forbidden = |c: char| c.is_control() || "*?$".contains(c);
    let bad =
        |part: &str| matches!(part, "" | "." | "..") || part.starts_with('_') || part.contains(forbidden);
    if path.split('/').any(bad) {
        return Err(value.error(format!(
            "`{}` is no prefix of keys: expected a path such as `registry` or `registry/images`, whose parts are not empty, \
             `.` or `..`, do not begin with `_`, and have no control characters, `*`, `?` or `$`",
            shown(&whole)
        )));
    }
    Ok(Some(path.to_owned()))
}

/// A value, shortened and escaped for an error: it may be long, and hold control characters.
fn shown(value: &str) -> String {
    value.chars().take(80).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use crate::ini::Ini;
    use crate::sections::VendorSections;

    fn read(text: &str) -> Result<VendorSections, String> {
        let ini = Ini::parse(text.as_bytes(), &|_| None).unwrap();
        VendorSections::read(&ini, std::path::Path::new(""))
            .and_then(VendorSections::all_right)
            .map_err(|error| format!("line {}: {}", error.line, error.message))
    }

    #[test]
    fn a_bucket_has_a_name_that_s3_allows() {
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
    fn a_prefix_is_a_plain_path() {
        let table = [("/x/y/", Some("x/y")), ("/", None), ("Team 1/ü", Some("Team 1/ü"))];
        for (prefix, expected) in table {
            let vendors = read(&format!("[acme]\ns3_prefix = {prefix}\n")).unwrap();
            assert_eq!(vendors.sections[0].settings.s3_prefix.as_deref(), expected, "{prefix}");
        }
        for prefix in
            ["/a/../b/", "a//b", "//a", ".", "./a", "_turns", "a/_record", "a\u{7}", "a/*", "a?", "$a"]
        {
            let failure = read(&format!("[acme]\ns3_prefix = {prefix}\n")).unwrap_err();
            assert!(failure.starts_with("line 2: ") && failure.contains("is no prefix of keys"), "{failure}");
        }
    }
}
