//! Opens the storage of a vendor for a command.

#[cfg(feature = "s3")]
pub(crate) mod s3;
#[cfg(not(feature = "s3"))]
#[path = "storage/without_s3.rs"]
pub(crate) mod s3;

use raas_base::Say;
use raas_base::failure::Failure;
use raas_publish::catch_up;
use raas_publish::home::Vendor;
use raas_publish::registry::Registry;
use raas_publish::storage::{Directory, Storage};

use crate::config::Config;
use crate::output;

/// A vendor with its open storage.
pub(crate) struct OpenRegistry<'a> {
    vendor: &'a Vendor,
    storage: Box<dyn Storage>,
    shared: bool,
    say: Say,
}

impl<'a> OpenRegistry<'a> {
    /// Opens the storage of a vendor: the bucket that its section of the configuration names, or the folder in the home.
    ///
    /// # Errors
    /// The configuration contradicts itself. Opening sends no request, so a service that does not answer is no error yet.
    pub(crate) fn open(vendor: &'a Vendor, config: &Config, say: Say) -> Result<Self, Failure> {
        let storage = open(vendor, config, &say)?;
        Ok(Self { vendor, storage, shared: config.is_shared(vendor.name()), say })
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        self.storage.as_ref()
    }

    /// The registry for the functions of `raas-publish`.
    pub(crate) fn registry(&self) -> Registry<'_> {
        let Self { vendor, storage, shared, say } = self;
        Registry { vendor, storage: storage.as_ref(), shared: *shared, say }
    }
}

/// Prints lines to standard error.
pub(crate) fn say_on_stderr() -> Say {
    Say::new(output::error)
}

/// The vendor's storage.
///
/// # Errors
/// As [`OpenRegistry::open`].
pub(crate) fn open(vendor: &Vendor, config: &Config, say: &Say) -> Result<Box<dyn Storage>, Failure> {
    open_with(vendor, config, say, s3::Hurry::No)
}

/// As [`open`], for a command that may do without the storage and must not wait long for it.
pub(crate) fn open_in_a_hurry(
    vendor: &Vendor,
    config: &Config,
    say: &Say,
) -> Result<Box<dyn Storage>, Failure> {
    open_with(vendor, config, say, s3::Hurry::Yes)
}

fn open_with(
    vendor: &Vendor,
    config: &Config,
    say: &Say,
    hurry: s3::Hurry,
) -> Result<Box<dyn Storage>, Failure> {
    match &config.vendor(vendor.name()).s3_bucket {
        Some(_) => s3::open(vendor, config, say, hurry),
        None => Ok(Box::new(Directory::new(vendor.bucket()))),
    }
}

/// Takes in what other homes have published to the vendor's bucket, for a command that only reads. If the bucket does not
/// answer, the command prints a note and goes on with what this home knows.
pub(crate) fn refresh_or_say(vendor: &Vendor, config: &Config) {
    if !config.is_shared(vendor.name()) {
        return;
    }
    let say = say_on_stderr();
    let refreshed = s3::open(vendor, config, &say, s3::Hurry::Yes).and_then(|storage| {
        catch_up::try_catch_up(&Registry { vendor, storage: storage.as_ref(), shared: true, say: &say })
    });
    if let Err(failure) = refreshed {
        let mut text = format!(
            "Note: {} may have newer publications of other homes; {}",
            vendor.name(),
            failure.message()
        );
        failure.causes().iter().for_each(|cause| text.push_str(&format!("\n  because: {cause}")));
        failure.hints().iter().for_each(|hint| text.push_str(&format!("\nhint: {hint}")));
        output::error(&text);
    }
}
