//! Options of `raas serve` for the access policy of stateless servers.

use std::fs::File;
use std::path::PathBuf;

use clap::Args;
use raas_server::{SiteConfig, TokenIssuer, check_client_ca};

use super::per_vendor::{PerVendor, by_vendor, value_of};
use crate::command_line;
use raas_base::failure::{Failure, Kind};

/// Each option may name its vendor, as `--metadata` does. Without an option, the vendor's section of raas.cfg decides.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access to protected repositories, without a home")]
pub(super) struct AuthArgs {
    /// Let the users of this file, made with `htpasswd -B`, see protected repositories
    ///
    /// The default is the file that raas.cfg names for the vendor. A server with a home uses the file htpasswd in the
    /// vendor's folder.
    #[arg(
        long,
        value_name = "[ISV=]FILE",
        env = "RAAS_HTPASSWD",
        value_parser = file,
        requires = "stateless",
        conflicts_with = "from_config"
    )]
    htpasswd: Vec<PerVendor<PathBuf>>,

    /// Send clients to this URL for a token of another issuer
    #[arg(
        long,
        value_name = "[ISV=]URL",
        env = "RAAS_TOKEN_REALM",
        value_parser = text,
        requires_all = ["stateless", "token_service", "token_issuer", "token_keys"],
        conflicts_with = "from_config"
    )]
    token_realm: Vec<PerVendor<String>>,

    /// Accept tokens for this audience: the name of this registry at the issuer
    #[arg(
        long,
        value_name = "[ISV=]NAME",
        env = "RAAS_TOKEN_SERVICE",
        value_parser = text,
        requires = "token_realm"
    )]
    token_service: Vec<PerVendor<String>>,

    /// Accept tokens of the issuer with this name
    #[arg(
        long,
        value_name = "[ISV=]NAME",
        env = "RAAS_TOKEN_ISSUER",
        value_parser = text,
        requires = "token_realm"
    )]
    token_issuer: Vec<PerVendor<String>>,

    /// Check tokens with these keys: a JSON Web Key Set, or certificates and public keys in PEM
    #[arg(
        long,
        value_name = "[ISV=]FILE",
        env = "RAAS_TOKEN_KEYS",
        value_parser = file,
        requires = "token_realm"
    )]
    token_keys: Vec<PerVendor<PathBuf>>,

    /// Let clients with a certificate of these authorities (PEM) see protected repositories
    ///
    /// Clients must speak TLS to this server itself.
    #[arg(
        long,
        value_name = "[ISV=]FILE",
        env = "RAAS_CLIENT_CA",
        value_parser = file,
        requires = "stateless",
        conflicts_with = "from_config"
    )]
    client_ca: Vec<PerVendor<PathBuf>>,

    /// Open only the repositories that a client's entitlement certificate lists: yes or no
    #[arg(
        long,
        value_name = "[ISV=]ANSWER",
        env = "RAAS_CLIENT_ENTITLEMENTS",
        value_parser = yes_or_no,
        requires = "stateless",
        conflicts_with = "from_config"
    )]
    client_entitlements: Vec<PerVendor<bool>>,
}

impl AuthArgs {
    /// Sets the access policies of the sites. Options of the command line replace the settings of raas.cfg.
    ///
    /// # Errors
    /// An option names a vendor without a site, the options of an issuer are incomplete or wrong, or a file cannot be
    /// used.
    pub(super) fn apply(&self, sites: &mut [SiteConfig]) -> Result<(), Failure> {
        let vendors: Vec<_> = sites.iter().map(|site| site.vendor.clone()).collect();
        let users = by_vendor("--htpasswd", &self.htpasswd, &vendors)?;
        let authorities = by_vendor("--client-ca", &self.client_ca, &vendors)?;
        let entitlements = by_vendor("--client-entitlements", &self.client_entitlements, &vendors)?;
        let realms = by_vendor("--token-realm", &self.token_realm, &vendors)?;
        let services = by_vendor("--token-service", &self.token_service, &vendors)?;
        let issuers = by_vendor("--token-issuer", &self.token_issuer, &vendors)?;
        let keys = by_vendor("--token-keys", &self.token_keys, &vendors)?;
        for site in sites {
            let vendor = &site.vendor;
            let (realm, service) = (value_of(&realms, vendor), value_of(&services, vendor));
            let (issuer, keys) = (value_of(&issuers, vendor), value_of(&keys, vendor));
            match (realm, service, issuer, keys) {
                (None, None, None, None) => {}
                (Some(realm), Some(service), Some(issuer), Some(keys)) => {
                    let issuer = TokenIssuer::new(realm, service, issuer, keys);
                    site.issuer = Some(issuer.map_err(|error| Failure::new(Kind::Usage, error))?);
                }
                _ => {
                    let message = format!("the options for the token issuer of {vendor} are incomplete");
                    return Err(Failure::new(Kind::Usage, message).hint(
                        "give --token-realm, --token-service, --token-issuer and --token-keys together",
                    ));
                }
            }
            if let Some(file) = value_of(&users, vendor) {
                site.users = Some(file.clone());
            }
            if let Some(file) = value_of(&authorities, vendor) {
                site.client_ca = Some(file.clone());
            }
            if let Some(answer) = value_of(&entitlements, vendor) {
                site.client_entitlements = *answer;
            }
            check(site)?;
        }
        Ok(())
    }
}

