//! What a server of a home does beside serving: it takes in what other homes publish to the buckets of its vendors.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use raas_types::VendorName;

use crate::config::Config;
use crate::output;
use raas_base::Say;
use raas_base::failure::Failure;
use raas_publish::catch_up;
use raas_publish::home::{Home, Vendor};
use raas_publish::registry::Registry;
use raas_publish::storage::Storage;

use crate::storage;

/// How often the buckets are asked.
const EVERY: Duration = Duration::from_secs(10);

/// Follows the vendors of a home, or those that are named, for as long as the process lives. Where no vendor has a
/// bucket of a service, there is nobody to follow.
pub(crate) fn others(home: &Home, config: &Config, only: &[VendorName]) {
    if !config.has_buckets() {
        return;
    }
    let (home, config, only) = (home.clone(), config.clone(), only.to_vec());
    thread::spawn(move || {
        let say = storage::say_on_stderr();
        let mut follower = Follower { config, open: BTreeMap::new(), told: BTreeMap::new(), say };
        loop {
            thread::sleep(EVERY);
            // A home that cannot be read is told of by the server.
            for vendor in home.vendors().into_iter().flatten() {
                if only.is_empty() || only.contains(vendor.name()) {
                    follower.follow(&vendor);
                }
            }
        }
    });
}

struct Follower {
    config: Config,
    open: BTreeMap<VendorName, Box<dyn Storage>>,
    /// What was last told of a vendor that cannot be followed.
    told: BTreeMap<VendorName, String>,
    say: Say,
}

impl Follower {
    fn follow(&mut self, vendor: &Vendor) {
        let name = vendor.name();
        if !self.config.is_shared(name) {
            return;
        }
        match self.refresh(vendor) {
            Ok(()) => drop(self.told.remove(name)),
            Err(failure) => {
                let failure = failure.to_string();
                if self.told.get(name) != Some(&failure) {
                    output::error(&format!("What others publish of {name} cannot be seen:\n{failure}"));
                    self.told.insert(name.clone(), failure);
                }
            }
        }
    }

    fn refresh(&mut self, vendor: &Vendor) -> Result<(), Failure> {
        let name = vendor.name();
        if !self.open.contains_key(name) {
            self.open.insert(name.clone(), storage::open(vendor, &self.config, &self.say)?);
        }
        let storage = self.open[name].as_ref();
        catch_up::try_catch_up(&Registry { vendor, storage, shared: true, say: &self.say })
    }
}
