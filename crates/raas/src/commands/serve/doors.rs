//! Who sees what is protected, without a home.

use std::path::PathBuf;

use clap::Args;
use raas_server::{SiteConfig, TokenIssuer, check_client_ca};

use super::of_vendor::{OfVendor, by_vendor, of};
use raas_base::failure::{Failure, Kind};

/// Each is said of a vendor, as `--metadata` is, and is else as the vendor's section of raas.cfg says.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access to protected repositories, without a home")]
pub(super) struct Doors {
    /// Let the users of this file in, as `htpasswd -B` writes it
    ///
    /// The default is the file that raas.cfg names for the vendor. A server with a home uses the file htpasswd in the
    /// vendor's folder.
    #[arg(
        long,
        value_name = "[ISV=]FILE",
        env = "RAAS_HTPASSWD",
        value_parser = file,
        requires = "without_home",
        conflicts_with = "from_config"
    )]
    htpasswd: Vec<OfVendor<PathBuf>>,

    /// Send clients to this URL for a token of another issuer
    #[arg(
        long,
        value_name = "[ISV=]URL",
        env = "RAAS_TOKEN_REALM",
        value_parser = text,
        requires_all = ["without_home", "token_service", "token_issuer", "token_keys"],
        conflicts_with = "from_config"
    )]
    token_realm: Vec<OfVendor<String>>,

    /// Accept tokens for this audience: the name of this registry at the issuer
    #[arg(
        long,
        value_name = "[ISV=]NAME",
        env = "RAAS_TOKEN_SERVICE",
        value_parser = text,
        requires = "token_realm"
    )]
    token_service: Vec<OfVendor<String>>,

    /// Accept tokens of the issuer with this name
    #[arg(
        long,
        value_name = "[ISV=]NAME",
        env = "RAAS_TOKEN_ISSUER",
        value_parser = text,
        requires = "token_realm"
    )]
    token_issuer: Vec<OfVendor<String>>,

    /// Check tokens with these keys: a JSON Web Key Set, or certificates and public keys in PEM
    #[arg(
        long,
        value_name = "[ISV=]FILE",
        env = "RAAS_TOKEN_KEYS",
        value_parser = file,
        requires = "token_realm"
    )]
    token_keys: Vec<OfVendor<PathBuf>>,

    /// Let clients in whose certificate is from these authorities, in PEM
    ///
    /// Clients must speak TLS to this server itself.
    #[arg(
        long,
        value_name = "[ISV=]FILE",
        env = "RAAS_CLIENT_CA",
        value_parser = file,
        requires = "without_home",
        conflicts_with = "from_config"
    )]
    client_ca: Vec<OfVendor<PathBuf>>,
}

impl Doors {
    /// Lets those into the sites whom the command line names, or else those whom raas.cfg does.
    ///
    /// # Errors
    /// It is said of no site, of an issuer something is missing or is none, or a file cannot be used.
    pub(super) fn open(&self, sites: &mut [SiteConfig]) -> Result<(), Failure> {
        let vendors: Vec<_> = sites.iter().map(|site| site.vendor.clone()).collect();
        let users = by_vendor("--htpasswd", &self.htpasswd, &vendors)?;
        let authorities = by_vendor("--client-ca", &self.client_ca, &vendors)?;
        let realms = by_vendor("--token-realm", &self.token_realm, &vendors)?;
        let services = by_vendor("--token-service", &self.token_service, &vendors)?;
        let issuers = by_vendor("--token-issuer", &self.token_issuer, &vendors)?;
        let keys = by_vendor("--token-keys", &self.token_keys, &vendors)?;
        for site in sites {
            let vendor = &site.vendor;
            let (realm, service) = (of(&realms, vendor), of(&services, vendor));
            let (issuer, keys) = (of(&issuers, vendor), of(&keys, vendor));
            match (realm, service, issuer, keys) {
                (None, None, None, None) => {}
                (Some(realm), Some(service), Some(issuer), Some(keys)) => {
                    let issuer = TokenIssuer::new(realm, service, issuer, keys);
                    site.issuer = Some(issuer.map_err(|error| Failure::new(Kind::Usage, error))?);
                }
                _ => {
                    let whole = "--token-realm, --token-service, --token-issuer and --token-keys go together";
                    return Err(Failure::new(
                        Kind::Usage,
                        format!("{whole}, and some of {vendor} are missing"),
                    ));
                }
            }
            if let Some(file) = of(&users, vendor) {
                site.users = Some(file.clone());
            }
            if let Some(file) = of(&authorities, vendor) {
                site.client_ca = Some(file.clone());
            }
            check(site)?;
        }
        Ok(())
    }
}