/// Reads the files once, so that the server does not start with a wrong file.
pub(super) fn check(site: &SiteConfig) -> Result<(), Failure> {
    let unusable = |what: &str, error: String| {
        Failure::new(Kind::Usage, format!("cannot use {what} of {}", site.vendor)).caused_by(error)
    };
    if let Some(file) = &site.users {
        let opened = File::open(file).map_err(|error| format!("{}: {error}", file.display()));
        opened.map_err(|error| unusable("the file of users", error))?;
    }
    if let Some(issuer) = &site.issuer {
        issuer.check().map_err(|error| unusable("the keys of the token issuer", error))?;
    }
    if site.client_entitlements && site.client_ca.is_none() {
        let message =
            format!("--client-entitlements of {} needs the authorities of the certificates", site.vendor);
        return Err(Failure::new(Kind::Usage, message).hint("give --client-ca"));
    }
    if let Some(file) = &site.client_ca {
        check_client_ca(file).map_err(|error| unusable("the authorities of client certificates", error))?;
    }
    Ok(())
}

fn file(text: &str) -> Result<PerVendor<PathBuf>, String> {
    PerVendor::parse(text, |file| Ok(PathBuf::from(file)))
}

fn yes_or_no(text: &str) -> Result<PerVendor<bool>, String> {
    PerVendor::parse(text, command_line::yes_or_no)
}

fn text(text: &str) -> Result<PerVendor<String>, String> {
    PerVendor::parse(text, |text| Ok(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use raas_server::{Bucket, Metadata};

    use super::super::stateless::StatelessArgs;
    use super::*;

    #[derive(Parser)]
    struct Parsed {
        #[command(flatten)]
        _stateless: StatelessArgs,
        #[command(flatten)]
        auth: AuthArgs,
    }

    /// Applies the options to the sites of `acme` and `other`. The configuration gives `other` a file of users.
    fn apply(arguments: &[&str]) -> Result<[SiteConfig; 2], String> {
        let begin = ["serve", "--metadata", "acme=m", "--metadata", "other=m"];
        let parsed =
            Parsed::try_parse_from([&begin, arguments].concat()).map_err(|error| error.to_string())?;
        let mut sites = ["acme", "other"].map(|vendor| {
            SiteConfig::new(vendor.parse().unwrap(), Metadata::Folder("m".into()), Bucket::Nowhere)
        });
        sites[1].users = Some("/dev/null".into());
        parsed.auth.apply(&mut sites).map_err(|failure| failure.to_string())?;
        Ok(sites)
    }

    #[test]
    fn each_option_applies_to_one_vendor() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["auth.example.com".to_owned()]).unwrap();
        let file = folder.path().join("certificate.pem");
        std::fs::write(&file, made.cert.pem()).unwrap();
        let of_other = format!("other={}", file.display());
        let [acme, other] = apply(&[
            "--htpasswd",
            "acme=/dev/zero",
            "--client-ca",
            &of_other,
            "--client-entitlements",
            "other=yes",
            "--token-realm",
            "other=https://auth.example.com/token?a=b",
            "--token-service",
            "other=registry",
            "--token-issuer",
            "other=auth",
            "--token-keys",
            &of_other,
        ])
        .unwrap();
        assert_eq!((acme.users, acme.client_ca, acme.issuer), (Some("/dev/zero".into()), None, None));
        assert!(other.client_entitlements && !acme.client_entitlements);
        let issuer =
            TokenIssuer::new("https://auth.example.com/token?a=b", "registry", "auth", &file).unwrap();
        assert_eq!(
            (other.users, other.client_ca, other.issuer),
            (Some("/dev/null".into()), Some(file), Some(issuer))
        );
    }

    #[test]
    fn unusable_options_are_rejected() {
        let whole =
            ["--token-realm", "acme=https://a/t", "--token-service", "acme=s", "--token-keys", "acme=k"];
        let whole = |issuer: &'static str| [whole.as_slice(), &["--token-issuer", issuer]].concat();
        let table: [(&[&str], &str); 9] = [
            (&["--client-entitlements", "acme=yes"], "--client-entitlements of acme needs"),
            (&["--client-entitlements", "acme=maybe"], "neither `yes` nor `no`"),
            (&["--htpasswd", "f"], "needs the name of its vendor"),
            (&["--client-ca", "third=f"], "third, which is not served"),
            (&["--client-ca", "acme=/nonexistent.pem"], "authorities of client certificates of acme"),
            (&["--token-realm", "acme=https://a/t"], "--token-service"),
            (&["--token-keys", "acme=k"], "--token-realm"),
            (&whole("other=a"), "token issuer of acme are incomplete"),
            (&whole("acme=a"), "keys of the token issuer of acme"),
        ];
        for (arguments, message) in table {
            let failure = apply(arguments).map(drop).unwrap_err();
            assert!(failure.contains(message), "{arguments:?}: {failure}");
        }
    }
}
