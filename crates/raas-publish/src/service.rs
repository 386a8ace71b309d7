//! What this home has found out about the service behind a vendor's bucket. It is noted, so that a home asks rarely.
//!
//! A service may lose its conditional writes: another program answers at the same address, or a proxy drops the condition.
//! A holder of the lease that stood still would then not notice that its renewal puts back a lease that another home has
//! reclaimed. So the answer counts for thirty days only, and for one bucket at one address only.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::home::Vendor;
use crate::registry::Registry;
use crate::storage::{ConditionalWrites, Storage, probe_conditional_writes};
use raas_base::failure::{Context as _, Failure};
use raas_base::files;

/// How long an answer counts.
const COUNTS: Duration = Duration::from_secs(30 * 24 * 3600);

/// The note.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Learned {
    /// The bucket and its address: another service is asked anew.
    storage: String,
    conditional_writes: bool,
    /// When the service was asked, in seconds since 1970. An older raas did not note it.
    #[serde(default)]
    asked: u64,
}

impl Learned {
    /// The note of a vendor about this storage. A note that cannot be read says nothing, and the service is asked again.
    fn read(vendor: &Vendor, storage: &dyn Storage) -> Option<Self> {
        let text = fs::read(vendor.conditional_writes_note()).ok()?;
        let noted: Self = serde_json::from_slice(&text).ok()?;
        (noted.storage == name(storage)).then_some(noted)
    }

    /// Whether the answer still counts. A time in the future is a wrong clock's, and does not.
    fn counts(&self) -> bool {
        seconds_now().checked_sub(self.asked).is_some_and(|age| age < COUNTS.as_secs())
    }
}

/// Finds out whether the service has conditional writes, and notes the answer.
///
/// # Errors
/// The service does not answer, or the note cannot be written.
pub fn learn(vendor: &Vendor, storage: &dyn Storage) -> Result<bool, Failure> {
    let conditional_writes = probe_conditional_writes(storage)?;
    let learned = Learned { storage: name(storage), conditional_writes, asked: seconds_now() };
    let text = serde_json::to_vec(&learned).expect("all keys are texts");
    let path = vendor.conditional_writes_note();
    files::replace(&path, &text).context(|| format!("cannot write {}", path.display()))?;
    Ok(conditional_writes)
}

/// The conditional writes of a storage, if its service is known to keep their promises. A service that was never asked, or
/// not for thirty days, is asked now. A line says it if a service has lost them.
///
/// # Errors
/// As [`learn`].
pub fn conditional_writes<'a>(registry: &Registry<'a>) -> Result<Option<&'a dyn ConditionalWrites>, Failure> {
    let Registry { vendor, storage, say, .. } = *registry;
    let Some(writes) = storage.capabilities().conditional_writes else { return Ok(None) };
    let noted = Learned::read(vendor, storage);
    let has = match &noted {
        Some(noted) if noted.counts() => noted.conditional_writes,
        Some(_) | None => learn(vendor, storage)?,
    };
    if noted.is_some_and(|noted| noted.conditional_writes) && !has {
        say.line(&format!(
            "Note: {} has no conditional writes any more: after a run is killed, other homes can publish within five minutes",
            storage.display_name()
        ));
    }
    Ok(has.then_some(writes))
}

fn name(storage: &dyn Storage) -> String {
    format!("{} {}", storage.display_name(), storage.base_url())
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_thirty_days() {
        let now = seconds_now();
        let day = 24 * 3600;
        for (asked, counts) in
            [(now, true), (now - 29 * day, true), (now - 31 * day, false), (0, false), (now + day, false)]
        {
            let learned = Learned { storage: "x".into(), conditional_writes: true, asked };
            assert_eq!(learned.counts(), counts, "{asked}");
        }
        // An older raas noted no time.
        let older: Learned = serde_json::from_str(r#"{"storage":"x","conditional_writes":true}"#).unwrap();
        assert!(!older.counts());
    }
}
