//! Option values that belong to one vendor: `[ISV=]VALUE`.

use raas_types::VendorName;

use raas_base::failure::{Failure, Kind};

/// A value and its vendor. A value without a vendor belongs to the only vendor that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PerVendor<T> {
    vendor: Option<VendorName>,
    value: T,
}

impl<T> PerVendor<T> {
    /// Parses `[ISV=]VALUE`. No URL begins like `ISV=`. A folder that does can be written as `./a=b`.
    pub(super) fn parse(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Self, String> {
        if let Some((vendor, rest)) = text.split_once('=')
            && let Ok(vendor) = vendor.parse()
        {
            return Ok(Self { vendor: Some(vendor), value: read(rest)? });
        }
        Ok(Self { vendor: None, value: read(text)? })
    }
}

/// The values by vendor. A value without a vendor belongs to the only vendor in `vendors`.
///
/// # Errors
/// A value names a vendor that is not served or needs a vendor's name, or a vendor has two values.
pub(super) fn by_vendor<'a, T>(
    option: &str,
    all: &'a [PerVendor<T>],
    vendors: &'a [VendorName],
) -> Result<Vec<(&'a VendorName, &'a T)>, Failure> {
    let mut values: Vec<(&VendorName, &T)> = Vec::with_capacity(all.len());
    for PerVendor { vendor, value } in all {
        let vendor = match (vendor, vendors) {
            (Some(vendor), []) => vendor,
            (Some(vendor), known) if known.contains(vendor) => vendor,
            (Some(vendor), _) => {
                return Err(Failure::new(
                    Kind::Usage,
                    format!("{option} names the vendor {vendor}, which is not served"),
                )
                .hint("correct the name, or serve the vendor too"));
            }
            (None, [only]) => only,
            (None, _) => {
                return Err(Failure::new(
                    Kind::Usage,
                    format!("{option} needs the name of its vendor"),
                )
                .hint(format!("name the vendor: raas serve ISV {option} VALUE, or {option} ISV=VALUE for each of several")));
            }
        };
        if values.iter().any(|(other, _)| *other == vendor) {
            return Err(Failure::new(Kind::Usage, format!("{option} is given twice for {vendor}"))
                .hint("remove one of them"));
        }
        values.push((vendor, value));
    }
    Ok(values)
}

/// The value of a vendor.
pub(super) fn value_of<'a, T>(all: &[(&VendorName, &'a T)], vendor: &VendorName) -> Option<&'a T> {
    all.iter().find(|(other, _)| *other == vendor).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_begin_with_its_vendor() {
        let table = [
            ("acme=s3://b/p", Some("acme"), "s3://b/p"),
            ("s3://b/p", None, "s3://b/p"),
            ("https://h/p?acme=1", None, "https://h/p?acme=1"),
            ("./acme=x", None, "./acme=x"),
            ("Acme=x", None, "Acme=x"),
            ("acme=", Some("acme"), ""),
        ];
        for (text, vendor, value) in table {
            let parsed = PerVendor::parse(text, |text| Ok(text.to_owned())).unwrap();
            assert_eq!(parsed.vendor.as_ref().map(VendorName::as_str), vendor, "{text}");
            assert_eq!(parsed.value, value, "{text}");
        }
    }

    #[test]
    fn each_vendor_has_at_most_one_value() {
        let (acme, other): (VendorName, VendorName) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let read = |texts: &[&str]| -> Vec<PerVendor<String>> {
            texts.iter().map(|text| PerVendor::parse(text, |t| Ok(t.to_owned())).unwrap()).collect()
        };
        let ask = |texts: &[&str], vendors: &[VendorName]| {
            let all = read(texts);
            let found = by_vendor("--metadata", &all, vendors).map_err(|failure| failure.to_string())?;
            Ok(found.into_iter().map(|(vendor, value)| format!("{vendor}:{value}")).collect::<Vec<_>>())
        };
        assert_eq!(ask(&["x"], std::slice::from_ref(&acme)), Ok(vec!["acme:x".to_owned()]));
        assert_eq!(ask(&["other=x", "acme=y"], &[]), Ok(vec!["other:x".to_owned(), "acme:y".to_owned()]));
        for (texts, vendors, message) in [
            (&["x"][..], &[][..], "needs the name of its vendor"),
            (&["x"], &[acme.clone(), other], "needs the name of its vendor"),
            (&["acme=x", "acme=y"], &[], "given twice for acme"),
            (&["x", "acme=y"], std::slice::from_ref(&acme), "given twice for acme"),
            (&["other=x"], std::slice::from_ref(&acme), "other, which is not served"),
        ] {
            let failure: Result<Vec<String>, String> = ask(texts, vendors);
            assert!(failure.as_ref().is_err_and(|f| f.contains(message)), "{texts:?}: {failure:?}");
        }
    }
}
