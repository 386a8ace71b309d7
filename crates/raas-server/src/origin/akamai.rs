//! Akamai's Auth Token 2.0, as Crane appends it to redirects.
//!
//! The token is `exp=<t>~hmac=<hex>`. The HMAC is over `exp=<t>~url=<path>`, with the path as it is in the URL
//! (Akamai's "Escape token input: off").
//!
//! Source: Akamai, "EdgeAuth Token" libraries; pulp/crane, `cdn_auth_token_url`.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};

use super::cdn::CdnError;
use super::signer::lasting;

/// Makes tokens.
#[derive(Clone)]
pub struct AkamaiToken {
    secret: Vec<u8>,
    parameter: String,
    lifetime: Duration,
    algorithm: TokenAlgorithm,
}

/// The hash of the HMAC. It must be the one that the Akamai property is set up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenAlgorithm {
    /// The default.
    #[default]
    Sha256,
    /// For older properties.
    Sha1,
    /// For older properties.
    Md5,
}

/// Equal values make the same tokens. They are compared when the configuration is read, never with data of a client, so
/// the comparison need not take constant time.
impl PartialEq for AkamaiToken {
    fn eq(&self, other: &Self) -> bool {
        let of = |token: &Self| (token.lifetime, token.algorithm);
        self.secret == other.secret && self.parameter == other.parameter && of(self) == of(other)
    }
}

impl Eq for AkamaiToken {}

impl fmt::Debug for AkamaiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AkamaiToken")
            .field("parameter", &self.parameter)
            .field("lifetime", &self.lifetime)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl AkamaiToken {
    /// Makes tokens with a secret in hex digits. `parameter` is the name of the query parameter. A token is valid for
    /// `lifetime`, and longer for large objects.
    ///
    /// # Errors
    /// The secret is not an even number of hex digits, or the name has other characters than letters, digits, `_` and
    /// `-`.
    pub fn new(
        secret: &str,
        parameter: &str,
        lifetime: Duration,
        algorithm: TokenAlgorithm,
    ) -> Result<Self, CdnError> {
        let secret = hex::decode(secret).map_err(|_| CdnError::Secret)?;
        if secret.is_empty() {
            return Err(CdnError::Secret);
        }
        let is_name = !parameter.is_empty()
            && parameter.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        if !is_name {
            return Err(CdnError::Parameter(parameter.chars().take(100).collect()));
        }
        Ok(Self { secret, parameter: parameter.to_owned(), lifetime, algorithm })
    }

    /// Appends a token to a URL. It is valid long enough for a slow client to download `size` bytes.
    pub(crate) fn append(&self, url: &mut String, size: u64, now: SystemTime) {
        let expires = now.duration_since(UNIX_EPOCH).unwrap_or_default() + lasting(self.lifetime, size);
        let expires = expires.as_secs();
        let signature = self.mac(&format!("exp={expires}~url={}", path(url)));
        let separator = if url.contains('?') { '&' } else { '?' };
        // Writing to a string cannot fail.
        let _ = write!(url, "{separator}{}=exp={expires}~hmac={}", self.parameter, hex::encode(signature));
    }

    fn mac(&self, text: &str) -> Vec<u8> {
        macro_rules! with {
            ($hash:ty) => {
                Hmac::<$hash>::new_from_slice(&self.secret)
                    .expect("HMAC takes a key of any length")
                    .chain_update(text)
                    .finalize()
                    .into_bytes()
                    .to_vec()
            };
        }
        match self.algorithm {
            TokenAlgorithm::Sha256 => with!(sha2::Sha256),
            TokenAlgorithm::Sha1 => with!(sha1::Sha1),
            TokenAlgorithm::Md5 => with!(md5::Md5),
        }
    }
}

/// The path of a URL.
fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    path.split(['?', '#']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "abc123def4567890";

    fn appended(url: &str, size: u64, algorithm: TokenAlgorithm) -> String {
        let token = AkamaiToken::new(SECRET, "_auth_", Duration::from_secs(600), algorithm).unwrap();
        let mut url = url.to_owned();
        token.append(&mut url, size, UNIX_EPOCH + Duration::from_secs(1_593_820_800));
        url
    }

    /// The values were made with Python's `hmac`. Akamai's own library gives the same first value:
    /// `EdgeAuth(key="abc123def4567890", end_time=1593821400,
    /// escape_early=False).generate_url_token("/zoo/bar/manifests/2/latest")`.
    #[test]
    fn tokens_equal_those_of_akamais_library() {
        let table = [
            (TokenAlgorithm::Sha256, "a3ce6855202ea20eea14b1e85e7efaac3ee858cf7298344976b6db2baa17cd14"),
            (TokenAlgorithm::Sha1, "b9dadc435b9f4a62539f389f5aa7960cd7704849"),
            (TokenAlgorithm::Md5, "b3924840d01377027c0d6da27e344951"),
        ];
        for (algorithm, hmac) in table {
            let url = "http://cdn.example.com/zoo/bar/manifests/2/latest";
            assert_eq!(appended(url, 0, algorithm), format!("{url}?_auth_=exp=1593821400~hmac={hmac}"));
        }
        let blob = "https://h/x/tools/app/_v2/blobs/\
                    sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let hmac = "91a3568ef9f5c09451e4615cf30210fcff11e8aa25c821bec80dc19d1d6ec424";
        assert_eq!(
            appended(blob, 100, TokenAlgorithm::Sha256),
            format!("{blob}?_auth_=exp=1593821400~hmac={hmac}")
        );
    }

    #[test]
    fn a_token_lasts_for_the_download_and_keeps_the_query() {
        assert!(appended("https://h/a", 1 << 30, TokenAlgorithm::Sha256).contains("?_auth_=exp=1593825496~"));
        assert!(
            appended("https://h/a?b=c", 0, TokenAlgorithm::Sha256).starts_with("https://h/a?b=c&_auth_=")
        );
        let table = [("https://h", ""), ("https://h/", "/"), ("https://h/a?b/c", "/a"), ("/a", "/a")];
        for (url, expected) in table {
            assert_eq!(path(url), expected, "{url}");
        }
    }

    #[test]
    fn invalid_secrets_are_rejected_and_no_secret_is_shown() {
        let make = |secret: &str, name: &str| {
            AkamaiToken::new(secret, name, Duration::from_secs(300), TokenAlgorithm::Sha256)
        };
        for secret in ["", "abc", "xyz0"] {
            assert_eq!(make(secret, "_auth_"), Err(CdnError::Secret));
        }
        assert!(matches!(make(SECRET, "a&b"), Err(CdnError::Parameter(_))));
        let shown = format!("{:?}", make(SECRET, "_auth_").unwrap());
        assert!(!shown.contains(SECRET) && !shown.contains("171"), "{shown}");
    }
}
