//! Names of hosts.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// A host name in the form that comparison needs: lower case, no port, no dot at the end.
///
/// ```
/// use raas_types::HostName;
///
/// let host: HostName = "Registry.Example.COM.".parse()?;
/// assert_eq!(host.as_str(), "registry.example.com");
/// assert!("registry.example.com:5000".parse::<HostName>().is_err());
/// # Ok::<(), raas_types::HostNameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

/// Why a text is not a host name that raas takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// The text breaks the grammar of host names, or has a port.
    #[error(
        "`{0}` is not the name of a host: expected letters, digits and hyphens between dots, without a port"
    )]
    Name(String),
    /// The name is `localhost` or below it, where each vendor has a name without being configured.
    #[error(
        "`{0}` is below `localhost`, where every vendor has its own name already: leave it out, or give another name or a \
         loopback address such as 127.0.0.2"
    )]
    Local(String),
}

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lets a map with host names as keys be searched by text.
impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    /// Source: RFC 1123, section 2.1, and RFC 1035, section 2.3.4, for the lengths.
    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let shown = || text.chars().take(300).collect();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(HostNameError::Name(shown()));
        }
        if name == "localhost" || name.ends_with(".localhost") {
            return Err(HostNameError::Local(shown()));
        }
        Ok(Self(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_normalised_as_dns_compares_it() {
        for (text, name) in
            [("Registry.ACME.com.", "registry.acme.com"), ("a", "a"), ("127.0.0.1", "127.0.0.1")]
        {
            assert_eq!(text.parse::<HostName>().unwrap().as_str(), name);
        }
        let long = format!("{}.com", "a".repeat(64));
        for text in
            ["", ".", "a..b", "a:5000", "-a.com", "a-.com", "a b", "a_b", "https://a.com", "é.com", &long]
        {
            assert!(matches!(text.parse::<HostName>(), Err(HostNameError::Name(_))), "{text}");
        }
        for text in ["localhost", "acme.LOCALHOST"] {
            assert!(matches!(text.parse::<HostName>(), Err(HostNameError::Local(_))), "{text}");
        }
    }
}
