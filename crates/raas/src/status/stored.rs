//! The check of a vendor's storage, and whether the other checks may ask it anything.

use super::Check;
use crate::config::Config;
use raas_publish::home::Vendor;
use raas_publish::storage::{Storage, StorageError, probe};

use crate::storage;

/// What the check of the storage leaves to the others.
pub(super) enum Stored {
    /// It does what it should, or says why not.
    Answers(Box<dyn Storage>),
    /// It does not answer: each further question would wait as long as the first, and come to the same.
    Silent,
    /// It cannot be opened, which is told of once.
    Unopened,
}

impl Stored {
    /// Makes checks of these names that need it, or says that they were not made.
    pub(super) fn ask(
        &self,
        names: &[&'static str],
        checks: impl FnOnce(&dyn Storage) -> Vec<Check>,
    ) -> Vec<Check> {
        let not_checked = |name: &&'static str| {
            Check::failed(name, "not checked: the storage does not answer", "see to the storage first")
        };
        match self {
            Stored::Answers(storage) => checks(storage.as_ref()),
            Stored::Silent => names.iter().map(not_checked).collect(),
            Stored::Unopened => Vec::new(),
        }
    }
}

/// Checks it.
pub(super) fn check(vendor: &Vendor, config: &Config) -> (Check, Stored) {
    let storage = match storage::open(vendor, config, &storage::say_on_stderr()) {
        Ok(storage) => storage,
        Err(failure) => return (Check::unable("storage", &failure), Stored::Unopened),
    };
    let place = storage.display_name();
    match try_out(storage.as_ref()) {
        Ok(()) => {
            let found = format!("{place} can be written, read, listed and cleaned");
            let warnings = storage.capabilities().warnings();
            let check = if warnings.is_empty() {
                Check::ok("storage", found)
            } else {
                Check::warning("storage", found).details(warnings)
            };
            (check, Stored::Answers(storage))
        }
        Err(error) => {
            let silent = error.is_unanswered();
            let hint = format!("see to the disk and the permissions of {place}");
            let check = Check::unable("storage", &error.or_hint(hint).into());
            (check, if silent { Stored::Silent } else { Stored::Answers(storage) })
        }
    }
}

/// Also whether everybody may write there, which may have come about since it was set up.
fn try_out(storage: &dyn Storage) -> Result<(), StorageError> {
    storage.ping()?;
    probe(storage)?;
    storage.capabilities().prepare(false).map(drop)
}

#[cfg(test)]
mod tests {
    use raas_testkit::s3::{Fault, Server, What};

    use super::*;
    use crate::config::Asked;
    use crate::status::{self, Outcome};
    use raas_base::Say;
    use raas_publish::catch_up;
    use raas_publish::home::Home;
    use raas_publish::registry::Registry;

    #[test]
    fn a_service_that_does_not_answer_is_asked_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(Some(folder.path().join("home"))).unwrap();
        let server = Server::new(&["shared"]);
        let file = folder.path().join("raas.cfg");
        let text = format!(
            "[aws]\naws_access_key_id = KEY\naws_secret_access_key = secret\n[acme]\ns3_bucket = shared\n\
             s3_path_style = yes\ns3_endpoint = {}\n",
            server.url()
        );
        std::fs::write(&file, text).unwrap();
        let asked = Asked { file: Some(file), ..Asked::default() };
        let config = Config::load(&asked, &|| Ok(home.clone())).unwrap();
        let name = "acme".parse().unwrap();
        let vendor = home.vendor(&name);
        vendor.create().unwrap();
        server.fail(Fault::always("*", What::Reset));
        let status = status::check(&home, &config, &name, None, None);
        let found = |name: &str| status.checks.iter().find(|check| check.name == name).unwrap();
        assert!(found("storage").found.contains("does not answer"), "{:?}", status.checks);
        for name in ["snapshot", "images"] {
            let check = found(name);
            assert_eq!(check.outcome, Outcome::Failed);
            assert!(check.found.starts_with("not checked: "), "{}", check.found);
        }
        assert_eq!(found("record").outcome, Outcome::Ok, "what this home knows needs no service");
        assert_eq!(server.asked().len(), 2, "{:?}", server.asked());
        // So it is with what a command would like to know besides.
        server.forget();
        let say = Say::nothing();
        let storage = storage::s3::open(&vendor, &config, &say, storage::s3::Hurry::Yes).unwrap();
        let registry = Registry { vendor: &vendor, storage: storage.as_ref(), shared: true, say: &say };
        let failed = catch_up::try_catch_up(&registry).unwrap_err().to_string();
        assert!(failed.contains("does not answer"), "{failed}");
        assert_eq!(server.asked().len(), 2, "{:?}", server.asked());
        // One that refuses has answered, and may answer to something else.
        server.behave();
        server.fail(Fault::always("*", What::Refuse(403, "AccessDenied")));
        let status = status::check(&home, &config, &name, None, None);
        let checked = |check: &Check| !check.found.contains("not checked");
        assert!(!status.healthy && status.checks.iter().all(checked), "{:?}", status.checks);
    }
}
