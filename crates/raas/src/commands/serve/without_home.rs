//! `raas serve` without a home: what the command line says of vendors, or leaves to `raas.cfg`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use raas_server::{CertificateFiles, SiteConfig};
use raas_types::VendorName;

use crate::config::{Access, Config, CraneConf, VendorSettings};
use crate::failure::{Failure, Kind};
use crate::sites::{Buckets, Named, alone, crane};

#[derive(Debug, Args)]
#[command(next_help_heading = "Without a home")]
pub(super) struct WithoutHome {
    /// Where the metadata of a vendor is: s3://BUCKET[/PREFIX], the URL of such a place, or a folder; once for each
    /// vendor, of whom one needs no name here
    #[arg(
        long,
        value_name = "[ISV=]PLACE",
        env = "RAAS_METADATA",
        value_parser = |text: &str| OfVendor::parse(text, Named::parse),
        group = "without_home"
    )]
    metadata: Vec<OfVendor<Named>>,

    /// All vendors of raas.cfg that have an `s3_bucket`, or those of them that are named; what changes there counts
    /// within seconds, or a minute if it is in a git repository
    #[arg(long, env = "RAAS_FROM_CONFIG", group = "without_home")]
    pub(super) from_config: bool,

    /// Serve the documents of a legacy Crane as its crane.conf says; the vendor is called `crane` if none is named
    #[arg(long, value_name = "FILE", env = "CRANE_CONFIG_PATH", group = "without_home")]
    crane_config: Option<PathBuf>,

    /// Where a vendor's objects are, likewise [default: as [ISV] in raas.cfg says, else where the metadata is]
    #[arg(
        long,
        value_name = "[ISV=]PLACE",
        env = "RAAS_BUCKET",
        value_parser = |text: &str| OfVendor::parse(text, Named::parse),
        requires = "metadata"
    )]
    bucket: Vec<OfVendor<Named>>,

    /// How clients get at them [default: as [ISV] in raas.cfg says, else presigned]
    #[arg(long, value_name = "ACCESS", env = "RAAS_ACCESS", requires = "metadata")]
    access: Option<AccessArgument>,

    /// The users who see protected repositories, as `htpasswd -B` writes them [with a home: htpasswd in the vendor's
    /// folder; else as [ISV] in raas.cfg says]
    #[arg(
        long,
        value_name = "[ISV=]FILE",
        env = "RAAS_HTPASSWD",
        value_parser = |text: &str| OfVendor::parse(text, |file| Ok(PathBuf::from(file))),
        requires = "without_home",
        conflicts_with = "from_config"
    )]
    htpasswd: Vec<OfVendor<PathBuf>>,

    /// The server's own certificate with its chain, in PEM; a renewed one is used without a restart
    #[arg(
        long,
        value_name = "FILE",
        env = "RAAS_TLS_CERTIFICATE",
        requires = "without_home",
        requires = "tls_key"
    )]
    tls_certificate: Option<PathBuf>,

    /// Its key
    #[arg(long, value_name = "FILE", env = "RAAS_TLS_KEY", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,

    /// The S3 service, where it is not AWS
    #[arg(long, value_name = "URL", env = "RAAS_S3_ENDPOINT", requires = "metadata")]
    s3_endpoint: Option<String>,

    /// The region [default: AWS_REGION, else us-east-1]
    #[arg(long, value_name = "REGION", env = "RAAS_S3_REGION", requires = "metadata")]
    s3_region: Option<String>,

    /// The bucket stands in the path, and not in the host name
    #[arg(long, env = "RAAS_S3_PATH_STYLE", requires = "metadata")]
    s3_path_style: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AccessArgument {
    /// The server redirects to signed URLs of a private bucket
    Presigned,
    /// The server redirects to the bucket, which everybody may read
    Public,
    /// The server redirects to the CDN of [ISV] in raas.cfg
    Cdn,
    /// The server passes the bytes on
    Proxy,
}

/// What is said of a vendor, or of the only one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OfVendor<T> {
    vendor: Option<VendorName>,
    said: T,
}

