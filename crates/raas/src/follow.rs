//! Takes in what other homes publish to the buckets of a home's vendors, while a server of the home runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use raas_types::VendorName;

use crate::config::Config;
use crate::exposure;
use crate::output;
use raas_base::Say;
use raas_base::failure::Failure;
use raas_publish::catch_up;
use raas_publish::home::{Home, Vendor};
use raas_publish::reading::Reading;
use raas_publish::registry::Registry;
use raas_publish::storage::Storage;

use crate::storage;

/// The pause between two looks at a vendor with customers. What another home has revoked must end soon.
const EVERY: Duration = Duration::from_millis(600);

/// Every so many rounds, vendors without customers are asked too, and new vendors are looked for.
const ALL: u32 = 16;

/// Follows the vendors in `only`, or all vendors of a home if it is empty, for as long as the process lives. Does
/// nothing if no vendor has a bucket. Each vendor has a thread, so that a bucket that does not answer delays no other vendor.
pub(crate) fn others(home: &Home, config: &Config, only: &[VendorName]) {
    if !config.has_buckets() {
        return;
    }
    let (home, config, only) = (home.clone(), Arc::new(config.clone()), only.to_vec());
    thread::spawn(move || {
        let mut followed = BTreeSet::new();
        loop {
            // The server reports a home that cannot be read.
            for vendor in home.vendors().into_iter().flatten() {
                let is_wanted = only.is_empty() || only.contains(vendor.name());
                if !(is_wanted && config.is_shared(vendor.name())) || followed.contains(vendor.name()) {
                    continue;
                }
                let (home, config, name) = (home.clone(), Arc::clone(&config), vendor.name().clone());
                let begun = thread::Builder::new().spawn(move || follow(&home, vendor.name(), &config));
                match begun {
                    Ok(_) => drop(followed.insert(name)),
                    // It is tried again with the next look at all vendors.
                    Err(error) => output::error(&format!(
                        "Cannot follow what other homes publish for {name}: no thread can be started: {error}"
                    )),
                }
            }
            thread::sleep(EVERY * ALL);
        }
    });
}

fn follow(home: &Home, name: &VendorName, config: &Config) {
    let mut follower = Follower { config, open: None, reported: None, say: storage::say_on_stderr() };
    for round in (0..ALL).cycle() {
        thread::sleep(EVERY);
        let vendor = home.vendor(name);
        let is_due = round + 1 == ALL || exposure::may_have_customers(&vendor);
        // The server reports a vendor that cannot be read.
        if is_due && matches!(vendor.presence(), Reading::There(())) {
            follower.follow(&vendor);
        }
    }
}

struct Follower<'a> {
    config: &'a Config,
    open: Option<Box<dyn Storage>>,
    /// The last reported failure.
    reported: Option<String>,
    say: Say,
}

impl Follower<'_> {
    fn follow(&mut self, vendor: &Vendor) {
        let failure = self.refresh(vendor).err().map(|failure| failure.to_string());
        if let Some(failure) = failure.as_ref().filter(|failure| self.reported.as_ref() != Some(failure)) {
            let name = vendor.name();
            output::error(&format!("Cannot follow what other homes publish for {name}:\n{failure}"));
        }
        self.reported = failure;
    }

    fn refresh(&mut self, vendor: &Vendor) -> Result<(), Failure> {
        let storage = match self.open.take() {
            Some(storage) => storage,
            None => storage::open(vendor, self.config, &self.say)?,
        };
        let storage = self.open.insert(storage);
        catch_up::try_catch_up(&Registry { vendor, storage: storage.as_ref(), shared: true, say: &self.say })
    }
}
