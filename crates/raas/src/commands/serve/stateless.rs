//! Options of `raas serve` for a stateless server, and the sites that they describe. A stateless server has no home.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use raas_server::SiteConfig;
use raas_types::VendorName;

use super::per_vendor::{PerVendor, by_vendor, value_of};
use crate::config::{Config, CraneConf, VendorSettings};
use crate::sites::{self, Buckets, LocationArgument};
use raas_base::failure::{Failure, Kind};
use raas_types::BucketAccess;

#[derive(Debug, Args)]
#[command(next_help_heading = "Without a home")]
pub(super) struct StatelessArgs {
    /// Where the metadata of a vendor is: s3://BUCKET[/PREFIX], the URL of such a place, or a folder; once for each
    /// vendor, of whom one needs no name here
    #[arg(
        long,
        value_name = "[ISV=]PLACE",
        env = "RAAS_METADATA",
        value_parser = |text: &str| PerVendor::parse(text, LocationArgument::parse),
        group = "stateless"
    )]
    metadata: Vec<PerVendor<LocationArgument>>,

    /// All vendors of raas.cfg that have an `s3_bucket`, or those of them that are named; what changes there counts
    /// within seconds, or a minute if it is in a git repository
    #[arg(long, env = "RAAS_FROM_CONFIG", group = "stateless")]
    pub(super) from_config: bool,

    /// Serve the documents of a legacy Crane as its crane.conf says; the vendor is called `crane` if none is named
    #[arg(long, value_name = "FILE", env = "CRANE_CONFIG_PATH", group = "stateless")]
    crane_config: Option<PathBuf>,

    /// Where a vendor's objects are, likewise [default: as [ISV] in raas.cfg says, else where the metadata is]
    #[arg(
        long,
        value_name = "[ISV=]PLACE",
        env = "RAAS_BUCKET",
        value_parser = |text: &str| PerVendor::parse(text, LocationArgument::parse),
        requires = "metadata"
    )]
    bucket: Vec<PerVendor<LocationArgument>>,

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

impl StatelessArgs {
    /// Whether the options ask for a stateless server.
    pub(super) fn is_requested(&self) -> bool {
        self.from_config || self.crane_config.is_some() || !self.metadata.is_empty()
    }

    /// Whether the server may sign URLs. With `--crane-config` it never signs them with a key of S3.
    pub(super) fn needs_credentials(&self) -> bool {
        self.from_config || !self.metadata.is_empty()
    }

    /// The sites of `--metadata`, one for each vendor, or the site of `--crane-config`.
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
            return Err(Failure::new(
                Kind::Usage,
                format!("the metadata of {without} has no known location"),
            )
            .hint(format!("name it with --metadata {without}=PLACE")));
        }
        let objects = by_vendor("--bucket", &self.bucket, &named)?;
        let mut made = Vec::with_capacity(metadata.len());
        for (vendor, location) in metadata {
            let settings = self.settings(config.vendor(vendor))?;
            made.push(sites::stateless(vendor, location, value_of(&objects, vendor), &settings, buckets)?);
        }
        Ok(made)
    }

    fn crane(&self, file: &Path, vendors: &[VendorName], config: &Config) -> Result<SiteConfig, Failure> {
        let vendor = match vendors {
            [] => "crane".parse().expect("`crane` is a valid vendor name"),
            [one] => one.clone(),
            _ => {
                return Err(Failure::new(
                    Kind::Usage,
                    "--crane-config serves one vendor, but several are named",
                )
                .hint("name one vendor"));
            }
        };
        let conf = CraneConf::load(file)?;
        if !conf.data_dir.is_dir() {
            let missing = format!(
                "{}: `data_dir` is {}, which is not a folder",
                file.display(),
                conf.data_dir.display()
            );
            return Err(Failure::new(Kind::Usage, missing)
                .hint("set `data_dir` in [general] to the folder of the documents"));
        }
        for note in &conf.notes {
            tracing::info!(file = %file.display(), note);
        }
        Ok(sites::crane(&vendor, &conf, &config.vendor(&vendor)))
    }

    /// The settings of the vendor's section. Options of the command line replace them.
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
