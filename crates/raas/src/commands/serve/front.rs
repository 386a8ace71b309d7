//! How clients reach the server: its certificates, and what stands before it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use raas_server::{Acme, BaseUrl, CertificateFiles, ForwardProxies, IpNet, Options, TokenKey};

use raas_base::failure::{Failure, Kind};

#[derive(Debug, Args)]
#[command(next_help_heading = "How clients reach it")]
pub(super) struct Front {
    /// The server's own certificate with its chain, in PEM; a renewed one is used without a restart. Again for more
    /// names, each with its --tls-key: a client is shown the one of the name that it asks for, or else the first
    #[arg(
        long,
        value_name = "FILE",
        env = "RAAS_TLS_CERTIFICATE",
        value_delimiter = ',',
        requires = "tls_key"
    )]
    tls_certificate: Vec<PathBuf>,

    /// Its key
    #[arg(
        long,
        value_name = "FILE",
        env = "RAAS_TLS_KEY",
        value_delimiter = ',',
        requires = "tls_certificate"
    )]
    tls_key: Vec<PathBuf>,

    /// A folder of certificates, each NAME.crt with its NAME.key; they may come and go while the server runs
    #[arg(long, value_name = "DIR", env = "RAAS_TLS_FOLDER")]
    tls_folder: Option<PathBuf>,

    /// A name that the server gets a certificate for by ACME, and renews it. The name must lead to it on port 443.
    /// Giving it accepts the authority's terms of service
    #[arg(
        long,
        value_name = "NAME",
        env = "RAAS_ACME_DOMAIN",
        value_delimiter = ',',
        requires = "acme_folder"
    )]
    acme_domain: Vec<String>,

    /// Where the authority writes to if something is wrong
    #[arg(long, value_name = "ADDRESS", env = "RAAS_ACME_EMAIL", requires = "acme_domain")]
    acme_email: Option<String>,

    /// Where the account and the certificates are kept, with their keys; it must outlive the server
    #[arg(long, value_name = "DIR", env = "RAAS_ACME_FOLDER", requires = "acme_domain")]
    acme_folder: Option<PathBuf>,

    /// The authority's directory
    #[arg(
        long,
        value_name = "URL",
        env = "RAAS_ACME_DIRECTORY",
        requires = "acme_domain",
        default_value = Acme::LETS_ENCRYPT
    )]
    acme_directory: String,

    /// The roots to trust the directory by, in PEM, where it is a private one
    #[arg(long, value_name = "FILE", env = "RAAS_ACME_CA", requires = "acme_domain")]
    acme_ca: Option<PathBuf>,

    /// Proxies before the server, as addresses or networks (10.0.0.0/8), separated by commas: the client's address is
    /// then taken from the X-Forwarded-For (or else Forwarded) that they write [default: nobody is believed]
    #[arg(
        long,
        value_name = "NETWORKS",
        env = "RAAS_TRUSTED_PROXIES",
        value_delimiter = ',',
        value_parser = network
    )]
    trusted_proxies: Vec<IpNet>,

    /// The URL under which clients reach the server, where a proxy before it does not say so: challenges send clients
    /// there for a token. Of several vendors only the scheme counts, as each has its own host
    #[arg(long, value_name = "URL", env = "RAAS_PUBLIC_URL", value_parser = public_url)]
    public_url: Option<BaseUrl>,

    /// The secret that the server signs its own tokens with, at least 32 bytes; servers behind one name need the same
    /// [default: a key in the home, or a key that ends with the process]
    #[arg(long, value_name = "FILE", env = "RAAS_TOKEN_KEY")]
    token_key: Option<PathBuf>,

    /// Accept connections for this long after SIGTERM, while /-/readyz already says no, so that load balancers send
    /// new clients elsewhere
    #[arg(long, value_name = "SECONDS", env = "RAAS_DRAIN_DELAY", default_value_t = 0)]
    drain_delay: u32,
}

impl Front {
    /// The key for tokens: the given one, or the one that the home keeps.
    ///
    /// # Errors
    /// The home's key can neither be read nor be created.
    pub(super) fn token_key_in(&self, home: &Path, given: TokenKey) -> Result<TokenKey, Failure> {
        if self.token_key.is_some() {
            return Ok(given);
        }
        let file = home.join("_token_key");
        TokenKey::read_or_create(&file).map_err(|error| {
            Failure::new(Kind::Environment, format!("cannot keep the key for tokens in {}", file.display()))
                .caused_by(error)
        })
    }

