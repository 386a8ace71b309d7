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
use raas_publish::storage_note::{HOME_STORAGE, StorageNote};

use crate::config::{Config, VendorSettings};
use crate::output;

/// A vendor with its open storage.
pub(crate) struct OpenRegistry<'a> {
    vendor: &'a Vendor,
    storage: Box<dyn Storage>,
    shared: bool,
    note: StorageNote,
    say: Say,
}

impl<'a> OpenRegistry<'a> {
    /// Opens the storage of a vendor: the bucket that its section of the configuration names, or the folder in the home.
    ///
    /// # Errors
    /// The vendor's objects are in another storage, or the configuration contradicts itself. Opening sends no request, so a
    /// service that does not answer is no error yet.
    pub(crate) fn open(vendor: &'a Vendor, config: &Config, say: Say) -> Result<Self, Failure> {
        storage_note(vendor, config).check(vendor)?;
        Self::open_unchecked(vendor, config, say)
    }

    /// As [`open`](Self::open), but the objects of the vendor may be in another storage: for `raas setup`.
    pub(crate) fn open_unchecked(vendor: &'a Vendor, config: &Config, say: Say) -> Result<Self, Failure> {
        let storage = open_storage(vendor, config, &say, s3::Hurry::No)?;
        let note = storage_note(vendor, config);
        Ok(Self { vendor, storage, shared: config.is_shared(vendor.name()), note, say })
    }

    /// Remembers the storage in the home as the vendor's. Commands that write call it.
    pub(crate) fn remember_storage(&self) -> Result<(), Failure> {
        self.note.remember(self.vendor)
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        self.storage.as_ref()
    }

    /// The registry for the functions of `raas-publish`.
    pub(crate) fn registry(&self) -> Registry<'_> {
        let Self { vendor, storage, shared, say, .. } = self;
        Registry { vendor, storage: storage.as_ref(), shared: *shared, say }
    }
}

/// Prints lines to standard error.
pub(crate) fn say_on_stderr() -> Say {
    Say::new(output::note)
}

/// The vendor's storage.
///
/// # Errors
/// As [`OpenRegistry::open`].
pub(crate) fn open(vendor: &Vendor, config: &Config, say: &Say) -> Result<Box<dyn Storage>, Failure> {
    storage_note(vendor, config).check(vendor)?;
    open_storage(vendor, config, say, s3::Hurry::No)
}

/// Checks the settings of a vendor's storage, as each command does that opens it. Nothing is asked of the storage.
///
/// # Errors
/// The settings contradict each other.
pub(crate) fn check_settings(vendor: &Vendor, config: &Config) -> Result<(), Failure> {
    open_storage(vendor, config, &Say::nothing(), s3::Hurry::No).map(drop)
}

/// As [`open`], for a command that may do without the storage and must not wait long for it.
pub(crate) fn open_in_a_hurry(
    vendor: &Vendor,
    config: &Config,
    say: &Say,
) -> Result<Box<dyn Storage>, Failure> {
    storage_note(vendor, config).check(vendor)?;
    open_storage(vendor, config, say, s3::Hurry::Yes)
}

/// Refuses a vendor whose objects are in another storage than the configuration says.
///
/// # Errors
/// The objects are elsewhere.
pub(crate) fn check_storage(vendor: &Vendor, config: &Config) -> Result<(), Failure> {
    storage_note(vendor, config).check(vendor)
}

/// The storage that the home remembers for a vendor, if the configuration says another one. A server asks often.
pub(crate) fn other_storage(vendor: &Vendor, config: &Config) -> Result<Option<StorageNote>, Failure> {
    storage_note(vendor, config).differs_from_noted(vendor)
}

/// The storage that the configuration says, as the home remembers it.
fn storage_note(vendor: &Vendor, config: &Config) -> StorageNote {
    StorageNote {
        storage: name_of_storage(&config.vendor(vendor.name())),
        configuration: config.origin.clone(),
    }
}

/// What makes a storage another one: the bucket, the beginning of the keys, and the service.
fn name_of_storage(settings: &VendorSettings) -> String {
    let Some(bucket) = &settings.s3_bucket else { return HOME_STORAGE.to_owned() };
    let prefix = settings.s3_prefix.as_ref().map(|prefix| format!("/{prefix}")).unwrap_or_default();
    let service = settings.s3_endpoint.as_deref().unwrap_or("AWS");
    format!("s3://{bucket}{prefix} of {service}")
}

fn open_storage(
    vendor: &Vendor,
    config: &Config,
    say: &Say,
    hurry: s3::Hurry,
) -> Result<Box<dyn Storage>, Failure> {
    match &config.vendor(vendor.name()).s3_bucket {
        Some(_) => s3::open(vendor, config, say, hurry),
        None => {
            // A vendor that is set up has its objects in the home already.
            if vendor.is_absent() {
                config.check_bucket_is_named(vendor.name())?;
            }
            Ok(Box::new(Directory::new(vendor.bucket())))
        }
    }
}

/// Takes in what other homes have published to the vendor's bucket, for a command that only reads. If the bucket does not
/// answer, the command prints a note and goes on with what this home knows.
pub(crate) fn refresh_or_say(vendor: &Vendor, config: &Config) {
    if let Err(failure) = refresh(vendor, config) {
        let mut text = format!(
            "Note: {} may have newer publications of other homes; {}",
            vendor.name(),
            failure.message()
        );
        failure.causes().iter().for_each(|cause| text.push_str(&format!("\n  because: {cause}")));
        failure.hints().iter().for_each(|hint| text.push_str(&format!("\nhint: {hint}")));
        output::note(&text);
    }
}

fn refresh(vendor: &Vendor, config: &Config) -> Result<(), Failure> {
    check_storage(vendor, config)?;
    if !config.is_shared(vendor.name()) {
        return Ok(());
    }
    let say = say_on_stderr();
    let storage = s3::open(vendor, config, &say, s3::Hurry::Yes)?;
    catch_up::try_catch_up(&Registry { vendor, storage: storage.as_ref(), shared: true, say: &say })
}
