//! Reads the validity of signed URLs.

use raas_types::Utc;

/// The validity of a signed URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Signed {
    /// The time of the signature.
    pub(super) begins: Option<Utc>,
    /// The time of expiry.
    pub(super) ends: Option<Utc>,
}

/// Reads the validity of a URL. `None` if the URL is not signed.
///
/// Source: AWS, "Authenticating Requests: Using Query Parameters" (X-Amz-…) and the older `Expires`; Amazon CloudFront,
/// "Create a signed URL using a canned policy"; Google, "V4 signing process" (X-Goog-…); Azure, "Create a service SAS"
/// (se).
pub(super) fn read(url: &str) -> Option<Signed> {
    let (_, query) = url.split_once('?')?;
    let value = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.replace("%3A", ":").replace("%3a", ":"))
    };
    for kind in ["X-Amz", "X-Goog"] {
        if value(&format!("{kind}-Signature")).is_some() {
            let begins = value(&format!("{kind}-Date")).and_then(|text| Utc::parse_basic(&text).ok());
            let seconds: Option<u64> = value(&format!("{kind}-Expires")).and_then(|text| text.parse().ok());
            let ends = begins
                .zip(seconds)
                .map(|(begins, seconds)| Utc::from_unix(begins.unix().saturating_add(seconds)));
            return Some(Signed { begins, ends });
        }
    }
    if value("Signature").is_some() {
        let ends = value("Expires").and_then(|text| text.parse().ok()).map(Utc::from_unix);
        return Some(Signed { begins: None, ends });
    }
    value("sig").map(|_| Signed { begins: None, ends: value("se").and_then(|text| text.parse().ok()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_validity_of_signed_urls_is_read() {
        let at = |text: &str| Some(text.parse::<Utc>().unwrap());
        let table = [
            ("https://x/y", None),
            ("https://x/y?v=1", None),
            (
                "https://x/y?X-Amz-Date=20130524T000000Z&X-Amz-Expires=300&X-Amz-Signature=a",
                Some(Signed { begins: at("2013-05-24"), ends: at("2013-05-24T00:05:00Z") }),
            ),
            (
                "https://x/y?Expires=1369353600&Signature=a&Key-Pair-Id=K",
                Some(Signed { begins: None, ends: at("2013-05-24") }),
            ),
            (
                "https://x/y?se=2013-05-24T00%3A00%3A00Z&sig=a",
                Some(Signed { begins: None, ends: at("2013-05-24") }),
            ),
            ("https://x/y?Policy=a&Signature=b", Some(Signed::default())),
        ];
        for (url, expected) in table {
            assert_eq!(read(url), expected, "{url}");
        }
    }
}
