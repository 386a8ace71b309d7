//! The registry that clients pull from instead of the vendor's.

use std::str::FromStr;

use raas_types::{HostNameError, NameError, RepositoryName};

use crate::config::RegistryAddress;

/// A mirror: a registry, and the path below which it has the vendor's repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    address: RegistryAddress,
    path: Option<RepositoryName>,
    /// How clients reach it.
    pub(super) transport: Transport,
}

/// How clients reach a mirror.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Transport {
    /// By https, with a certificate that they trust.
    #[default]
    Verified,
    /// By https, with any certificate.
    AnyCertificate,
    /// By http.
    Plain,
}

/// Why a text is no mirror.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MirrorError {
    #[error(transparent)]
    Host(#[from] HostNameError),
    #[error(transparent)]
    Path(#[from] NameError),
}

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let (host, path) = match text.split_once('/') {
            Some((host, path)) if !host.ends_with(':') => (host, Some(path.parse()?)),
            _ => (text, None),
        };
        Ok(Self { address: host.parse()?, path, transport: Transport::default() })
    }
}

impl Mirror {
    /// The mirror, reached in this way.
    pub(crate) fn reached(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// As it stands before an image in a reference.
    pub(crate) fn shown(&self) -> String {
        match &self.path {
            Some(path) => format!("{}/{path}", self.address),
            None => self.address.to_string(),
        }
    }

    /// The host, with its port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The URL of the registry's API, and whether it includes `/v2`, which a client adds otherwise.
    pub(crate) fn api_url(&self) -> (String, bool) {
        let scheme = if self.transport == Transport::Plain { "http" } else { "https" };
        match &self.path {
            Some(path) => (format!("{scheme}://{}/v2/{path}", self.address), true),
            None => (format!("{scheme}://{}", self.address), false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_a_host_with_a_port_and_a_path() {
        for (text, shown, api) in [
            ("R.lan", "r.lan", "https://r.lan"),
            ("r.lan:5000/", "r.lan:5000", "https://r.lan:5000"),
            ("r.lan/mirrors/acme", "r.lan/mirrors/acme", "https://r.lan/v2/mirrors/acme"),
        ] {
            let mirror: Mirror = text.parse().unwrap();
            assert_eq!((mirror.shown().as_str(), mirror.api_url().0.as_str()), (shown, api));
        }
        for bad in ["https://r.lan", "r.lan/Acme", "", "r.lan:x"] {
            assert!(bad.parse::<Mirror>().is_err(), "{bad}");
        }
    }
}
