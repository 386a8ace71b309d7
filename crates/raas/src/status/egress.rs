//! The hosts that a customer's firewall must allow, and the number of bytes that come from each.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::crane::{Content, Document, tree};
use raas_types::url::authority;
use raas_types::{Digest, VendorName};
use serde::Serialize;

use crate::config::Config;
use crate::sites;
use crate::storage::check_storage;
use raas_base::failure::{Failure, Kind};
use raas_git::Reader;
use raas_platform::Local;
use raas_publish::access;
use raas_publish::home::{Home, Vendor};
use raas_publish::published;
use raas_sources::http;

/// The hosts of a vendor's registry.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Egress {
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) vendor: VendorName,
    pub(crate) hosts: Vec<Host>,
    pub(crate) images: Vec<Image>,
}

/// A host.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Host {
    /// The host, with its port if that is not the default of the scheme.
    pub(crate) host: String,
    /// What clients get from the host.
    pub(crate) uses: BTreeSet<&'static str>,
}

/// A tag, or the whole repository if the document has no tags.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Image {
    pub(crate) repository: String,
    /// `null` for a whole repository.
    pub(crate) tag: Option<String>,
    /// The size of the configs and layers of all platforms, in bytes. `null` if the document does not have it.
    pub(crate) size: Option<u64>,
    /// The hosts that these bytes come from.
    pub(crate) hosts: Vec<HostShare>,
}

/// What comes from one host.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct HostShare {
    pub(crate) host: String,
    /// The number of bytes; 0 if the size of the image is not known.
    pub(crate) size: u64,
}

/// The hosts found so far.
struct Hosts {
    /// The host of the vendor's own blobs.
    own: String,
    /// What clients get from each host.
    uses: BTreeMap<String, BTreeSet<&'static str>>,
    /// One URL at each host other than the bucket.
    samples: BTreeMap<String, String>,
}

impl Hosts {
    fn of(&mut self, location: Option<&str>) -> String {
        let Some(location) = location else { return self.own.clone() };
        let host = authority(location).to_owned();
        self.uses.entry(host.clone()).or_default().insert("layers elsewhere");
        self.samples.entry(host.clone()).or_insert_with(|| location.to_owned());
        host
    }
}

/// The egress of a vendor by its publication and the configuration. With `ask`, each host other than the bucket is
/// asked for one layer, since it may redirect clients to another host.
pub(crate) fn of(home: &Home, config: &Config, vendor: &Vendor, ask: bool) -> Result<Egress, Failure> {
    check_storage(vendor, config)?;
    let settings = config.vendor(vendor.name());
    let mut registries: Vec<String> = settings.registry_addresses.iter().map(ToString::to_string).collect();
    if registries.is_empty() {
        let server = running(home, vendor);
        registries.push(server.unwrap_or_else(|| format!("(the server of {})", vendor.name())));
    }
    let bucket = sites::object_url(&config.aws, &settings).map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot serve the objects of {}", vendor.name()))
            .caused_by(error)
            .hint(format!("correct [{}] in raas.cfg", vendor.name()))
    })?;
    let own = bucket.as_ref().map_or(registries[0].as_str(), |url| authority(url)).to_owned();
    let record = vendor.record();
    let head = record.head()?;
    let mut hosts = Hosts { own: own.clone(), uses: BTreeMap::new(), samples: BTreeMap::new() };
    let customers = head.as_ref().map(|head| access::customers(&record, head)).transpose()?;
    let has_logins = settings.htpasswd.is_some()
        || vendor.folder().join(sites::USERS).is_file()
        || customers
            .is_some_and(|customers| !customers.readable.is_empty() || !customers.unreadable.is_empty());
    for registry in registries {
        let at_registry = hosts.uses.entry(registry).or_default();
        at_registry.insert("manifests");
        if has_logins && settings.token_issuer.is_none() {
            at_registry.insert("tokens");
        }
    }
    // Challenges name the issuer, whoever logs in.
    if let Some(issuer) = &settings.token_issuer {
        hosts.uses.entry(authority(issuer.realm()).to_owned()).or_default().insert("tokens");
    }
    hosts.uses.entry(own).or_default().insert("configs and layers");
    let mut images = Vec::new();
    if let Some(head) = head {
        let reader = record.reader(&head)?;
        for path in reader.paths(tree::DATA)?.into_iter().filter(|path| path.ends_with(".json")) {
            let bytes = reader.read(&path)?.unwrap_or_default();
            // Servers do not serve a document that does not parse. The lint reports it.
            if let Ok(document) = Document::parse(&bytes) {
                images.extend(images_of(&reader, document, &mut hosts)?);
            }
        }
    }
    if ask {
        for (host, sample) in std::mem::take(&mut hosts.samples) {
            if let Some(other) = redirect_target(&sample).filter(|other| *other != host) {
                hosts.uses.entry(other).or_default().insert("layers elsewhere");
            }
        }
    }
    images.sort_by(|a, b| (&a.repository, &a.tag).cmp(&(&b.repository, &b.tag)));
    let hosts = hosts.uses.into_iter().map(|(host, uses)| Host { host, uses }).collect();
    Ok(Egress { vendor: vendor.name().clone(), hosts, images })
}

