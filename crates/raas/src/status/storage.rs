//! The check of a vendor's storage, which decides whether the other checks may use the storage.

use super::Check;
use crate::config::Config;
use raas_publish::home::Vendor;
use raas_publish::storage::{Storage, StorageError, probe};

use crate::storage;

/// The storage after its check.
pub(super) enum CheckedStorage {
    /// The storage answers requests, if only with errors.
    Answers(Box<dyn Storage>),
    /// The storage does not answer. Each further request would wait as long as the first.
    Silent,
    /// The storage cannot be opened. Its own check says why.
    Unopened,
}

impl CheckedStorage {
    /// Makes checks that need the storage. If the storage does not answer, the checks with these names fail without
    /// being made.
    pub(super) fn check(
        &self,
        names: &[&'static str],
        checks: impl FnOnce(&dyn Storage) -> Vec<Check>,
    ) -> Vec<Check> {
        let not_checked = |name: &&'static str| {
            Check::failed(name, "not checked: the storage does not answer", "repair the storage first")
        };
        match self {
            CheckedStorage::Answers(storage) => checks(storage.as_ref()),
            CheckedStorage::Silent => names.iter().map(not_checked).collect(),
            CheckedStorage::Unopened => Vec::new(),
        }
    }
}

/// Checks the storage of a vendor. All checks together wait about 12 s for a service that hangs. With `deep`, the other
/// checks read every byte, which may take long. So they get a storage with the usual time limits, if this check is
/// good.
pub(super) fn check(vendor: &Vendor, config: &Config, deep: bool) -> (Check, CheckedStorage) {
    let say = storage::say_on_stderr();
    let storage = match storage::open_in_a_hurry(vendor, config, &say) {
        Ok(storage) => storage,
        Err(failure) => return (Check::unable("storage", &failure), CheckedStorage::Unopened),
    };
    let name = storage.display_name();
    match try_storage(storage.as_ref()) {
        Ok(()) => {
            let found = format!("{name} can be written, read, listed and deleted from");
            let warnings = storage.capabilities().warnings();
            let check = if warnings.is_empty() {
                Check::ok("storage", found)
            } else {
                Check::warning("storage", found).details(warnings)
            };
            let patient = if deep { storage::open(vendor, config, &say) } else { Ok(storage) };
            (check, patient.map_or(CheckedStorage::Unopened, CheckedStorage::Answers))
        }
        Err(error) => {
            let silent = error.is_unanswered();
            let hint = format!("check the disk and the permissions of {name}");
            let check = Check::unable("storage", &error.or_hint(hint).into());
            (check, if silent { CheckedStorage::Silent } else { CheckedStorage::Answers(storage) })
        }
    }
}

/// Writes, reads, lists and deletes a probe. Also checks for access that somebody granted after the setup, such as
/// writing for everybody.
fn try_storage(storage: &dyn Storage) -> Result<(), StorageError> {
    storage.ping()?;
    probe(storage)?;
    storage.capabilities().prepare(false).map(drop)
}

#[cfg(test)]
mod tests {
    use raas_testkit::s3::{Fault, Server, What};

    use super::*;
    use crate::config::{ConfigRequest, NeededSections};
    use crate::status::{self, Outcome};
    use raas_base::Say;
    use raas_publish::catch_up;
    use raas_publish::home::Home;
    use raas_publish::registry::Registry;

    /// A home with a vendor whose bucket is in this service.
    fn vendor_of(server: &Server, folder: &std::path::Path) -> (Home, Config) {
        let home = Home::new(Some(folder.join("home"))).unwrap();
        let file = folder.join("raas.cfg");
        let text = format!(
            "[aws]\naws_access_key_id = KEY\naws_secret_access_key = secret\n[acme]\ns3_bucket = shared\n\
             s3_path_style = yes\ns3_stall_timeout = 1\ns3_endpoint = {}\n",
            server.url()
        );
        std::fs::write(&file, text).unwrap();
        let asked = ConfigRequest { file: Some(file), ..ConfigRequest::default() };
        let config = Config::load(&asked, &|| Ok(home.clone()), NeededSections::All).unwrap();
        home.vendor(&"acme".parse().unwrap()).create(&raas_base::Say::nothing()).unwrap();
        (home, config)
    }

    #[test]
    fn a_service_that_always_fails_is_reported_soon() {
        for what in [What::Refuse(500, "InternalError"), What::Refuse(503, "SlowDown"), What::Later(429, 60)]
        {
            let folder = tempfile::tempdir().unwrap();
            let server = Server::new(&["shared"]);
            let (home, config) = vendor_of(&server, folder.path());
            server.fail(Fault::always("*", what.clone()));
            let begun = std::time::Instant::now();
            let status = status::check(&home, &config, &"acme".parse().unwrap(), None, None);
            assert!(!status.healthy);
            // Each request is tried twice, and a pause that the service asks for is short.
            let limit = if matches!(what, What::Later(..)) { 15 } else { 5 };
            assert!(begun.elapsed().as_secs() < limit, "{what:?}: {:?}", begun.elapsed());
        }
    }

    #[test]
    fn a_service_that_does_not_answer_gets_no_further_requests() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::new(&["shared"]);
        let (home, config) = vendor_of(&server, folder.path());
        let name = "acme".parse().unwrap();
        let vendor = home.vendor(&name);
        server.fail(Fault::always("*", What::Reset));
        let status = status::check(&home, &config, &name, None, None);
        let found = |name: &str| status.checks.iter().find(|check| check.name == name).unwrap();
        assert!(found("storage").found.contains("does not answer"), "{:?}", status.checks);
        for name in ["snapshot", "images"] {
            let check = found(name);
            assert_eq!(check.outcome, Outcome::Failed);
            assert!(check.found.starts_with("not checked: "), "{}", check.found);
        }
        assert_eq!(found("record").outcome, Outcome::Ok, "the check of the record needs no service");
        assert_eq!(server.asked().len(), 2, "{:?}", server.asked());
        // Catching up sends no further requests either.
        server.forget();
        let say = Say::nothing();
        let storage = storage::s3::open(&vendor, &config, &say, storage::s3::Hurry::Yes).unwrap();
        let registry = Registry { vendor: &vendor, storage: storage.as_ref(), shared: true, say: &say };
        let failed = catch_up::try_catch_up(&registry).unwrap_err().to_string();
        assert!(failed.contains("does not answer"), "{failed}");
        assert_eq!(server.asked().len(), 2, "{:?}", server.asked());
        // A service that refuses a request answers, so the other checks are made.
        server.behave();
        server.fail(Fault::always("*", What::Refuse(403, "AccessDenied")));
        let status = status::check(&home, &config, &name, None, None);
        let checked = |check: &Check| !check.found.contains("not checked");
        assert!(!status.healthy && status.checks.iter().all(checked), "{:?}", status.checks);
    }
}
