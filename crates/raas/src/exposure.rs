//! Protected repositories whose objects everybody may read. The server asks for a login, and the bucket does not.

use std::fmt::Display;
use std::fs;
use std::io;

use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::files;
use raas_publish::catch_up;
use raas_publish::home::Vendor;
use raas_publish::publication;
use raas_types::BucketAccess;
use raas_types::crane::{Document, tree};

use crate::config::VendorSettings;
use crate::storage::OpenRegistry;

/// Settings that let everybody read the vendor's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenAccess {
    /// `access = public`.
    Bucket,
    /// `access = cdn`, and the CDN checks no token.
    Cdn,
}

impl OpenAccess {
    /// The settings' open access, if they have one.
    pub(crate) fn of(settings: &VendorSettings) -> Option<Self> {
        settings.s3_bucket.as_ref()?;
        let delivery = &settings.delivery;
        match settings.access {
            BucketAccess::Public => Some(Self::Bucket),
            BucketAccess::Cdn if delivery.akamai_secret.is_none() && delivery.cloudfront_key.is_none() => {
                Some(Self::Cdn)
            }
            BucketAccess::Cdn | BucketAccess::Presigned | BucketAccess::Proxy => None,
        }
    }

    /// The message about these protected repositories.
    pub(crate) fn message(self, vendor: &Vendor, names: &[String]) -> String {
        let setting = self.setting();
        let names = names.join(", ");
        format!(
            "{setting} of [{}] lets everybody read the manifests and layers of protected repositories: {names}",
            vendor.name()
        )
    }

    fn setting(self) -> &'static str {
        match self {
            Self::Bucket => "`access = public`",
            Self::Cdn => "`access = cdn` without a token",
        }
    }

    /// What makes the content private.
    fn change(self, vendor: &Vendor) -> String {
        match self {
            Self::Bucket => format!(
                "set `access = presigned` or `access = proxy` and run `raas setup {} --create`, which closes the bucket",
                vendor.name()
            ),
            Self::Cdn => {
                "set `cdn_akamai_secret` or `cdn_cloudfront_key`, or `access = presigned`".to_owned()
            }
        }
    }

    /// What to do about it.
    pub(crate) fn hint(self, vendor: &Vendor) -> String {
        let change = self.change(vendor);
        format!("{change}; or run `raas unprotect {} REPOSITORY` if everybody may pull it", vendor.name())
    }

    /// The failure for these protected repositories.
    pub(crate) fn failure(self, vendor: &Vendor, names: &[String]) -> Failure {
        Failure::new(Kind::Usage, self.message(vendor, names)).hint(self.hint(vendor))
    }
}

/// Refuses settings that open protected repositories of the vendor to everybody, or the names of customers.
pub(crate) fn check(vendor: &Vendor, settings: &VendorSettings) -> Result<(), Failure> {
    let Some(open) = OpenAccess::of(settings) else { return Ok(()) };
    let cannot = || format!("cannot read {}", vendor.checkout().folder().display());
    let names = protected(vendor)?;
    if !names.is_empty() {
        return Err(open.failure(vendor, &names));
    }
    if has_customers(vendor).context(cannot)? { check_new(vendor, settings, &CUSTOMERS) } else { Ok(()) }
}

/// What a setup knows of the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BucketState {
    /// Its pointer says what is published.
    Sound,
    /// It is under repair, and may have no pointer that can be read.
    Damaged,
}

/// As [`check`], for a command that is about to set up the bucket: another home may have published protected repositories
/// that this home does not know yet. The home catches up first.
pub(crate) fn check_bucket(
    vendor: &Vendor,
    open: &OpenRegistry<'_>,
    settings: &VendorSettings,
    state: BucketState,
) -> Result<(), Failure> {
    if OpenAccess::of(settings).is_none() || !open.storage().capabilities().exists()? {
        return Ok(());
    }
    let existed = vendor.exists()?;
    open.remember_storage()?;
    vendor.create(open.registry().say)?;
    let current = match state {
        BucketState::Sound => catch_up::lock_and_catch_up(&open.registry()),
        // Without the lease, nobody can know the last publication of a bucket whose pointer is damaged.
        BucketState::Damaged => publication::reconcile(&open.registry()),
    };
    let checked = current.and_then(|()| check(vendor, settings));
    if checked.is_err() && !existed {
        // The first failure is the cause.
        drop(vendor.withdraw());
    }
    checked
}