/// Reads the files once, so that what is wrong with them is told at once.
fn check(site: &SiteConfig) -> Result<(), Failure> {
    let wrong = |what: &str, error| {
        Failure::new(Kind::Usage, format!("{what} of {} cannot be used", site.vendor)).caused_by(error)
    };
    if let Some(issuer) = &site.issuer {
        issuer.check().map_err(|error| wrong("the keys of the issuer of tokens", error))?;
    }
    if let Some(file) = &site.client_ca {
        check_client_ca(file).map_err(|error| wrong("the authorities of client certificates", error))?;
    }
    Ok(())
}

fn file(said: &str) -> Result<OfVendor<PathBuf>, String> {
    OfVendor::parse(said, |file| Ok(PathBuf::from(file)))
}

fn text(said: &str) -> Result<OfVendor<String>, String> {
    OfVendor::parse(said, |text| Ok(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use raas_server::{Bucket, Metadata};

    use super::super::without_home::WithoutHome;
    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        _without_home: WithoutHome,
        #[command(flatten)]
        doors: Doors,
    }

    /// The sites of `acme` and `other`, who has a file of users by the configuration.
    fn open(arguments: &[&str]) -> Result<[SiteConfig; 2], String> {
        let begin = ["serve", "--metadata", "acme=m", "--metadata", "other=m"];
        let parsed =
            Alone::try_parse_from([&begin, arguments].concat()).map_err(|error| error.to_string())?;
        let mut sites = ["acme", "other"].map(|vendor| {
            SiteConfig::new(vendor.parse().unwrap(), Metadata::Folder("m".into()), Bucket::Nowhere)
        });
        sites[1].users = Some("configured".into());
        parsed.doors.open(&mut sites).map_err(|failure| failure.to_string())?;
        Ok(sites)
    }

    #[test]
    fn each_door_is_of_one_vendor() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["auth.example.com".to_owned()]).unwrap();
        let file = folder.path().join("certificate.pem");
        std::fs::write(&file, made.cert.pem()).unwrap();
        let of_other = format!("other={}", file.display());
        let [acme, other] = open(&[
            "--htpasswd",
            "acme=said",
            "--client-ca",
            &of_other,
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
        assert_eq!((acme.users, acme.client_ca, acme.issuer), (Some("said".into()), None, None));
        let issuer =
            TokenIssuer::new("https://auth.example.com/token?a=b", "registry", "auth", &file).unwrap();
        assert_eq!(
            (other.users, other.client_ca, other.issuer),
            (Some("configured".into()), Some(file), Some(issuer))
        );
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let whole =
            ["--token-realm", "acme=https://a/t", "--token-service", "acme=s", "--token-keys", "acme=k"];
        let whole = |issuer: &'static str| [whole.as_slice(), &["--token-issuer", issuer]].concat();
        let table: [(&[&str], &str); 7] = [
            (&["--htpasswd", "f"], "needs its name"),
            (&["--client-ca", "third=f"], "third, who is not served"),
            (&["--client-ca", "acme=/nonexistent.pem"], "authorities of client certificates of acme"),
            (&["--token-realm", "acme=https://a/t"], "--token-service"),
            (&["--token-keys", "acme=k"], "--token-realm"),
            (&whole("other=a"), "some of acme are missing"),
            (&whole("acme=a"), "keys of the issuer of tokens of acme"),
        ];
        for (arguments, message) in table {
            let failure = open(arguments).map(drop).unwrap_err();
            assert!(failure.contains(message), "{arguments:?}: {failure}");
        }
    }
}
