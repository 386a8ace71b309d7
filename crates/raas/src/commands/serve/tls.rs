//! Options of `raas serve` for how clients reach it: TLS, ACME, trusted proxies, tokens, and how it stops.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use raas_server::{Acme, BaseUrl, CertificateFiles, ForwardProxies, IpNet, Options, TokenKey};

use crate::output;
use raas_base::failure::{Failure, Kind};

#[derive(Debug, Args)]
#[command(next_help_heading = "TLS and proxies")]
pub(super) struct TlsArgs {
    /// Show clients this certificate, in PEM with its chain
    ///
    /// Repeat the option for more names, each with its --tls-key. A client gets the certificate of the name that it
    /// asks for, or the first one. A renewed file is used without a restart.
    #[arg(
        long,
        value_name = "FILE",
        env = "RAAS_TLS_CERTIFICATE",
        value_delimiter = ',',
        requires = "tls_key"
    )]
    tls_certificate: Vec<PathBuf>,

    /// Use this key for the certificate, in PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "RAAS_TLS_KEY",
        value_delimiter = ',',
        requires = "tls_certificate"
    )]
    tls_key: Vec<PathBuf>,

    /// Show the certificates of this folder: each NAME.crt with its NAME.key
    ///
    /// Files may come and go while the server runs.
    #[arg(long, value_name = "DIR", env = "RAAS_TLS_FOLDER")]
    tls_folder: Option<PathBuf>,

    /// Get and renew a certificate for this name by ACME
    ///
    /// The name must lead to this server on port 443. The option accepts the authority's terms of service.
    #[arg(
        long,
        value_name = "NAME",
        env = "RAAS_ACME_DOMAIN",
        value_delimiter = ',',
        requires = "acme_folder"
    )]
    acme_domain: Vec<String>,

    /// Let the authority write to this address if something is wrong
    #[arg(long, value_name = "ADDRESS", env = "RAAS_ACME_EMAIL", requires = "acme_domain")]
    acme_email: Option<String>,

    /// Keep the ACME account and the certificates, with their keys, in this folder
    ///
    /// The folder must outlive the server.
    #[arg(long, value_name = "DIR", env = "RAAS_ACME_FOLDER", requires = "acme_domain")]
    acme_folder: Option<PathBuf>,

    /// Use the ACME authority whose directory is at this URL
    #[arg(
        long,
        value_name = "URL",
        env = "RAAS_ACME_DIRECTORY",
        requires = "acme_domain",
        default_value = Acme::LETS_ENCRYPT
    )]
    acme_directory: String,

    /// Trust these roots, in PEM, for the directory of a private authority
    #[arg(long, value_name = "FILE", env = "RAAS_ACME_CA", requires = "acme_domain")]
    acme_ca: Option<PathBuf>,

    /// Believe the client address that proxies at these addresses or networks give [default: none]
    ///
    /// Separate them by commas, such as 10.0.0.0/8,192.0.2.1. The client's address is taken from X-Forwarded-For, or
    /// else from Forwarded.
    #[arg(
        long,
        value_name = "NETWORKS",
        env = "RAAS_TRUSTED_PROXIES",
        value_delimiter = ',',
        value_parser = network
    )]
    trusted_proxies: Vec<IpNet>,

    /// Send clients to this URL of the registry for a token; with several vendors only its scheme counts
    #[arg(long, value_name = "URL", env = "RAAS_PUBLIC_URL", value_parser = public_url)]
    public_url: Option<BaseUrl>,

    /// Sign tokens with the secret in this file
    ///
    /// All servers behind one name need the same secret. The default is a key that the home keeps; a server without a home
    /// makes a random key.
    #[arg(long, value_name = "FILE", env = "RAAS_TOKEN_KEY")]
    token_key: Option<PathBuf>,

    /// Accept connections for this long after SIGTERM, while /-/readyz already answers 503
    #[arg(long, value_name = "SECONDS", env = "RAAS_DRAIN_DELAY", default_value_t = 0)]
    drain_delay: u32,
}