    /// Options of the server.
    ///
    /// # Errors
    /// There are not as many keys as certificates.
    pub(super) fn options(&self) -> Result<Options, Failure> {
        let (certificates, keys) = (&self.tls_certificate, &self.tls_key);
        if certificates.len() != keys.len() {
            let message =
                format!("there are {} --tls-certificate and {} --tls-key", certificates.len(), keys.len());
            return Err(
                Failure::new(Kind::Usage, message).hint("give each certificate its key, in the same order")
            );
        }
        let pair = |(certificate, key): (&PathBuf, &PathBuf)| CertificateFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let acme = self.acme_folder.as_ref().map(|folder| Acme {
            domains: self.acme_domain.iter().map(|name| name.trim().to_ascii_lowercase()).collect(),
            email: self.acme_email.clone(),
            folder: folder.clone(),
            directory: self.acme_directory.clone(),
            ca: self.acme_ca.clone(),
            pause: Acme::PAUSE,
        });
        let token_key = match &self.token_key {
            Some(file) => read_token_key(file)?,
            None => TokenKey::of_this_process(),
        };
        let forward_proxies = ForwardProxies::from_environment()
            .map_err(|error| Failure::new(Kind::Usage, error.to_string()))?;
        Ok(Options {
            forward_proxies: Arc::new(forward_proxies),
            public_url: self.public_url.clone(),
            token_key,
            drain_delay: Duration::from_secs(self.drain_delay.into()),
            certificates: certificates.iter().zip(keys).map(pair).collect(),
            certificate_folder: self.tls_folder.clone(),
            acme,
            trusted_proxies: self.trusted_proxies.clone(),
            ..Options::default()
        })
    }
}

fn read_token_key(file: &Path) -> Result<TokenKey, Failure> {
    TokenKey::read(file).map_err(|error| {
        Failure::new(Kind::Usage, format!("--token-key: cannot use {}", file.display()))
            .caused_by(error)
            .hint("make a key with `openssl rand -hex 32`")
    })
}

/// A URL without a path: the host, and its port unless that is the scheme's default.
fn public_url(text: &str) -> Result<BaseUrl, String> {
    let url = BaseUrl::parse(text).map_err(|_| "expected a URL such as https://registry.example.com")?;
    match url.as_str().matches('/').count() {
        2 => Ok(url),
        _ => Err("a registry has its root at its host: expected a URL without a path".into()),
    }
}

/// A network, or an address, which is one of its own.
fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let address = text.parse::<std::net::IpAddr>().map(IpNet::from);
    address
        .or_else(|_| text.parse())
        .map_err(|_| "expected an address or a network, such as 10.0.0.0/8".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        front: Front,
    }

    fn options(arguments: &[&str]) -> Result<Options, String> {
        let parsed =
            Alone::try_parse_from([&["serve"], arguments].concat()).map_err(|error| error.to_string())?;
        parsed.front.options().map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_a_network_of_its_own() {
        for (text, net) in [("10.0.0.0/8", "10.0.0.0/8"), (" 192.0.2.1", "192.0.2.1/32"), ("::1", "::1/128")]
        {
            assert_eq!(network(text).unwrap().to_string(), net);
        }
        assert!(network("proxy.example.com").unwrap_err().contains("10.0.0.0/8"));
    }

    #[test]
    fn each_certificate_has_its_key() {
        let two = options(&[
            "--tls-certificate",
            "a",
            "--tls-key",
            "b",
            "--tls-certificate",
            "c",
            "--tls-key",
            "d",
        ]);
        let shown: Vec<_> = two
            .unwrap()
            .certificates
            .iter()
            .map(|pair| (pair.certificate.clone(), pair.key.clone()))
            .collect();
        assert_eq!(shown, [("a".into(), "b".into()), ("c".into(), "d".into())]);
        let uneven = options(&["--tls-certificate", "a", "--tls-certificate", "c", "--tls-key", "d"]);
        assert!(uneven.unwrap_err().contains("2 --tls-certificate and 1 --tls-key"));
        assert!(options(&["--tls-certificate", "a"]).unwrap_err().contains("--tls-key"));
    }

    #[test]
    fn acme_needs_a_folder_and_asks_lets_encrypt() {
        assert!(options(&["--acme-domain", "a.example.com"]).unwrap_err().contains("--acme-folder"));
        let acme = options(&["--acme-domain", "A.example.com,b.example.com", "--acme-folder", "f"])
            .unwrap()
            .acme
            .unwrap();
        assert_eq!(
            (acme.domains, acme.directory.as_str()),
            (vec!["a.example.com".into(), "b.example.com".into()], Acme::LETS_ENCRYPT)
        );
        assert!(options(&[]).unwrap().acme.is_none());
    }
}