impl<T> OfVendor<T> {
    /// `ISV=…` is of that vendor. No URL begins like that, and no folder need: `./a=b`.
    fn parse(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Self, String> {
        if let Some((vendor, rest)) = text.split_once('=')
            && let Ok(vendor) = vendor.parse()
        {
            return Ok(Self { vendor: Some(vendor), said: read(rest)? });
        }
        Ok(Self { vendor: None, said: read(text)? })
    }
}

impl WithoutHome {
    /// Whether the server is to do without a home.
    pub(super) fn is_asked(&self) -> bool {
        self.from_config || self.crane_config.is_some() || !self.metadata.is_empty()
    }

    /// Whether URLs may have to be signed. Crane's never are with a key of S3.
    pub(super) fn needs_credentials(&self) -> bool {
        self.from_config || !self.metadata.is_empty()
    }

    /// The server's own certificate.
    pub(super) fn certificate(&self) -> Option<CertificateFiles> {
        let (certificate, key) = (self.tls_certificate.clone(), self.tls_key.clone());
        certificate.zip(key).map(|(certificate, key)| CertificateFiles { certificate, key })
    }

    /// A site for each `--metadata`, or for the `--crane-config`.
    pub(super) fn sites(
        &self,
        vendors: &[VendorName],
        config: &Config,
        buckets: &Buckets,
    ) -> Result<Vec<SiteConfig>, Failure> {
        if let Some(file) = &self.crane_config {
            return Ok(vec![self.crane(file, vendors, config)?]);
        }
        let metadata = by_vendor("--metadata", &self.metadata, vendors)?;
        let named: Vec<VendorName> = metadata.iter().map(|(vendor, _)| (*vendor).clone()).collect();
        if let Some(without) = vendors.iter().find(|vendor| !named.contains(vendor)) {
            return Err(Failure::new(Kind::Usage, format!("nobody says where the metadata of {without} is"))
                .hint(format!("raas serve --metadata {without}=PLACE …")));
        }
        let objects = by_vendor("--bucket", &self.bucket, &named)?;
        let users = by_vendor("--htpasswd", &self.htpasswd, &named)?;
        let mut sites = Vec::with_capacity(metadata.len());
        for (vendor, place) in metadata {
            let settings = self.settings(config.vendor(vendor))?;
            let mut site = alone(vendor, place, of(&objects, vendor), &settings, buckets)?;
            site.users = of(&users, vendor).cloned().or(site.users);
            sites.push(site);
        }
        Ok(sites)
    }

    fn crane(&self, file: &Path, vendors: &[VendorName], config: &Config) -> Result<SiteConfig, Failure> {
        let vendor = match vendors {
            [] => "crane".parse().expect("it is the name of a vendor"),
            [one] => one.clone(),
            _ => return Err(Failure::new(Kind::Usage, "--crane-config is of one vendor")),
        };
        let conf = CraneConf::load(file)?;
        if !conf.data_dir.is_dir() {
            let missing =
                format!("{}: `data_dir`, {}, is no folder", file.display(), conf.data_dir.display());
            return Err(
                Failure::new(Kind::Usage, missing).hint("name the folder of the documents in [general]")
            );
        }
        for note in &conf.notes {
            tracing::info!(file = %file.display(), note);
        }
        let named = [vendor.clone()];
        let users = by_vendor("--htpasswd", &self.htpasswd, &named)?;
        let mut site = crane(&vendor, &conf, &config.vendor(&vendor));
        site.users = of(&users, &vendor).cloned().or(site.users);
        Ok(site)
    }

