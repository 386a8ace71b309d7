//! What this home has found out about the service behind a vendor's bucket. It is noted, so that a home asks once.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::home::Vendor;
use crate::storage::{ConditionalWrites, Storage, probe_conditional_writes};
use raas_base::failure::{Context as _, Failure};
use raas_base::files;

/// The note.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Learned {
    /// The bucket and its address: another service is asked anew.
    storage: String,
    conditional_writes: bool,
}

/// Finds out whether the service has conditional writes, and notes the answer.
///
/// # Errors
/// The service does not answer, or the note cannot be written.
pub fn learn(vendor: &Vendor, storage: &dyn Storage) -> Result<bool, Failure> {
    let conditional_writes = probe_conditional_writes(storage)?;
    let learned = Learned { storage: name(storage), conditional_writes };
    let text = serde_json::to_vec(&learned).expect("all keys are texts");
    let path = vendor.conditional_writes_note();
    files::replace(&path, &text).context(|| format!("cannot write {}", path.display()))?;
    Ok(conditional_writes)
}

/// The conditional writes of a storage, if its service is known to keep their promises. A service that was never asked is
/// asked now.
///
/// # Errors
/// As [`learn`].
pub fn conditional_writes<'a>(
    vendor: &Vendor,
    storage: &'a dyn Storage,
) -> Result<Option<&'a dyn ConditionalWrites>, Failure> {
    let Some(writes) = storage.capabilities().conditional_writes else { return Ok(None) };
    // A note that cannot be read says nothing, and the service is asked again.
    let noted = fs::read(vendor.conditional_writes_note()).ok();
    let noted = noted.and_then(|text| serde_json::from_slice::<Learned>(&text).ok());
    let has = match noted.filter(|noted| noted.storage == name(storage)) {
        Some(noted) => noted.conditional_writes,
        None => learn(vendor, storage)?,
    };
    Ok(has.then_some(writes))
}

fn name(storage: &dyn Storage) -> String {
    format!("{} {}", storage.display_name(), storage.base_url())
}
