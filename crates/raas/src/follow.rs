//! Takes in what other homes publish to the buckets of a home's vendors, while a server of the home runs.

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

/// The pause between two rounds through the vendors.
const EVERY: Duration = Duration::from_secs(10);

/// Follows the vendors in `only`, or all vendors of a home if it is empty, for as long as the process lives. Does
/// nothing if no vendor has a bucket.
pub(crate) fn others(home: &Home, config: &Config, only: &[VendorName]) {
    if !config.has_buckets() {
        return;
    }
    let (home, config, only) = (home.clone(), config.clone(), only.to_vec());
    thread::spawn(move || {
        let say = storage::say_on_stderr();
        let mut follower = Follower { config, open: BTreeMap::new(), reported: BTreeMap::new(), say };
        loop {
            thread::sleep(EVERY);
            // The server reports a home that cannot be read.
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
    /// The storages that are open so far.
    open: BTreeMap<VendorName, Box<dyn Storage>>,
    /// The last reported failure of each vendor that cannot be followed.
    reported: BTreeMap<VendorName, String>,
    say: Say,
}

impl Follower {
    fn follow(&mut self, vendor: &Vendor) {
        let name = vendor.name();
        if !self.config.is_shared(name) {
            return;
        }
        match self.refresh(vendor) {
            Ok(()) => drop(self.reported.remove(name)),
            Err(failure) => {
                let failure = failure.to_string();
                if self.reported.get(name) != Some(&failure) {
                    output::error(&format!("Cannot follow what other homes publish for {name}:\n{failure}"));
                    self.reported.insert(name.clone(), failure);
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