    /// The vendor's section, with what the command line says before it.
    fn settings(&self, section: VendorSettings) -> Result<VendorSettings, Failure> {
        let mut settings = section;
        settings.s3_endpoint = self.s3_endpoint.clone().or(settings.s3_endpoint);
        settings.s3_region = self.s3_region.clone().or(settings.s3_region);
        settings.s3_path_style |= self.s3_path_style;
        settings.access = match self.access {
            None => settings.access,
            Some(AccessArgument::Presigned) => Access::Presigned,
            Some(AccessArgument::Public) => Access::Public,
            Some(AccessArgument::Cdn) => Access::Cdn,
            Some(AccessArgument::Proxy) => Access::Proxy,
        };
        if settings.access == Access::Cdn && settings.cdn_url.is_none() {
            return Err(Failure::new(Kind::Usage, "--access cdn needs the URL of the CDN").hint(
                "set `cdn_url` in the vendor's section of raas.cfg, or give the CDN's URL to --bucket",
            ));
        }
        Ok(settings)
    }
}

/// What is said of each vendor. Without a name it is said of the only one there is.
fn by_vendor<'a, T>(
    option: &str,
    all: &'a [OfVendor<T>],
    vendors: &'a [VendorName],
) -> Result<Vec<(&'a VendorName, &'a T)>, Failure> {
    let mut found: Vec<(&VendorName, &T)> = Vec::with_capacity(all.len());
    for OfVendor { vendor, said } in all {
        let vendor = match (vendor, vendors) {
            (Some(vendor), []) => vendor,
            (Some(vendor), known) if known.contains(vendor) => vendor,
            (Some(vendor), _) => {
                return Err(Failure::new(Kind::Usage, format!("{option} is of {vendor}, who is not served")));
            }
            (None, [only]) => only,
            (None, _) => {
                return Err(Failure::new(
                    Kind::Usage,
                    format!("{option} is of one vendor, and needs its name"),
                )
                .hint(format!("raas serve ISV {option} PLACE, or {option} ISV=PLACE for each of several")));
            }
        };
        if found.iter().any(|(other, _)| *other == vendor) {
            return Err(Failure::new(Kind::Usage, format!("{option} says two things of {vendor}")));
        }
        found.push((vendor, said));
    }
    Ok(found)
}

fn of<'a, T>(all: &[(&VendorName, &'a T)], vendor: &VendorName) -> Option<&'a T> {
    all.iter().find(|(other, _)| *other == vendor).map(|(_, said)| *said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_stands_before_what_is_said_of_it() {
        let table = [
            ("acme=s3://b/p", Some("acme"), "s3://b/p"),
            ("s3://b/p", None, "s3://b/p"),
            ("https://h/p?acme=1", None, "https://h/p?acme=1"),
            ("./acme=x", None, "./acme=x"),
            ("Acme=x", None, "Acme=x"),
            ("acme=", Some("acme"), ""),
        ];
        for (text, vendor, said) in table {
            let parsed = OfVendor::parse(text, |text| Ok(text.to_owned())).unwrap();
            assert_eq!(parsed.vendor.as_ref().map(VendorName::as_str), vendor, "{text}");
            assert_eq!(parsed.said, said, "{text}");
        }
    }

    #[test]
    fn everything_is_said_of_one_vendor_once() {
        let (acme, other): (VendorName, VendorName) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let read = |texts: &[&str]| -> Vec<OfVendor<String>> {
            texts.iter().map(|text| OfVendor::parse(text, |t| Ok(t.to_owned())).unwrap()).collect()
        };
        let ask = |texts: &[&str], vendors: &[VendorName]| {
            let all = read(texts);
            let found = by_vendor("--metadata", &all, vendors).map_err(|failure| failure.to_string())?;
            Ok(found.into_iter().map(|(vendor, said)| format!("{vendor}:{said}")).collect::<Vec<_>>())
        };
        assert_eq!(ask(&["x"], std::slice::from_ref(&acme)), Ok(vec!["acme:x".to_owned()]));
        assert_eq!(ask(&["other=x", "acme=y"], &[]), Ok(vec!["other:x".to_owned(), "acme:y".to_owned()]));
        for (texts, vendors, message) in [
            (&["x"][..], &[][..], "needs its name"),
            (&["x"], &[acme.clone(), other], "needs its name"),
            (&["acme=x", "acme=y"], &[], "two things of acme"),
            (&["x", "acme=y"], std::slice::from_ref(&acme), "two things of acme"),
            (&["other=x"], std::slice::from_ref(&acme), "other, who is not served"),
        ] {
            let failure: Result<Vec<String>, String> = ask(texts, vendors);
            assert!(failure.as_ref().is_err_and(|f| f.contains(message)), "{texts:?}: {failure:?}");
        }
    }
}