impl TlsArgs {
    /// The key for tokens: the given one, or the one that the home keeps.
    ///
    /// # Errors
    /// The home's key can neither be read nor be created.
    pub(super) fn token_key_in(&self, home: &Path, given: TokenKey) -> Result<TokenKey, Failure> {
        if self.token_key.is_some() {
            return Ok(given);
        }
        let file = home.join("_token_key");
        match TokenKey::read_or_create(&file) {
            Ok(key) => Ok(key),
            // A server also starts with a full or read-only disk, and with a home of another user: it then signs with a key
            // of this process. But if the home has a key, and the server cannot read it, that is an error.
            Err(error)
                if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::ReadOnlyFilesystem)
                    || (error.kind() == ErrorKind::PermissionDenied && !file.exists()) =>
            {
                output::warning(&format!(
                    "Note: the tokens of this server end with it, and other servers do not accept them: cannot keep \
                     their key in {}: {error}",
                    file.display()
                ));
                Ok(given)
            }
            Err(error) => Err(Failure::new(
                Kind::Environment,
                format!("cannot keep the key for tokens in {}", file.display()),
            )
            .caused_by(error)),
        }
    }

    /// Checks that every given file is there.
    ///
    /// # Errors
    /// A file or folder cannot be opened.
    pub(super) fn check_files(&self) -> Result<(), Failure> {
        let certificates = self.tls_certificate.iter().map(|file| ("--tls-certificate", file));
        let keys = self.tls_key.iter().map(|file| ("--tls-key", file));
        let folder = self.tls_folder.iter().map(|folder| ("--tls-folder", folder));
        let authority = self.acme_ca.iter().map(|file| ("--acme-ca", file));
        let mut given = certificates.chain(keys).chain(folder).chain(authority);
        given.try_for_each(|(option, path)| check_opens(option, path))
    }

    /// A warning if every user of this machine may read the key of the tokens.
    pub(super) fn warning(&self) -> Option<String> {
        let file = self.token_key.as_ref()?;
        // A secret of a cluster is 0444, in a container without other users.
        let is_open = fs::metadata(file).is_ok_and(|found| found.mode() & 0o204 == 0o204);
        let file = file.display();
        is_open.then(|| {
            format!(
                "every user of this machine may read {file}, and with that key make tokens for protected repositories; run \
                 `chmod o-r {file}`, and replace the key if other people use this machine"
            )
        })
    }

    /// The server's options that these arguments set.
    ///
    /// # Errors
    /// The numbers of certificates and keys differ.
    pub(super) fn options(&self) -> Result<Options, Failure> {
        let (certificates, keys) = (&self.tls_certificate, &self.tls_key);
        if certificates.len() != keys.len() {
            let message = format!(
                "each certificate needs a key, but there are {} --tls-certificate and {} --tls-key",
                certificates.len(),
                keys.len()
            );
            return Err(Failure::new(Kind::Usage, message)
                .hint("give one --tls-key for each --tls-certificate, in the same order"));
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

/// Refuses a file or folder that cannot be opened, before the server says that it serves.
fn check_opens(option: &str, path: &Path) -> Result<(), Failure> {
    File::open(path).map(drop).map_err(|error| {
        Failure::new(Kind::Usage, format!("{option}: cannot read {}", path.display())).caused_by(error)
    })
}

fn read_token_key(file: &Path) -> Result<TokenKey, Failure> {
    TokenKey::read(file).map_err(|error| {
        Failure::new(Kind::Usage, format!("--token-key: cannot use {}", file.display()))
            .caused_by(error)
            .hint("make a key with `openssl rand -hex 32`")
    })
}

/// Parses a URL without a path: the host, and its port unless that is the scheme's default.
fn public_url(text: &str) -> Result<BaseUrl, String> {
    let url = BaseUrl::parse(text).map_err(|_| "expected a URL such as https://registry.example.com")?;
    match url.as_str().matches('/').count() {
        2 => Ok(url),
        _ => Err("a registry has its root at its host: expected a URL without a path".into()),
    }
}

/// Parses a network. A single address is a network of its own.
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
    struct Parsed {
        #[command(flatten)]
        tls: TlsArgs,
    }

    fn options(arguments: &[&str]) -> Result<Options, String> {
        let parsed =
            Parsed::try_parse_from([&["serve"], arguments].concat()).map_err(|error| error.to_string())?;
        parsed.tls.options().map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_key_that_everybody_may_read_is_a_warning() {
        use std::os::unix::fs::PermissionsExt as _;
        let key = tempfile::NamedTempFile::new().unwrap();
        let tls = Parsed::try_parse_from(["serve", "--token-key", key.path().to_str().unwrap()]).unwrap().tls;
        for (mode, warns) in [(0o600, false), (0o640, false), (0o444, false), (0o644, true)] {
            fs::set_permissions(key.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(tls.warning().is_some_and(|text| text.contains("chmod o-r")), warns, "{mode:o}");
        }
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
    fn each_certificate_needs_a_key() {
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
    fn acme_needs_a_folder_and_uses_lets_encrypt_by_default() {
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
