//! What the command line says of one vendor of several.

use raas_types::VendorName;

use raas_base::failure::{Failure, Kind};

/// What is said of a vendor, or of the only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OfVendor<T> {
    vendor: Option<VendorName>,
    said: T,
}

impl<T> OfVendor<T> {
    /// What is said, of whichever vendor.
    pub(super) fn said(&self) -> &T {
        &self.said
    }

    /// `ISV=…` is of that vendor. No URL begins like that, and no folder need: `./a=b`.
    pub(super) fn parse(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Self, String> {
        if let Some((vendor, rest)) = text.split_once('=')
            && let Ok(vendor) = vendor.parse()
        {
            return Ok(Self { vendor: Some(vendor), said: read(rest)? });
        }
        Ok(Self { vendor: None, said: read(text)? })
    }
}

/// What is said of each vendor. Without a name it is said of the only one there is.
pub(super) fn by_vendor<'a, T>(
    option: &str,
    all: &'a [OfVendor<T>],
    vendors: &'a [VendorName],
) -> Result<Vec<(&'a VendorName, &'a T)>, Failure> {
    let mut found: Vec<(&VendorName, &T)> = Vec::with_capacity(all.len());
    for OfVendor { vendor, said } in all {
        let vendor = match (vendor, vendors) {
            (Some(vendor), []) => vendor,
            (Some(vendor), known) if known.contains(vendor) => vendor,
            (Some(vendor), _) => {
                return Err(Failure::new(Kind::Usage, format!("{option} is of {vendor}, who is not served")));
            }
            (None, [only]) => only,
            (None, _) => {
                return Err(Failure::new(
                    Kind::Usage,
                    format!("{option} is of one vendor, and needs its name"),
                )
                .hint(format!("raas serve ISV {option} PLACE, or {option} ISV=PLACE for each of several")));
            }
        };
        if found.iter().any(|(other, _)| *other == vendor) {
            return Err(Failure::new(Kind::Usage, format!("{option} says two things of {vendor}")));
        }
        found.push((vendor, said));
    }
    Ok(found)
}

pub(super) fn of<'a, T>(all: &[(&VendorName, &'a T)], vendor: &VendorName) -> Option<&'a T> {
    all.iter().find(|(other, _)| *other == vendor).map(|(_, said)| *said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_stands_before_what_is_said_of_it() {
        let table = [
            ("acme=s3://b/p", Some("acme"), "s3://b/p"),
            ("s3://b/p", None, "s3://b/p"),
            ("https://h/p?acme=1", None, "https://h/p?acme=1"),
            ("./acme=x", None, "./acme=x"),
            ("Acme=x", None, "Acme=x"),
            ("acme=", Some("acme"), ""),
        ];
        for (text, vendor, said) in table {
            let parsed = OfVendor::parse(text, |text| Ok(text.to_owned())).unwrap();
            assert_eq!(parsed.vendor.as_ref().map(VendorName::as_str), vendor, "{text}");
            assert_eq!(parsed.said, said, "{text}");
        }
    }

    #[test]
    fn everything_is_said_of_one_vendor_once() {
        let (acme, other): (VendorName, VendorName) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let read = |texts: &[&str]| -> Vec<OfVendor<String>> {
            texts.iter().map(|text| OfVendor::parse(text, |t| Ok(t.to_owned())).unwrap()).collect()
        };
        let ask = |texts: &[&str], vendors: &[VendorName]| {
            let all = read(texts);
            let found = by_vendor("--metadata", &all, vendors).map_err(|failure| failure.to_string())?;
            Ok(found.into_iter().map(|(vendor, said)| format!("{vendor}:{said}")).collect::<Vec<_>>())
        };
        assert_eq!(ask(&["x"], std::slice::from_ref(&acme)), Ok(vec!["acme:x".to_owned()]));
        assert_eq!(ask(&["other=x", "acme=y"], &[]), Ok(vec!["other:x".to_owned(), "acme:y".to_owned()]));
        for (texts, vendors, message) in [
            (&["x"][..], &[][..], "needs its name"),
            (&["x"], &[acme.clone(), other], "needs its name"),
            (&["acme=x", "acme=y"], &[], "two things of acme"),
            (&["x", "acme=y"], std::slice::from_ref(&acme), "two things of acme"),
            (&["other=x"], std::slice::from_ref(&acme), "other, who is not served"),
        ] {
            let failure: Result<Vec<String>, String> = ask(texts, vendors);
            assert!(failure.as_ref().is_err_and(|f| f.contains(message)), "{texts:?}: {failure:?}");
        }
    }
}
