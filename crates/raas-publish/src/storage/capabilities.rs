//! What only some storages can do, as extension traits of [`Storage`](super::Storage).

use std::time::SystemTime;

use raas_types::ObjectKey;

use super::{ConditionalWrites, StorageError};

/// What a storage can do beyond [`Storage`](super::Storage). A capability that is `None` is missing; the methods then do
/// what is right without it.
#[derive(Clone, Copy, Default)]
pub struct Capabilities<'a> {
    /// How many layers the storage takes at once.
    pub upload_limits: UploadLimits,
    /// Makes a bucket and sets it up. A folder needs no setup.
    pub provision: Option<&'a dyn Provision>,
    /// What the storage knows of the service behind it. A folder has no service.
    pub service: Option<&'a dyn ServiceStatus>,
    /// Replaces objects if the run is interrupted. Without it, an interrupted run leaves them as they are.
    pub interrupt_guard: Option<&'a dyn InterruptGuard>,
    /// Sends writes with conditions. The service may ignore the conditions:
    /// [`probe_conditional_writes`](super::probe_conditional_writes) finds that out.
    pub conditional_writes: Option<&'a dyn ConditionalWrites>,
}

/// How many layers to upload at once. More of them would only share the same disk or line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimits {
    /// Layers of one upload each.
    pub single: usize,
    /// Layers of two uploads each, one as the layer is and one packed. More of them could wait for one another's memory
    /// for ever.
    pub pairs: usize,
}

impl Default for UploadLimits {
    fn default() -> Self {
        Self { single: 6, pairs: 4 }
    }
}

/// Making a storage and setting it up as the configuration says.
pub trait Provision {
    /// Whether the bucket exists.
    ///
    /// # Errors
    /// The service does not say.
    fn exists(&self) -> Result<bool, StorageError>;

    /// Checks that the storage is there. With `create` it makes a missing bucket and sets it up. Returns a line for each
    /// thing that it did or found.
    ///
    /// # Errors
    /// The bucket is missing and `create` is not set, or everybody may write to it.
    fn prepare(&self, create: bool) -> Result<Vec<String>, StorageError>;
}

/// What a storage has learned about the service behind it.
pub trait ServiceStatus {
    /// How many requests were sent so far, with all repetitions.
    fn requests(&self) -> u64;

    /// What a person should know about the service: a line each.
    fn warnings(&self) -> Vec<String>;

    /// The time by the service's clock, as its last answer showed it.
    fn now(&self) -> SystemTime;
}

/// Replacing objects if the run is interrupted.
pub trait InterruptGuard {
    /// From now on, an interruption stores `content` under `replacement` and removes `key` before the program ends.
    fn replace_on_interrupt(&self, key: &ObjectKey, replacement: &ObjectKey, content: &[u8]);

    /// From now on, an interruption leaves the object `key` as it is.
    fn leave_on_interrupt(&self, key: &ObjectKey);
}

impl Capabilities<'_> {
    /// As [`Provision::exists`]; a storage that needs no setup is always there.
    pub fn exists(&self) -> Result<bool, StorageError> {
        self.provision.map_or(Ok(true), Provision::exists)
    }

    /// As [`Provision::prepare`]; does nothing for a storage that needs no setup.
    pub fn prepare(&self, create: bool) -> Result<Vec<String>, StorageError> {
        self.provision.map_or_else(|| Ok(Vec::new()), |provision| provision.prepare(create))
    }

    /// As [`ServiceStatus::requests`]; `None` if there is no service.
    pub fn requests(&self) -> Option<u64> {
        self.service.map(ServiceStatus::requests)
    }

    /// As [`ServiceStatus::warnings`]; none if there is no service.
    pub fn warnings(&self) -> Vec<String> {
        self.service.map(ServiceStatus::warnings).unwrap_or_default()
    }

    /// The time by the clock of [`ObjectMeta::modified`](super::ObjectMeta::modified).
    pub fn now(&self) -> SystemTime {
        self.service.map_or_else(SystemTime::now, ServiceStatus::now)
    }

    /// As [`InterruptGuard::replace_on_interrupt`], if the storage can do that.
    pub fn replace_on_interrupt(&self, key: &ObjectKey, replacement: &ObjectKey, content: &[u8]) {
        if let Some(guard) = self.interrupt_guard {
            guard.replace_on_interrupt(key, replacement, content);
        }
    }

    /// As [`InterruptGuard::leave_on_interrupt`], if the storage can do that.
    pub fn leave_on_interrupt(&self, key: &ObjectKey) {
        if let Some(guard) = self.interrupt_guard {
            guard.leave_on_interrupt(key);
        }
    }
}
