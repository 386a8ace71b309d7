//! `raas access`.

mod keys;
pub(crate) mod read;
mod remove;
mod repositories;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use raas_types::access::{CustomerName, KeyName};
use raas_types::{HostNameError, VendorName};

use crate::access::{Change, CredentialFormat, SecretSource};
use crate::config::{Config, RegistryAddress};
use raas_base::failure::Failure;
use raas_publish::home::Home;

/// Give customers keys to protected repositories, and take them back
///
/// A customer sees the public repositories and the granted ones. Each change is a publication: servers everywhere obey it
/// within about a second.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  raas access add bigdatainc bigbank --repositories 'appliance/*,tools' --expires 2027-12-31"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Add(keys::Add),
    List(read::List),
    Show(read::Show),
    Rotate(keys::Rotate),
    Revoke(keys::Revoke),
    Extend(keys::Extend),
    Grant(repositories::Grant),
    Deny(repositories::Deny),
    Remove(remove::Remove),
}

impl Arguments {
    /// The vendor of the customers.
    pub(crate) fn vendor(&self) -> &VendorName {
        match &self.command {
            Command::Add(add) => &add.target.vendor,
            Command::List(list) => &list.vendor,
            Command::Show(show) => &show.vendor,
            Command::Rotate(rotate) => &rotate.target.vendor,
            Command::Revoke(revoke) => &revoke.target.vendor,
            Command::Extend(extend) => &extend.target.vendor,
            Command::Grant(grant) => &grant.target.vendor,
            Command::Deny(deny) => &deny.target.vendor,
            Command::Remove(remove) => &remove.target.vendor,
        }
    }

    /// Whether the command changes customers, which is a publication.
    pub(crate) fn publishes(&self) -> bool {
        !matches!(self.command, Command::List(_) | Command::Show(_))
    }
}

/// The customer that a command changes.
#[derive(Debug, Args)]
struct Target {
    /// Change a customer of this vendor
    #[arg(value_name = "ISV")]
    vendor: VendorName,

    /// Change this customer: the user name of the customer's logins
    #[arg(value_name = "CUSTOMER")]
    customer: CustomerName,

    /// Write no backup to the configuration repository
    #[arg(long)]
    nocommit: bool,
}

/// The secret of a new credential, and how it is printed.
#[derive(Debug, Args)]
struct CredentialArguments {
    /// Print the credential in this form
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "plain", conflicts_with = "json")]
    format: CredentialFormat,

    /// Print one JSON object, as --format json does
    #[arg(long)]
    json: bool,

    /// Name this host, `HOST:PORT` if it has a port [default: `registry_host` of the vendor's section]
    #[arg(long, value_name = "HOST", value_parser = host)]
    host: Vec<String>,

    /// Take the secret from standard input instead of making it
    #[arg(long)]
    stdin_secret: bool,
}

impl Target {
    fn change<'a>(&'a self, home: &'a Home, config: &'a Config) -> Change<'a> {
        let Self { vendor, customer, nocommit } = self;
        Change { home, config, vendor, customer, no_backup: *nocommit }
    }
}

impl CredentialArguments {
    fn format(&self) -> CredentialFormat {
        if self.json { CredentialFormat::Json } else { self.format }
    }

    fn source(&self) -> SecretSource {
        if self.stdin_secret { SecretSource::StandardInput } else { SecretSource::Random }
    }

    /// The hosts of the credential.
    fn hosts(&self, config: &Config, vendor: &VendorName) -> Result<Vec<String>, Failure> {
        let hosts: Vec<String> = match self.host.as_slice() {
            // Clients look a login up by the name in the reference: with the port, if there is one.
            [] => config.vendor(vendor).registry_addresses.iter().map(ToString::to_string).collect(),
            given => given.to_vec(),
        };
        self.format().check_hosts(vendor, &hosts)?;
        Ok(hosts)
    }
}

/// A host as it stands before the image in a reference, with a port, if there is one.
fn host(text: &str) -> Result<String, HostNameError> {
    match text.parse::<RegistryAddress>() {
        Ok(address) => Ok(address.to_string()),
        // On the machine of somebody who tries raas out.
        Err(HostNameError::Local(_)) => Ok(text.to_owned()),
        Err(error) => Err(error),
    }
}

/// The name of a customer's first key, if the command names none.
fn default_key() -> KeyName {
    "default".parse().expect("the text is a valid name")
}

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Add(add) => add.run(home, config)?,
        Command::List(list) => list.run(home, config)?,
        Command::Show(show) => show.run(home, config)?,
        Command::Rotate(rotate) => rotate.run(home, config)?,
        Command::Revoke(revoke) => revoke.run(home, config)?,
        Command::Extend(extend) => extend.run(home, config)?,
        Command::Grant(grant) => grant.run(home, config)?,
        Command::Deny(deny) => deny.run(home, config)?,
        Command::Remove(remove) => remove.run(home, config)?,
    }
    Ok(ExitCode::SUCCESS)
}
