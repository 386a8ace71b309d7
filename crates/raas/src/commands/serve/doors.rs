//! Who sees what is protected, without a home.

use std::path::PathBuf;

use clap::Args;
use raas_server::{SiteConfig, TokenIssuer, check_client_ca};

use crate::config::VendorSettings;
use crate::failure::{Failure, Kind};

#[derive(Debug, Args)]
#[command(next_help_heading = "Who sees protected repositories, without a home")]
pub(super) struct Doors {
    /// The users, as `htpasswd -B` writes them [with a home: htpasswd in the vendor's folder]
    #[arg(long, value_name = "FILE", env = "RAAS_HTPASSWD", requires = "metadata")]
    htpasswd: Option<PathBuf>,

    /// Where clients get tokens of another issuer [default: as token_realm of [ISV] in raas.cfg says, likewise below]
    #[arg(
        long,
        value_name = "URL",
        env = "RAAS_TOKEN_REALM",
        requires_all = ["metadata", "token_service", "token_issuer", "token_keys"]
    )]
    token_realm: Option<String>,

    /// What this registry is called there: the audience of its tokens
    #[arg(long, value_name = "NAME", env = "RAAS_TOKEN_SERVICE", requires = "token_realm")]
    token_service: Option<String>,

    /// Who signs the tokens
    #[arg(long, value_name = "NAME", env = "RAAS_TOKEN_ISSUER", requires = "token_realm")]
    token_issuer: Option<String>,

    /// The issuer's keys: a JSON Web Key Set, or certificates and public keys in PEM
    #[arg(long, value_name = "FILE", env = "RAAS_TOKEN_KEYS", requires = "token_realm")]
    token_keys: Option<PathBuf>,

    /// The authorities, in PEM, whose client certificates let their owners see everything [default: as client_ca of
    /// [ISV] in raas.cfg says]. Clients must speak TLS to this server itself
    #[arg(long, value_name = "FILE", env = "RAAS_CLIENT_CA", requires = "metadata")]
    client_ca: Option<PathBuf>,
}

impl Doors {
    /// Lets those in whom the command line names, or else those whom the vendor's section does.
    ///
    /// # Errors
    /// A token's realm or the like is none, or the keys cannot be read.
    pub(super) fn open(self, site: &mut SiteConfig, settings: &VendorSettings) -> Result<(), Failure> {
        site.users = self.htpasswd;
        site.issuer = match (self.token_realm, self.token_service, self.token_issuer, self.token_keys) {
            (Some(realm), Some(service), Some(issuer), Some(keys)) => {
                let issuer = TokenIssuer::new(&realm, &service, &issuer, &keys);
                Some(issuer.map_err(|error| Failure::new(Kind::Usage, error))?)
            }
            _ => settings.token_issuer.clone(),
        };
        if let Some(issuer) = &site.issuer {
            let wrong = |error| {
                Failure::new(Kind::Usage, "the keys of the issuer of tokens cannot be used").caused_by(error)
            };
            issuer.check().map_err(wrong)?;
        }
        site.client_ca = self.client_ca.or_else(|| settings.client_ca.clone());
        if let Some(file) = &site.client_ca {
            let wrong = |error| {
                Failure::new(Kind::Usage, "the authorities of client certificates cannot be used")
                    .caused_by(error)
            };
            check_client_ca(file).map_err(wrong)?;
        }
        Ok(())
    }
}
