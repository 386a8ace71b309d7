//! Finishes what killed pushes have left, of several vendors side by side.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use raas_base::failure::Failure;
use raas_publish::home::Vendor;
use raas_publish::publication;
use raas_publish::reading::Reading;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::output;
use crate::storage::{OpenRegistry, say_on_stderr};

/// The most vendors at once.
const AT_ONCE: usize = 16;

/// Begins to bring vendors up to date, in threads of their own. The result is ready when all of them are, or have failed. A
/// caller that waits no longer lets the threads go on.
pub(super) fn begin(vendors: Vec<Vendor>, config: &Config) -> impl Future<Output = ()> + use<> {
    let (threads, left) = (vendors.len().min(AT_ONCE), Arc::new(Mutex::new(vendors.into_iter())));
    let (running, mut ended) = mpsc::channel::<()>(1);
    for _ in 0..threads {
        let (left, config, running) = (Arc::clone(&left), config.clone(), running.clone());
        thread::spawn(move || {
            let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some(vendor) = next() {
                // The server reports a vendor that cannot be read.
                if !matches!(vendor.presence(), Reading::There(())) {
                    continue;
                }
                // A damaged vendor does not keep the others from being served. Its checkout is served as it is.
                if let Err(failure) = recover(&vendor, &config) {
                    output::error(&format!("Cannot bring vendor {} up to date:\n{failure}", vendor.name()));
                }
            }
            drop(running);
        });
    }
    // The channel closes with the last thread.
    drop(running);
    async move {
        let _ = ended.recv().await;
    }
}

/// Finishes what a push left that was killed after its commit.
fn recover(vendor: &Vendor, config: &Config) -> Result<(), Failure> {
    let open = OpenRegistry::open(vendor, config, say_on_stderr())?;
    open.remember_storage()?;
    publication::recover(&open.registry())
}
