//! Finds the vendor that a command names, and the vendors that the configuration and the home know.

use std::collections::BTreeSet;

use raas_base::failure::{Context as _, Failure, Kind};
use raas_platform::{Local, ServerRegistration, client};
use raas_publish::home::{Home, Vendor};
use raas_types::VendorName;

use crate::config::{Config, nearest};

/// A vendor that is set up in the home.
///
/// # Errors
/// It cannot be read, or it is not set up. The error then says which vendor was probably meant.
pub(crate) fn existing(home: &Home, config: &Config, name: &VendorName) -> Result<Vendor, Failure> {
    let vendor = home.vendor(name);
    if vendor.exists()? { Ok(vendor) } else { Err(unknown(home, config, name)?) }
}

/// A vendor that a push may set up: the configuration names it, or there is nothing that names vendors and no vendor with a
/// similar name.
///
/// # Errors
/// The vendor is probably a misspelt name.
pub(crate) fn to_publish(home: &Home, config: &Config, name: &VendorName) -> Result<Vendor, Failure> {
    let vendor = home.vendor(name);
    if vendor.exists()? || config.names(name) {
        return Ok(vendor);
    }
    let known = all(home, config)?;
    if config.vendors().next().is_none() && similar(name, &known).is_none() {
        return Ok(vendor);
    }
    Err(unknown(home, config, name)?)
}

/// All vendors of the configuration and of the home.
pub(crate) fn all(home: &Home, config: &Config) -> Result<BTreeSet<VendorName>, Failure> {
    let vendors = home.vendors().context(|| format!("cannot read {}", home.root().display()))?;
    let of_home = vendors.iter().map(|vendor| vendor.name().clone());
    Ok(config.vendors().cloned().chain(of_home).collect())
}

/// What to say about a vendor that is not there.
fn unknown(home: &Home, config: &Config, name: &VendorName) -> Result<Failure, Failure> {
    let folder = home.root().display();
    if let Some(lost) = lost(home, config, name) {
        return Ok(lost);
    }
    let message = if config.names(name) || config.vendors().next().is_none() {
        format!("there is no vendor {name} in {folder}")
    } else {
        format!("there is no vendor {name} in {folder}, and {} has no section [{name}]", config.origin)
    };
    let known = all(home, config)?;
    let near = similar(name, &known).map(|near| format!("correct the name: did you mean {near}?"));
    Ok(Failure::new(Kind::Usage, message)
        .hint_if(near)
        .hint(format!("run `raas setup {name}` to set up a new vendor")))
}

/// What to say about a vendor whose folder is gone while a server of the home goes on serving it.
fn lost(home: &Home, config: &Config, name: &VendorName) -> Option<Failure> {
    let servers = Local::new(home.servers()).servers(name).ok()?;
    let serves = |server: &&ServerRegistration| {
        client::revision(server, name).is_ok_and(|revision| !revision.is_empty())
    };
    let server = servers.iter().find(serves)?.reachable();
    let folder = home.root().join(name.as_str());
    let folder = folder.display();
    let message = format!(
        "the folder of vendor {name}, {folder}, is gone; the server on {server} serves what it last read of it"
    );
    let failure = Failure::new(Kind::Environment, message);
    Some(match config.is_shared(name) {
        true => failure.hint(format!("run `raas setup {name}`, which takes the publications from the bucket")),
        false => failure.hint(format!(
            "put {folder} back from your backup, while the server runs; `raas setup {name}` would begin an empty registry"
        )),
    })
}

fn similar<'a>(name: &VendorName, known: &'a BTreeSet<VendorName>) -> Option<&'a str> {
    let known: Vec<&str> = known.iter().filter(|other| *other != name).map(VendorName::as_str).collect();
    nearest(name.as_str(), &known)
}