fn shares(by_host: BTreeMap<String, u64>) -> Vec<HostShare> {
    by_host.into_iter().map(|(host, size)| HostShare { host, size }).collect()
}

fn running(home: &Home, vendor: &Vendor) -> Option<String> {
    let serving = Local::new(home.servers()).servers(vendor.name()).ok()?;
    serving.first().map(|server| server.reachable().to_string())
}

fn images_of(reader: &Reader<'_>, document: Document, hosts: &mut Hosts) -> Result<Vec<Image>, Failure> {
    let name = document.name.to_string();
    let whole = |size, from| vec![Image { repository: name.clone(), tag: None, size, hosts: shares(from) }];
    Ok(match document.content {
        Content::V2(v2) => {
            let Some(raas) = v2.raas else {
                // Clients are redirected to the document's URL for everything. The number of bytes is unknown.
                return Ok(whole(None, [(hosts.of(Some(&document.url)), 0)].into()));
            };
            let manifests = published::manifests(reader, &document.name, &raas)?;
            let mut image = |tag: &raas_types::Tag, digest: &Digest| {
                let reachable = published::reachable(&manifests, digest);
                let found = reachable.iter().filter_map(|digest| manifests.get(digest));
                let blobs: BTreeMap<Digest, u64> = found
                    .flat_map(|manifest| manifest.blobs())
                    .map(|blob| (blob.digest, blob.size))
                    .collect();
                let mut from = BTreeMap::new();
                for (digest, size) in &blobs {
                    let location = raas.blobs.get(digest).and_then(|entry| entry.location.as_deref());
                    *from.entry(hosts.of(location)).or_default() += size;
                }
                Image {
                    repository: name.clone(),
                    tag: Some(tag.to_string()),
                    size: Some(blobs.values().sum()),
                    hosts: shares(from),
                }
            };
            raas.tags.iter().map(|(tag, digest)| image(tag, digest)).collect()
        }
        Content::V1(v1) => {
            let Some(raas) = v1.raas else {
                hosts.of(Some(&document.url));
                return Ok(Vec::new());
            };
            // The bytes of these layers are counted for the v2 tags, which have the same layers.
            for entry in raas.images.values() {
                hosts.of(entry.location.as_deref());
            }
            Vec::new()
        }
    })
}

/// The host that a URL leads to after all redirects.
fn redirect_target(url: &str) -> Option<String> {
    let answer = http::agent().ok()?.get(url).header("range", "bytes=0-0").call().ok()?;
    Some(answer.url().authority()?.to_string())
}

#[cfg(test)]
mod tests {
    use raas_testkit::http::{Reply, Server};

    use super::*;

    #[test]
    fn redirects_to_another_host_are_followed() {
        let end = Server::of([("/x/layer", "bytes")]);
        let to = end.url("/x/layer?signature=x");
        let begin = Server::scripted(move |_| Reply::new(307, "").with("Location", &to));
        assert_eq!(redirect_target(&begin.url("/layer")), Some(end.address().to_string()));
        assert_eq!(redirect_target("http://127.0.0.1:1/"), None);
    }
}
