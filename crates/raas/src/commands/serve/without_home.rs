//! `raas serve` without a home: what the command line says of vendors, or leaves to `raas.cfg`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use raas_server::SiteConfig;
use raas_types::VendorName;

use super::of_vendor::{OfVendor, by_vendor, of};
use crate::config::{Config, CraneConf, VendorSettings};
use crate::sites::{Buckets, Named, alone, crane};
use raas_base::failure::{Failure, Kind};
use raas_types::BucketAccess;

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

impl WithoutHome {
    /// Whether the server is to do without a home.
    pub(super) fn is_asked(&self) -> bool {
        self.from_config || self.crane_config.is_some() || !self.metadata.is_empty()
    }

    /// Whether the cloud is asked for credentials, because URLs may have to be signed: a bucket of S3 is named here or in
    /// a section that counts. The URLs of a Crane are never signed with a key of S3.
    pub(super) fn needs_credentials(&self, config_has_buckets: bool) -> bool {
        if !self.is_asked() {
            return config_has_buckets;
        }
        let is_s3 = |named: &OfVendor<Named>| matches!(named.said(), Named::S3(..));
        let all_objects_are_named = self.bucket.len() >= self.metadata.len();
        self.from_config
            || self.metadata.iter().chain(&self.bucket).any(is_s3)
            || (!all_objects_are_named && config_has_buckets)
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
        let mut sites = Vec::with_capacity(metadata.len());
        for (vendor, place) in metadata {
            let settings = self.settings(config.vendor(vendor))?;
            sites.push(alone(vendor, place, of(&objects, vendor), &settings, buckets)?);
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
        Ok(crane(&vendor, &conf, &config.vendor(&vendor)))
    }

    /// The vendor's section, with what the command line says before it.
    fn settings(&self, section: VendorSettings) -> Result<VendorSettings, Failure> {
        let mut settings = section;
        settings.s3_endpoint = self.s3_endpoint.clone().or(settings.s3_endpoint);
        settings.s3_region = self.s3_region.clone().or(settings.s3_region);
        settings.s3_path_style |= self.s3_path_style;
        settings.access = match self.access {
            None => settings.access,
            Some(AccessArgument::Presigned) => BucketAccess::Presigned,
            Some(AccessArgument::Public) => BucketAccess::Public,
            Some(AccessArgument::Cdn) => BucketAccess::Cdn,
            Some(AccessArgument::Proxy) => BucketAccess::Proxy,
        };
        if settings.access == BucketAccess::Cdn && settings.cdn_url.is_none() {
            return Err(Failure::new(Kind::Usage, "--access cdn needs the URL of the CDN").hint(
                "set `cdn_url` in the vendor's section of raas.cfg, or give the CDN's URL to --bucket",
            ));
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        without_home: WithoutHome,
    }

    #[test]
    fn only_buckets_of_s3_need_credentials() {
        let table: [(&[&str], bool, bool); 8] = [
            // The arguments, and whether credentials are needed without and with a bucket in raas.cfg.
            (&[], false, true),
            (&["--metadata", "acme=/m", "--bucket", "acme=/b"], false, false),
            (&["--metadata", "acme=/m"], false, true),
            (&["--metadata", "acme=https://h/m", "--bucket", "acme=/b"], false, false),
            (&["--metadata", "acme=s3://m", "--bucket", "acme=/b"], true, true),
            (&["--metadata", "acme=/m", "--bucket", "acme=s3://b"], true, true),
            (&["--crane-config", "crane.conf"], false, false),
            (&["--from-config"], true, true),
        ];
        for (arguments, without, with) in table {
            let parsed = Alone::try_parse_from([&["serve"], arguments].concat()).unwrap().without_home;
            assert_eq!(parsed.needs_credentials(false), without, "{arguments:?}");
            assert_eq!(parsed.needs_credentials(true), with, "{arguments:?}");
        }
    }
}
