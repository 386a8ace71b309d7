//! Where a static registry is stored.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use raas_base::Say;
use raas_base::failure::{Failure, Kind};
use raas_publish::home::Vendor;
use raas_publish::storage::{Directory, Storage};

use crate::config::Config;
use crate::storage::s3;

/// Where a static registry is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Folder(PathBuf),
    Bucket {
        bucket: String,
        /// The beginning of all keys, without a slash at the end.
        prefix: Option<String>,
    },
}

/// Why a text names no place.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` names no bucket; expected s3://BUCKET or s3://BUCKET/PREFIX")]
pub(crate) struct TargetError(String);

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let Some(rest) = text.strip_prefix("s3://") else { return Ok(Self::Folder(text.into())) };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(TargetError(text.to_owned()));
        }
        let prefix = Some(prefix.trim_matches('/').to_owned()).filter(|prefix| !prefix.is_empty());
        Ok(Self::Bucket { bucket: bucket.to_owned(), prefix })
    }
}

impl Target {
    /// Opens the place. A missing folder is made when the first object is stored.
    ///
    /// # Errors
    /// The place is the vendor's own storage, or cannot be used.
    pub(super) fn open(
        &self,
        vendor: &Vendor,
        config: &Config,
        say: &Say,
    ) -> Result<Box<dyn Storage>, Failure> {
        self.check(vendor, config)?;
        match self {
            Self::Folder(folder) => Ok(Box::new(Directory::new(folder.clone()))),
            Self::Bucket { bucket, prefix } => {
                let storage = s3::open_other(vendor, config, (bucket, prefix.as_deref()), say)?;
                if !storage.capabilities().exists()? {
                    let message = format!("the service of the vendor's bucket has no bucket {bucket}");
                    return Err(Failure::new(Kind::Environment, message).hint(format!(
                        "make it, `aws s3 mb s3://{bucket}`, and let everybody read it; or correct --to"
                    )));
                }
                Ok(storage)
            }
        }
    }

    /// The folder, if it is one.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::Bucket { .. } => None,
        }
    }

    /// Refuses the vendor's own storage: `raas gc` and `raas status` would take the objects for its own.
    fn check(&self, vendor: &Vendor, config: &Config) -> Result<(), Failure> {
        let settings = config.vendor(vendor.name());
        let is_own = match self {
            Self::Folder(folder) => {
                let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
                let (own, folder) = (real(vendor.folder()), real(folder));
                folder.starts_with(&own)
            }
            Self::Bucket { bucket, prefix } => {
                settings.s3_bucket.as_ref() == Some(bucket)
                    && settings.s3_prefix.as_deref().unwrap_or_default().trim_matches('/')
                        == prefix.as_deref().unwrap_or_default()
            }
        };
        if !is_own {
            return Ok(());
        }
        Err(Failure::new(Kind::Usage, "a static registry cannot be in the vendor's own storage")
            .hint("name another folder, another bucket, or a prefix in the bucket: s3://BUCKET/PREFIX"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_a_bucket_with_a_prefix() {
        let parsed = |text: &str| text.parse::<Target>().unwrap();
        let bucket =
            |prefix: Option<&str>| Target::Bucket { bucket: "b".into(), prefix: prefix.map(str::to_owned) };
        assert_eq!(parsed("/srv/static"), Target::Folder("/srv/static".into()));
        assert_eq!(parsed("s3://b"), bucket(None));
        assert_eq!(parsed("s3://b/"), bucket(None));
        assert_eq!(parsed("s3://b/x/y/"), bucket(Some("x/y")));
    }
}
