//! The content of a lease object: the run that holds the lease, and the repositories that it changes.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::time::SystemTime;

use raas_types::{ObjectKey, RepositoryName, Utc};
use serde::{Deserialize, Serialize};

use crate::reading::Reading;
use crate::storage::{PutOptions, Storage, StorageError};
use raas_base::failure::{Failure, Kind};

/// The longest lease object that is read, in bytes.
const MAX_SIZE: u64 = 4096;

/// A run that publishes, or waits for its lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaseHolder {
    /// The machine's name, for people.
    pub host: String,
    /// The id of the process there, for people.
    pub process: u32,
    /// When the run began to wait, by its own clock, for people.
    pub since: String,
    /// How many seconds the lease lasts without a renewal. An older raas does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lease: Option<u64>,
    /// The repositories whose objects the run may leave half changed.
    #[serde(default)]
    pub repositories: BTreeSet<RepositoryName>,
    /// Whether that may be any repository: the run has reclaimed a lease that it could not read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_repository: bool,
}

impl LeaseHolder {
    /// This process, which changes this repository.
    pub fn new(repository: Option<&RepositoryName>) -> Self {
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            process: std::process::id(),
            since: Utc::of(SystemTime::now()).to_string(),
            lease: None,
            repositories: repository.into_iter().cloned().collect(),
            any_repository: false,
        }
    }

    pub(super) fn content(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a holder has text keys only")
    }

    /// Stores the lease object of this holder.
    pub(super) fn write(&self, storage: &dyn Storage, key: &ObjectKey) -> Result<(), StorageError> {
        let content = self.content();
        let mut upload = storage.create(PutOptions::of(key, content.len() as u64))?;
        upload.write_all(&content).map_err(|error| StorageError::writing(key, error))?;
        upload.commit(key)
    }

    /// Reads a lease object.
    ///
    /// # Errors
    /// The storage fails. Then nobody can know which repositories the holder leaves half changed.
    pub(super) fn read(storage: &dyn Storage, key: &str) -> Result<Reading<Self>, StorageError> {
        let unreadable = |cause: Box<dyn Error + Send + Sync>| {
            Reading::Unreadable(
                Failure::new(Kind::Environment, format!("{key} is no lease")).caused_by(cause),
            )
        };
        let Some(name) = key.strip_prefix(ObjectKey::PUBLISH_LEASES) else {
            return Ok(unreadable("its key".into()));
        };
        let Some(content) = storage.read(&ObjectKey::PublishLease(name.to_owned()))? else {
            return Ok(Reading::Absent);
        };
        let mut bytes = Vec::new();
        let read = content.take(MAX_SIZE).read_to_end(&mut bytes);
        read.map_err(|error| StorageError::reading(&key, error))?;
        Ok(serde_json::from_slice(&bytes).map_or_else(|error| unreadable(error.into()), Reading::There))
    }
}

/// Describes the holder of a lease object for people.
pub(super) fn describe(storage: &dyn Storage, key: &str) -> String {
    match LeaseHolder::read(storage, key) {
        Ok(Reading::There(holder)) => {
            format!("process {} of {}, since {}", holder.process, holder.host, holder.since)
        }
        Ok(Reading::Absent | Reading::Unreadable(_)) | Err(_) => "another home".to_owned(),
    }
}
