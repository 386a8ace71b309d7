//! The address that people pull from.

use std::fmt;
use std::str::FromStr;

use raas_types::{HostName, HostNameError};

/// The host of a registry, and its port if it is not the port of https.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryAddress {
    /// The host's name.
    pub host: HostName,
    /// The port. `None` is the port of https.
    pub port: Option<u16>,
}

impl FromStr for RegistryAddress {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = parts.map_or((text, None), |(host, port)| (host, Some(port)));
        // A reference without a port means the port of https, so `host:443` and `host` are the same address.
        Ok(Self { host: host.parse()?, port: port.filter(|port| *port != 443) })
    }
}

impl fmt::Display for RegistryAddress {
    /// As it stands before the image in a reference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_kept_for_people() {
        for (text, shown) in [
            ("R.acme.com.", "r.acme.com"),
            ("r.acme.com:5000", "r.acme.com:5000"),
            ("r.acme.com:443", "r.acme.com"),
        ] {
            assert_eq!(text.parse::<RegistryAddress>().unwrap().to_string(), shown);
        }
        for bad in ["r.acme.com:x", "r.acme.com:70000", "https://r.acme.com", "r.acme.com:"] {
            assert!(bad.parse::<RegistryAddress>().is_err(), "{bad}");
        }
    }
}
