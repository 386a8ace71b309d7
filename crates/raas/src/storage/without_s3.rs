//! The place of `s3.rs` in a build without the feature `s3`: each use of a bucket is an error that names the feature.

use raas_base::Say;
use raas_base::failure::{Failure, Kind};
use raas_publish::home::Vendor;
use raas_publish::storage::Storage;

use crate::config::Config;

/// Whether the command can do without the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hurry {
    Yes,
    No,
}

pub(crate) fn open(
    vendor: &Vendor,
    _config: &Config,
    _say: &Say,
    _hurry: Hurry,
) -> Result<Box<dyn Storage>, Failure> {
    Err(missing(&format!("the objects of {} are in an S3 bucket", vendor.name())))
}

pub(crate) fn open_other(
    _vendor: &Vendor,
    _config: &Config,
    (bucket, _prefix): (&str, Option<&str>),
    _say: &Say,
) -> Result<Box<dyn Storage>, Failure> {
    Err(missing(&format!("{bucket} is an S3 bucket")))
}

fn missing(what: &str) -> Failure {
    Failure::new(Kind::Usage, format!("{what}, but this raas was built without S3"))
        .hint("build raas with its default features: cargo install --path crates/raas --locked")
}

#[cfg(test)]
mod tests {
    use raas_publish::home::Home;

    use super::*;
    use crate::config::{ConfigRequest, NeededSections};
    use crate::storage::OpenRegistry;

    #[test]
    fn a_bucket_in_the_configuration_is_an_error_that_says_how_to_build() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("raas.cfg");
        std::fs::write(&file, "[acme]\ns3_bucket = acme-images\n").unwrap();
        let home = Home::new(Some(folder.path().join("home"))).unwrap();
        let request = ConfigRequest { file: Some(file), ..ConfigRequest::default() };
        let config = Config::load(&request, &|| Ok(home.clone()), NeededSections::All).unwrap();
        let vendor = home.vendor(&"acme".parse().unwrap());
        let failure = OpenRegistry::open(&vendor, &config, Say::nothing()).err().unwrap();
        assert!(
            failure.message().contains("acme") && failure.message().contains("built without S3"),
            "{failure}"
        );
        assert!(failure.hints()[0].contains("default features"), "{failure}");
        // A vendor without a bucket needs no S3.
        let local = home.vendor(&"local".parse().unwrap());
        assert!(OpenRegistry::open(&local, &config, Say::nothing()).is_ok());
    }
}
