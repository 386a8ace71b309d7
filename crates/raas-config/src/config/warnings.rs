//! Warnings about settings that are valid, but probably not what the operator wants.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use raas_types::forwarding::is_private_address;
use raas_types::url::{authority, host_of};
use raas_types::{BucketAccess, VendorName};

use super::Config;
use crate::{ConfigSource, VendorSettings};

impl Config {
    /// The warnings about the file and all its sections, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let vendors = self.vendors.keys().flat_map(|vendor| self.of_vendor(vendor));
        self.readable_secrets().into_iter().chain(self.private_layer_url()).chain(vendors).collect()
    }

    /// The warnings about the file, `[redhat]` and one vendor's section.
    pub fn warnings_for(&self, vendor: &VendorName) -> Vec<String> {
        let own = self.of_vendor(vendor);
        self.readable_secrets().into_iter().chain(self.private_layer_url()).chain(own).collect()
    }

    fn of_vendor(&self, vendor: &VendorName) -> Vec<String> {
        let addresses = of_addresses(vendor, &self.vendor(vendor));
        self.unnamed_bucket(vendor).into_iter().chain(self.unused_cdn(vendor)).chain(addresses).collect()
    }

    fn unused_cdn(&self, vendor: &VendorName) -> Option<String> {
        let settings = self.vendor(vendor);
        let is_unused = settings.cdn_url.is_some() && settings.access != BucketAccess::Cdn;
        is_unused.then(|| {
            format!("[{vendor}] has `cdn_url`, but `access` is not `cdn`: servers redirect clients to the bucket, not to the CDN")
        })
    }

    fn unnamed_bucket(&self, vendor: &VendorName) -> Option<String> {
        let key = self.key_of_unnamed_bucket(vendor)?;
        Some(format!(
            "[{vendor}] has `{key}`, but no `s3_bucket`: the objects of {vendor} are in the home, and not in a bucket"
        ))
    }

    /// A warning if every user of this machine may read secrets in the file. Who may read a repository is not raas's to
    /// check.
    fn readable_secrets(&self) -> Option<String> {
        let ConfigSource::File(path) = &self.source else { return None };
        let key = self.settings.iter().find(|setting| setting.has_secret)?;
        // The file may be gone by now: then there is nothing to protect.
        let is_open = fs::metadata(path).is_ok_and(|found| found.mode() & 0o004 != 0);
        let path = path.display();
        is_open.then(|| {
            format!(
                "every user of this machine may read {path}, which holds secrets such as `{}` of [{}]; run `chmod o-r {path}`",
                key.key, key.section
            )
        })
    }

    fn private_layer_url(&self) -> Option<String> {
        warning("layer_url", "redhat", self.redhat.layer_url.as_deref())
    }
}

/// Warnings about the addresses in a vendor's section that the server sends clients to.
fn of_addresses(vendor: &VendorName, settings: &VendorSettings) -> Vec<String> {
    let bucket = match settings.access {
        BucketAccess::Presigned | BucketAccess::Public => ("s3_endpoint", settings.s3_endpoint.as_deref()),
        BucketAccess::Cdn => ("cdn_url", settings.cdn_url.as_deref()),
        BucketAccess::Proxy => ("access", None),
    };
    let issuer = ("token_realm", settings.token_issuer.as_ref().map(|issuer| issuer.realm()));
    [bucket, issuer].into_iter().filter_map(|(key, url)| warning(key, vendor.as_str(), url)).collect()
}

fn warning(key: &str, section: &str, url: Option<&str>) -> Option<String> {
    let host = url.map(authority).filter(|authority| is_private_address(host_of(authority)))?;
    Some(format!(
        "`{key}` of [{section}] sends clients to {host}, a private address. If the registry has a host name, clients made \
         with go-containerregistry do not follow such a redirect: give {host} a host name, and use it here"
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::variables::Variables;

    fn warnings(text: &str) -> Vec<String> {
        let get = |_: &str| None;
        let read = Config::read(text.as_bytes(), Path::new("raas.cfg"), &Variables::new(&get, None));
        read.map_err(|error| error.message).unwrap().warnings()
    }

    #[test]
    fn a_bucket_without_a_name_is_a_warning() {
        let found = warnings("[acme]\ns3_region = eu-1\n[other]\n");
        assert!(found.len() == 1 && found[0].starts_with("[acme] has `s3_region`, but no"), "{found:?}");
        assert!(warnings("[acme]\ns3_region = eu-1\ns3_bucket = images\n").is_empty());
    }

    #[test]
    fn a_cdn_that_no_client_is_sent_to_is_a_warning() {
        let cdn = "[acme]\ns3_bucket = images\ncdn_url = https://cdn.x\n";
        let found = warnings(cdn);
        assert!(
            found.len() == 1 && found[0].starts_with("[acme] has `cdn_url`, but `access` is not"),
            "{found:?}"
        );
        assert!(warnings(&format!("{cdn}access = cdn\n")).is_empty());
    }

    #[test]
    fn private_addresses_for_clients_are_a_warning() {
        let bucket = "[acme]\ns3_bucket = images\n";
        let issuer = "token_service = s\ntoken_issuer = i\ntoken_keys = k\ntoken_realm";
        let table = [
            (
                format!("{bucket}s3_endpoint = http://10.0.0.5:9000\n"),
                Some("`s3_endpoint` of [acme] sends clients to 10.0.0.5:9000"),
            ),
            (format!("{bucket}s3_endpoint = http://[::1]:9000\n"), Some("[::1]:9000")),
            (format!("{bucket}s3_endpoint = http://10.0.0.5:9000\naccess = proxy\n"), None),
            (format!("{bucket}s3_endpoint = http://minio:9000\n"), None),
            (format!("{bucket}access = cdn\ncdn_url = https://192.168.0.2/x\n"), Some("`cdn_url`")),
            (
                format!(
                    "{bucket}s3_endpoint = http://10.0.0.5:9000\naccess = cdn\ncdn_url = https://cdn.x\n"
                ),
                None,
            ),
            ("[redhat]\nlayer_url = http://172.16.0.1/layers\n".into(), Some("`layer_url` of [redhat]")),
            (format!("[acme]\n{issuer} = https://127.0.0.1/token\n"), Some("`token_realm`")),
            (format!("[acme]\n{issuer} = https://auth.x/token\n"), None),
        ];
        for (text, expected) in table {
            let found = warnings(&text);
            match expected {
                Some(expected) => {
                    assert!(found.len() == 1 && found[0].contains(expected), "{text}: {found:?}");
                }
                None => assert!(found.is_empty(), "{text}: {found:?}"),
            }
        }
    }
}
