//! What a customer's clients need so that they pull a vendor's images from a mirror, under the vendor's own names.

mod format;
mod mirror;

use raas_base::failure::{Failure, Kind};
use raas_publish::home::Home;
use raas_publish::listing;
use raas_publish::republish;
use raas_types::access::CustomerName;
use raas_types::{RepositoryName, Tag, VendorName};
use serde::Serialize;

use crate::access::existing_customer;
use crate::config::Config;
use crate::platform;
use crate::storage::refresh_or_say;
use crate::vendors;
pub(crate) use format::Format;
pub(crate) use mirror::{Mirror, Transport};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) vendor: VendorName,
    pub(crate) mirror: Mirror,
    pub(crate) format: Format,
    /// Whether clients must not ask the vendor's registry if the mirror does not have an image.
    pub(crate) only_mirror: bool,
    /// The customer that gets the configuration.
    pub(crate) customer: Option<CustomerName>,
}

/// The configuration of clients.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Report {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: VendorName,
    registry_hosts: Vec<String>,
    /// The registry that clients pull from instead.
    mirror: String,
    pub(crate) files: Vec<ClientFile>,
    pub(crate) notes: Vec<String>,
}

/// A file for clients.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ClientFile {
    /// Where it goes on the client's machine. `null` for a file that the user gives to a program.
    pub(crate) file: Option<String>,
    pub(crate) content: String,
}

/// What the files are made of.
struct Plan<'a> {
    vendor: &'a VendorName,
    /// The registries that the vendor's images are named by, each a host and perhaps a port.
    sources: Vec<String>,
    mirror: &'a Mirror,
    only_mirror: bool,
    customer: Option<&'a CustomerName>,
    /// The images, for clients without mirrors.
    images: Images,
}

/// The images that a client may pull.
#[derive(Default)]
struct Images {
    visible: Vec<(RepositoryName, Tag)>,
    /// The protected repositories that are not granted.
    hidden_repositories: usize,
}

/// Makes the configuration.
///
/// # Errors
/// Nobody knows the address that people pull from, or the published images cannot be read.
pub(crate) fn make(home: &Home, config: &Config, options: &Options) -> Result<Report, Failure> {
    let Options { vendor, mirror, format, only_mirror, customer } = options;
    let images = match format.names_images() {
        true => images(home, config, vendor, customer.as_ref())?,
        false => Images::default(),
    };
    let sources = sources(home, config, vendor)?;
    if let Some(same) = sources.iter().find(|source| **source == mirror.shown()) {
        return Err(Failure::new(
            Kind::Usage,
            format!("{same} is the vendor's own registry, and no mirror of it"),
        )
        .hint("give --to the address of the customer's registry"));
    }
    let plan =
        Plan { vendor, sources, mirror, only_mirror: *only_mirror, customer: customer.as_ref(), images };
    let mut notes = format.notes(&plan);
    if *format == Format::RegistriesConf && !config.vendor(vendor).require_signature.is_empty() {
        notes.push(format!(
            "clients that check signatures look for them at the mirror: `raas trust {vendor} --mirror {} --format \
             registries-d` prints the file for that",
            mirror.shown()
        ));
    }
    Ok(Report {
        vendor: vendor.clone(),
        registry_hosts: plan.sources.clone(),
        mirror: mirror.shown(),
        files: format.files(&plan),
        notes,
    })
}

/// The addresses that people pull from: those of the configuration, or those that the platform knows.
fn sources(home: &Home, config: &Config, vendor: &VendorName) -> Result<Vec<String>, Failure> {
    let addresses = config.vendor(vendor).registry_addresses;
    if !addresses.is_empty() {
        return Ok(addresses.iter().map(ToString::to_string).collect());
    }
    let hint = format!("set `registry_host` in [{vendor}] of raas.cfg");
    let hosts = match platform::is_local(config) {
        true => Vec::new(),
        false => platform::look(home, config, vendor).map_err(|failure| failure.hint(hint.clone()))?.hosts,
    };
    if hosts.is_empty() {
        return Err(Failure::new(
            Kind::Usage,
            format!("the address that people pull {vendor}'s images from is not known"),
        )
        .hint(hint));
    }
    Ok(hosts)
}

/// The published images of the vendor's own repositories, without attachments: the public ones, and those that are granted to
/// the customer.
fn images(
    home: &Home,
    config: &Config,
    vendor: &VendorName,
    customer: Option<&CustomerName>,
) -> Result<Images, Failure> {
    let vendor = vendors::existing(home, config, vendor)?;
    refresh_or_say(&vendor, config);
    let record = vendor.record();
    let customer = customer.map(|name| existing_customer(&record, vendor.name(), name)).transpose()?;
    let granted = customer.map(|customer| customer.repositories).unwrap_or_default();
    let mut images = Images::default();
    for repository in listing::repositories(&record)?.into_iter().filter(|repository| !repository.operator) {
        let name = repository.name;
        if repository.protected && !granted.iter().any(|pattern| pattern.matches(&name)) {
            images.hidden_repositories += 1;
            continue;
        }
        let tags = repository.tags.into_iter().map(|tag| tag.tag);
        let tags = tags.filter(|tag| !republish::is_attachment(tag));
        images.visible.extend(tags.map(|tag| (name.clone(), tag)));
    }
    Ok(images)
}
