//! The registration of a running server. It is made again if it is lost, for example together with the home.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use raas_platform::ServerRegistration;
use raas_platform::registration::{self, Registered};
use raas_publish::home::Home;

use crate::output;

/// How often the server looks whether its registration is still there.
const EVERY: Duration = Duration::from_secs(1);

/// The registration of this server, for as long as this value lives.
pub(in crate::commands::serve) struct KeptRegistration {
    kept: Arc<Kept>,
}

struct Kept {
    home: Home,
    server: ServerRegistration,
    /// `None` while the home cannot be written.
    registered: Mutex<Option<Registered>>,
}

impl KeptRegistration {
    /// Registers the server. The disk may be full, or read-only: clients do not need the registration, and the server tries
    /// again.
    pub(super) fn begin(home: &Home, server: ServerRegistration) -> Self {
        let kept = Arc::new(Kept { home: home.clone(), server, registered: Mutex::default() });
        if let Err(error) = kept.register() {
            output::warning(&format!(
                "Note: other commands of this machine do not find this server, and a push does not wait for it: \
                 cannot register it in {}: {error}",
                home.servers().display()
            ));
        }
        let weak = Arc::downgrade(&kept);
        thread::spawn(move || keep(&weak));
        Self { kept }
    }

    /// Removes the registration.
    pub(in crate::commands::serve) fn end(self) {
        drop(self.kept);
    }
}

/// Registers the server again whenever the registration is lost.
fn keep(kept: &Weak<Kept>) {
    loop {
        thread::sleep(EVERY);
        let Some(kept) = kept.upgrade() else { return };
        // The next round tries again. A home that is gone is not made: an operator may be about to put it back.
        if kept.home.root().is_dir() {
            let _ = kept.register();
        }
    }
}

impl Kept {
    fn register(&self) -> std::io::Result<()> {
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        if registered.as_ref().is_none_or(|registered| !registered.is_there()) {
            *registered = Some(registration::register(&self.home.servers(), &self.server)?);
        }
        Ok(())
    }
}
