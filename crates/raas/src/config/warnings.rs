//! Warnings about settings that are valid, but probably not what the operator wants.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use raas_types::{BucketAccess, VendorName};

use super::{Config, ConfigSource, VendorSettings};
use crate::forwarding::is_private_address;
use crate::url::{authority, host_of};

impl Config {
    /// The warnings about the file and all its sections, a sentence each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let vendors = self.vendors.iter().flat_map(|(name, settings)| of_vendor(name, settings));
        self.readable_secrets().into_iter().chain(self.private_layer_url()).chain(vendors).collect()
    }

    /// The warnings about the file, `[redhat]` and one vendor's section.
    pub(crate) fn warnings_for(&self, vendor: &VendorName) -> Vec<String> {
        let own = of_vendor(vendor, &self.vendor(vendor));
        self.readable_secrets().into_iter().chain(self.private_layer_url()).chain(own).collect()
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
fn of_vendor(vendor: &VendorName, settings: &VendorSettings) -> Vec<String> {
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
        "`{key}` of [{section}] sends clients to {host}, a private address: clients made with go-containerregistry refuse \
         that for a registry with a name; write a host name"
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::variables::Variables;
    use super::*;

    #[test]
    fn private_addresses_for_clients_are_a_warning() {
        let warnings = |text: &str| {
            let get = |_: &str| None;
            let read = Config::read(text.as_bytes(), Path::new("raas.cfg"), &Variables::new(&get, None));
            read.map_err(|error| error.message).unwrap().warnings()
        };
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
