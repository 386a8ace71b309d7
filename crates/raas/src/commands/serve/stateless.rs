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
    /// Follow the metadata at s3://BUCKET[/PREFIX], at the URL of such a place, or in a folder
    ///
    /// Repeat the option for each vendor. A single vendor needs no ISV= here.
    #[arg(
        long,
        value_name = "[ISV=]PLACE",
        env = "RAAS_METADATA",
        value_parser = |text: &str| PerVendor::parse(text, LocationArgument::parse),
        group = "stateless"
    )]
    metadata: Vec<PerVendor<LocationArgument>>,

    /// Serve the vendors of raas.cfg that have an `s3_bucket`, all or those named
    ///
    /// Changes of the file take effect within seconds, or within a minute if it is in a git repository.
    #[arg(long, env = "RAAS_FROM_CONFIG", group = "stateless")]
    pub(super) from_config: bool,

    /// Serve the documents of a legacy Crane as this crane.conf says
    ///
    /// Without a named vendor, the vendor is called `crane`.
    #[arg(long, value_name = "FILE", env = "CRANE_CONFIG_PATH", group = "stateless")]
    crane_config: Option<PathBuf>,

    /// Serve the objects at this place [default: as in raas.cfg, or else where the metadata is]
    ///
    /// Places are written as for --metadata.
    #[arg(
        long,
        value_name = "[ISV=]PLACE",
        env = "RAAS_BUCKET",
        value_parser = |text: &str| PerVendor::parse(text, LocationArgument::parse),
        requires = "metadata"
    )]
    bucket: Vec<PerVendor<LocationArgument>>,

    /// Let clients get objects in this way [default: as in raas.cfg, or else presigned]
    #[arg(long, value_name = "ACCESS", env = "RAAS_ACCESS", requires = "metadata")]
    access: Option<AccessArgument>,

    /// Use this S3 service instead of AWS
    #[arg(long, value_name = "URL", env = "RAAS_S3_ENDPOINT", requires = "metadata")]
    s3_endpoint: Option<String>,

    /// Use the S3 service in this region [default: AWS_REGION, or else us-east-1]
    #[arg(long, value_name = "REGION", env = "RAAS_S3_REGION", requires = "metadata")]
    s3_region: Option<String>,

    /// Put the bucket into the path of URLs and not into the host name
    #[arg(long, env = "RAAS_S3_PATH_STYLE", requires = "metadata")]
    s3_path_style: bool,

    /// Follow a bucket also back to an earlier publication, as after a restored backup
    ///
    /// The server otherwise keeps what it serves if the pointer in the bucket is put back to an earlier publication. A
    /// rollback by raas is a new publication and needs no option.
    #[arg(long, env = "RAAS_ALLOW_ROLLBACK")]
    pub(super) allow_rollback: bool,

    /// Note in this folder which publications were followed, so that a restart goes back to no earlier one
    ///
    /// The default is the `StateDirectory` of a unit of systemd. Without either, a server that has just started follows what
    /// the bucket has.
    #[arg(long, value_name = "DIR", env = "RAAS_STATE")]
    pub(super) state: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AccessArgument {
    /// Redirect to signed URLs of a private bucket
    Presigned,
    /// Redirect to the bucket, which everybody may read
    Public,
    /// Redirect to the CDN that raas.cfg names for the vendor
    Cdn,
    /// Send the bytes through the server
    Proxy,
}

impl StatelessArgs {
    /// Whether the options ask for a stateless server.
    pub(super) fn is_requested(&self) -> bool {
        self.from_config || self.crane_config.is_some() || !self.metadata.is_empty()
    }

    /// Whether the server needs credentials of the cloud, because it may sign URLs: the command line names a bucket of
    /// S3, or a section that it uses does. With `--crane-config` the server never signs URLs with a key of S3.
    pub(super) fn needs_credentials(&self, config_has_buckets: bool) -> bool {
        if !self.is_requested() {
            return config_has_buckets;
        }
        let is_s3 = |place: &PerVendor<LocationArgument>| matches!(place.value(), LocationArgument::S3(..));
        let all_objects_have_a_place = self.bucket.len() >= self.metadata.len();
        self.from_config
            || self.metadata.iter().chain(&self.bucket).any(is_s3)
            || (!all_objects_have_a_place && !self.metadata.is_empty() && config_has_buckets)
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
            let settings = self.settings(section(config, vendor)?)?;
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
            tracing::info!(file = %file.display(), note, "a note on the configuration of the Crane");
        }
        Ok(sites::crane(&vendor, &conf, &section(config, &vendor)?))
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

/// The settings of a vendor's section.
fn section(config: &Config, vendor: &VendorName) -> Result<VendorSettings, Failure> {
    match config.refusal(vendor) {
        Some(reason) => Err(Failure::new(Kind::Usage, reason)),
        None => Ok(config.vendor(vendor)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        stateless: StatelessArgs,
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
            let parsed = Alone::try_parse_from([&["serve"], arguments].concat()).unwrap().stateless;
            assert_eq!(parsed.needs_credentials(false), without, "{arguments:?}");
            assert_eq!(parsed.needs_credentials(true), with, "{arguments:?}");
        }
    }
}
