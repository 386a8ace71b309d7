//! The vendors of a home that a server serves. The server keeps serving a vendor that vanishes together with its home.
//!
//! A file system that is unmounted, or a folder that cannot be read any more, looks like a home without vendors.
//! Clients would get 404 for images that are published. So a vendor is withdrawn only if its folder is gone from the
//! same home.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use raas_server::SiteConfig;
use raas_types::VendorName;

/// The sites that were served at the last look.
#[derive(Default)]
pub(super) struct ServedVendors {
    sites: BTreeMap<VendorName, SiteConfig>,
    /// The home's folder, by device and inode. Another folder at its path may be an empty mount point.
    home: Option<(u64, u64)>,
    /// The kept vendors that the log has already.
    logged: Option<String>,
}

impl ServedVendors {
    /// The sites to serve, from those that are found now. `root` is the home's folder.
    pub(super) fn update(&mut self, root: &Path, found: Vec<SiteConfig>) -> Vec<SiteConfig> {
        let home = fs::metadata(root).map(|found| (found.dev(), found.ino())).ok();
        let is_same_home = home.is_some() && home == self.home;
        let mut sites: BTreeMap<_, _> = found.into_iter().map(|site| (site.vendor.clone(), site)).collect();
        let mut kept = Vec::new();
        for (vendor, earlier) in &self.sites {
            let was_removed = || is_same_home && is_gone(&root.join(vendor.as_str()));
            if !sites.contains_key(vendor) && !was_removed() {
                kept.push(vendor.to_string());
                sites.insert(vendor.clone(), earlier.clone());
            }
        }
        self.log(root, &kept);
        if kept.is_empty() {
            self.home = home;
        }
        self.sites = sites;
        self.sites.values().cloned().collect()
    }

    fn log(&mut self, root: &Path, kept: &[String]) {
        let reason = (!kept.is_empty()).then(|| kept.join(", "));
        if let Some(vendors) = reason.as_ref().filter(|reason| self.logged.as_ref() != Some(reason)) {
            let home = root.display();
            tracing::error!(%home, vendors, "vendors are missing from the home; serving what was last read of them");
        }
        self.logged = reason;
    }
}

/// Whether the folder certainly does not exist.
fn is_gone(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use raas_server::{Bucket, Metadata};

    use super::*;

    fn site(home: &Path, vendor: &str) -> SiteConfig {
        let metadata = Metadata::Folder(home.join(vendor).join("checkout"));
        SiteConfig::new(vendor.parse().unwrap(), metadata, Bucket::Nowhere)
    }

    #[test]
    fn a_vendor_is_withdrawn_only_if_its_folder_is_gone_from_the_same_home() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let names = |sites: Vec<SiteConfig>| -> Vec<String> {
            sites.into_iter().map(|site| site.vendor.to_string()).collect()
        };
        for vendor in ["a", "b"] {
            fs::create_dir_all(home.join(vendor).join("checkout")).unwrap();
        }
        let mut served = ServedVendors::default();
        let both = || vec![site(&home, "a"), site(&home, "b")];
        assert_eq!(names(served.update(&home, both())), ["a", "b"]);
        // The home is gone.
        let away = folder.path().join("away");
        fs::rename(&home, &away).unwrap();
        assert_eq!(names(served.update(&home, vec![])), ["a", "b"]);
        // An empty folder is in its place.
        fs::create_dir(&home).unwrap();
        assert_eq!(names(served.update(&home, vec![])), ["a", "b"]);
        fs::remove_dir(&home).unwrap();
        fs::rename(&away, &home).unwrap();
        assert_eq!(names(served.update(&home, both())), ["a", "b"]);
        // The folder of a vendor is a mount point, or cannot be read.
        assert_eq!(names(served.update(&home, vec![site(&home, "a")])), ["a", "b"]);
        fs::remove_dir_all(home.join("b")).unwrap();
        assert_eq!(names(served.update(&home, vec![site(&home, "a")])), ["a"]);
    }
}