/// What everybody could read of customers.
pub(crate) const CUSTOMERS: &str = "the names of customers, which are in the metadata";

/// Refuses to protect something that everybody could read. `what` is what shall be protected.
pub(crate) fn check_new(
    vendor: &Vendor,
    settings: &VendorSettings,
    what: &dyn Display,
) -> Result<(), Failure> {
    let Some(open) = OpenAccess::of(settings) else { return Ok(()) };
    let message = format!("cannot protect {what}: {} lets everybody read the bucket", open.setting());
    Err(Failure::new(Kind::Usage, message).hint(open.change(vendor)))
}

/// Whether the last publication may have customers.
pub(crate) fn may_have_customers(vendor: &Vendor) -> bool {
    has_customers(vendor).unwrap_or(true)
}

/// Whether the vendor has customers.
fn has_customers(vendor: &Vendor) -> io::Result<bool> {
    match fs::read_dir(vendor.checkout().folder().join(tree::CUSTOMERS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        entries => Ok(entries?.next().is_some()),
    }
}

/// The vendor's own protected repositories, in order of their names. The operator's repositories have no objects here.
///
/// # Errors
/// A document cannot be read. Its repository may be protected.
pub(crate) fn protected(vendor: &Vendor) -> Result<Vec<String>, Failure> {
    let root = vendor.checkout().folder().to_owned();
    let cannot = || format!("cannot read {}", root.display());
    let mut paths = Vec::new();
    files::walk(&root, tree::DATA, &mut |path, _| {
        if path.ends_with(".json") && !tree::is_operators(path) {
            paths.push(path.to_owned());
        }
    })
    .context(cannot)?;
    let mut names = Vec::new();
    for path in paths {
        let document = match Document::parse(&fs::read(root.join(&path)).context(cannot)?) {
            Ok(document) => document,
            // The checkout follows from the record, which a repair needs no good checkout for.
            Err(_) => recorded(vendor, &path)?,
        };
        names.extend(document.protected.then(|| document.name.to_string()));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// A document of the last publication.
fn recorded(vendor: &Vendor, path: &str) -> Result<Document, Failure> {
    let record = vendor.record();
    let bytes = match record.head()? {
        Some(head) => record.read(&head, path)?,
        None => None,
    };
    Document::parse(&bytes.unwrap_or_default()).map_err(|error| {
        Failure::new(Kind::Environment, format!("cannot know whether the repository of {path} is protected"))
            .caused_by(error)
            .hint(format!(
                "run `raas setup {} --repair`, or correct the document in the record with git",
                vendor.name()
            ))
            .hint("set `access = presigned` for the repair, so that nobody can read a protected repository")
    })
}

#[cfg(test)]
mod tests {
    use raas_base::Secret;

    use super::*;

    #[test]
    fn only_a_public_bucket_and_a_cdn_without_tokens_are_open() {
        let settings = |access, bucket: bool, secret: bool| {
            let mut settings = VendorSettings {
                s3_bucket: bucket.then(|| "images".to_owned()),
                access,
                ..VendorSettings::default()
            };
            settings.delivery.akamai_secret = secret.then(|| Secret::new("ab"));
            settings
        };
        let table = [
            (BucketAccess::Public, true, false, Some(OpenAccess::Bucket)),
            (BucketAccess::Public, true, true, Some(OpenAccess::Bucket)),
            (BucketAccess::Public, false, false, None),
            (BucketAccess::Cdn, true, false, Some(OpenAccess::Cdn)),
            (BucketAccess::Cdn, true, true, None),
            (BucketAccess::Presigned, true, false, None),
            (BucketAccess::Proxy, true, false, None),
        ];
        for (access, bucket, secret, expected) in table {
            assert_eq!(
                OpenAccess::of(&settings(access, bucket, secret)),
                expected,
                "{access:?} {bucket} {secret}"
            );
        }
    }
}
