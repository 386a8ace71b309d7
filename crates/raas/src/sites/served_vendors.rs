//! The vendors of a home that a server serves. The server keeps serving a vendor whose files vanish.
//!
//! A file system that is unmounted, a folder that cannot be read any more, and a home that somebody removes by mistake all
//! look like a home without vendors. Clients would get 404 for images that are published. So missing files withdraw no
//! vendor: `raas remove` takes its images out of the registry, and only a vendor without images goes with its files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use raas_server::SiteConfig;
use raas_types::VendorName;

/// The sites that were served at the last look.
#[derive(Default)]
pub(super) struct ServedVendors {
    sites: BTreeMap<VendorName, SiteConfig>,
}

impl ServedVendors {
    /// The sites to serve, from those that are found now. `root` is the home's folder.
    pub(super) fn update(&mut self, root: &Path, found: Vec<SiteConfig>) -> Vec<SiteConfig> {
        let mut sites = BTreeMap::new();
        for site in found {
            let earlier = self.sites.get(&site.vendor).filter(|_| site.is_unreadable);
            // The file of users may have vanished with the rest. A site that was never read has no earlier configuration.
            let site = earlier.map_or(site, |earlier| SiteConfig { is_unreadable: true, ..earlier.clone() });
            sites.insert(site.vendor.clone(), SiteConfig { is_gone: false, ..site });
        }
        for (vendor, earlier) in std::mem::take(&mut self.sites) {
            let is_gone = is_gone(&root.join(vendor.as_str()));
            sites.entry(vendor).or_insert(SiteConfig { is_gone, is_unreadable: true, ..earlier });
        }
        self.sites = sites;
        self.sites.values().cloned().collect()
    }
}

/// Whether there is certainly nothing at this path.
pub(super) fn is_gone(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use raas_server::{Bucket, Metadata};

    use super::*;

    fn site(home: &Path, vendor: &str) -> SiteConfig {
        let metadata = Metadata::Folder(home.join(vendor).join("checkout"));
        let users = Some(home.join(vendor).join("htpasswd"));
        SiteConfig { users, ..SiteConfig::new(vendor.parse().unwrap(), metadata, Bucket::Nowhere) }
    }

    #[test]
    fn missing_files_withdraw_no_vendor() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        // The vendors, each with `!` if it cannot be read and `-` if its files are gone.
        let states = |sites: Vec<SiteConfig>| -> Vec<String> {
            let mark = |site: &SiteConfig| {
                if site.is_gone { "-" } else { ["", "!"][usize::from(site.is_unreadable)] }
            };
            let state = |site: SiteConfig| {
                assert!(site.users.is_some(), "the file of users stays");
                format!("{}{}", site.vendor, mark(&site))
            };
            sites.into_iter().map(state).collect()
        };
        for vendor in ["a", "b"] {
            fs::create_dir_all(home.join(vendor).join("checkout")).unwrap();
        }
        let mut served = ServedVendors::default();
        let both = || vec![site(&home, "a"), site(&home, "b")];
        assert_eq!(states(served.update(&home, both())), ["a", "b"]);
        // The home is gone.
        let away = folder.path().join("away");
        fs::rename(&home, &away).unwrap();
        assert_eq!(states(served.update(&home, vec![])), ["a-", "b-"]);
        // An empty folder is in its place.
        fs::create_dir(&home).unwrap();
        assert_eq!(states(served.update(&home, vec![])), ["a-", "b-"]);
        fs::remove_dir(&home).unwrap();
        fs::rename(&away, &home).unwrap();
        assert_eq!(states(served.update(&home, both())), ["a", "b"]);
        // The folder of a vendor is a mount point.
        assert_eq!(states(served.update(&home, vec![site(&home, "a")])), ["a", "b!"]);
        // `rm -r` removes its files in any order, and its folder last.
        let half = SiteConfig { is_unreadable: true, users: None, ..site(&home, "b") };
        assert_eq!(states(served.update(&home, vec![site(&home, "a"), half])), ["a", "b!"]);
        fs::remove_dir_all(home.join("b")).unwrap();
        assert_eq!(states(served.update(&home, vec![site(&home, "a")])), ["a", "b-"]);
        assert_eq!(states(served.update(&home, both())), ["a", "b"]);
    }
}
