//! `raas access add`, `rotate`, `revoke` and `extend`.

use std::time::SystemTime;

use clap::Args;
use raas_types::access::{Customer, CustomerKey, KeyName, KeyState, SecretHash};
use raas_types::{RepositoryPattern, Utc};

use super::repositories::list;
use super::{CredentialArguments, Target, default_key};
use crate::access::{Credential, Expiry, Period, ShownEnd, note_unmatched};
use crate::config::Config;
use crate::exposure;
use crate::output;
use raas_base::failure::{Failure, Kind};
use raas_publish::access::Damaged;
use raas_publish::home::Home;

/// Make a key for a customer, and print its credential once
///
/// The first key makes the customer. Further keys are for further machines: each can be revoked without the others.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  raas access add bigdatainc bigbank --repositories 'appliance/*,tools' --expires 2027-12-31"
)]
pub(super) struct Add {
    #[command(flatten)]
    pub(super) target: Target,

    /// Let a new customer see these protected repositories
    ///
    /// Names, `NAME/*` for everything below a name, or `*` for all.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    repositories: Vec<RepositoryPattern>,

    /// Name the key [default: default]
    #[arg(long, value_name = "NAME")]
    key: Option<KeyName>,

    /// Let the key expire at the end of this day, or after this period, such as 90d [default: never]
    ///
    /// A time is possible too: 2027-12-31T12:00:00Z.
    #[arg(long, value_name = "DATE")]
    expires: Option<Expiry>,

    #[command(flatten)]
    credential: CredentialArguments,
}

/// Replace the secret of a key, and print the new credential once
///
/// The old secret stays valid for the overlap, so that machines can change over one by one.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas access rotate bigdatainc bigbank --key ci --overlap 14d")]
pub(super) struct Rotate {
    #[command(flatten)]
    pub(super) target: Target,

    /// Rotate this key [default: the only one]
    #[arg(long, value_name = "NAME")]
    key: Option<KeyName>,

    /// Keep the old secret valid for this time; `0d` ends it at once
    #[arg(long, value_name = "PERIOD")]
    overlap: Period,

    #[command(flatten)]
    credential: CredentialArguments,
}

/// Revoke a key, or all keys of a customer
///
/// Servers refuse the key and its tokens within about a second. A revoked key never becomes valid again.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas access revoke bigdatainc bigbank --key ci")]
pub(super) struct Revoke {
    #[command(flatten)]
    pub(super) target: Target,

    /// Revoke only this key [default: all]
    #[arg(long, value_name = "NAME")]
    key: Option<KeyName>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Let a key expire at another time
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas access extend bigdatainc bigbank --expires 2028-12-31")]
pub(super) struct Extend {
    #[command(flatten)]
    pub(super) target: Target,

    /// Extend this key [default: the only one]
    #[arg(long, value_name = "NAME")]
    key: Option<KeyName>,

    /// Let the key expire at the end of this day, after this period, such as 90d, or `never`
    #[arg(long, value_name = "DATE")]
    expires: Expiry,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl Add {
    pub(super) fn run(self, home: &Home, config: &Config) -> Result<(), Failure> {
        let Self { target, repositories, key, expires, credential } = self;
        let key = key.unwrap_or_else(default_key);
        let now = SystemTime::now();
        let expires = expires.unwrap_or(Expiry::Never).future_end(now)?;
        let vendor = home.existing(&target.vendor)?;
        exposure::check_new(&vendor, &config.vendor(&target.vendor), &exposure::CUSTOMERS)?;
        let hosts = credential.hosts(config, &target.vendor)?;
        let secret = credential.source().secret()?;
        let hash = SecretHash::of(secret.expose());
        let name = &target.customer;
        let printed = Credential {
            vendor: &target.vendor,
            customer: name,
            key: &key,
            secret: &secret,
            expires,
            hosts: &hosts,
        };
        let report = target.change(home, config).run(
            |before| {
                let mut customer = match before {
                    None if repositories.is_empty() => return Err(no_repositories(&target)),
                    None => Customer::new(repositories.clone()),
                    Some(customer) => customer,
                };
                let same = |pattern: &RepositoryPattern| customer.repositories.contains(pattern);
                if !repositories.iter().all(same) {
                    let message = format!("customer {name} exists, and may see {}", list(&customer.repositories));
                    return Err(Failure::new(Kind::Usage, message).hint(format!(
                        "run `raas access grant {} {name} PATTERN` to grant more; nothing was published",
                        target.vendor
                    )));
                }
                if let Some(earlier) = customer.keys.get(&key)
                    && earlier.state(Utc::of(now)) == KeyState::Valid
                {
                    let message = format!("customer {name} has a valid key `{key}`");
                    return Err(Failure::new(Kind::Usage, message).hint(format!(
                        "name another key with `--key`, or run `raas access rotate {} {name} --key {key} --overlap 14d`",
                        target.vendor
                    )));
                }
                check_new(&customer, hash)?;
                customer.keys.insert(key.clone(), CustomerKey::new(hash, Utc::of(now), expires));
                Ok((customer, format!("Add key {key} of customer {name}")))
            },
            || printed.print(credential.format()),
        )?;
        note_unmatched(&vendor, &repositories);
        output::note(&format!("{}: published as commit {}", report.what, &report.published.commit[..12]));
        Ok(())
    }
}

impl Rotate {
    pub(super) fn run(self, home: &Home, config: &Config) -> Result<(), Failure> {
        let Self { target, key, overlap, credential } = self;
        let now = SystemTime::now();
        let hosts = credential.hosts(config, &target.vendor)?;
        let secret = credential.source().secret()?;
        let hash = SecretHash::of(secret.expose());
        let name = &target.customer;
        let rotated = std::cell::Cell::new(None);
        let change = target.change(home, config);
        let report = change.run(
            |before| {
                let mut customer = change.known(before)?;
                let key = change.key(&customer, key.as_ref())?;
                check_new(&customer, hash)?;
                let found = customer.keys.get_mut(&key).expect("the key is one of the customer's");
                check_valid(&target, &key, found, now)?;
                found.rotate(hash, Utc::of(now), overlap.after(now));
                rotated.set(Some((key.clone(), found.expires)));
                let what = format!("Rotate key {key} of customer {name}");
                Ok((customer, what))
            },
            || {
                let Some((key, expires)) = rotated.take() else { return };
                let (vendor, customer) = (&target.vendor, name);
                Credential { vendor, customer, key: &key, secret: &secret, expires, hosts: &hosts }
                    .print(credential.format());
            },
        )?;
        output::note(&format!("{}: published as commit {}", report.what, &report.published.commit[..12]));
        Ok(())
    }
}

impl Revoke {
    pub(super) fn run(self, home: &Home, config: &Config) -> Result<(), Failure> {
        let Self { target, key, json } = self;
        let now = Utc::of(SystemTime::now());
        let change = target.change(home, config);
        // If one key is revoked, the others stay valid, and a damaged file may have ended some of them.
        let damaged = if key.is_none() { Damaged::TakeLastReadable } else { Damaged::Refuse };
        let report = change.run_with(
            damaged,
            |before| {
                let mut customer = change.known(before)?;
                let key = key.as_ref().map(|key| change.key(&customer, Some(key))).transpose()?;
                for (name, found) in &mut customer.keys {
                    if key.as_ref().is_none_or(|key| key == name) {
                        found.revoked.get_or_insert(now);
                    }
                }
                let which = key.map_or("all keys".to_owned(), |key| format!("key {key}"));
                Ok((customer, format!("Revoke {which} of customer {}", target.customer)))
            },
            || {},
        )?;
        report.print(json);
        Ok(())
    }
}

impl Extend {
    pub(super) fn run(self, home: &Home, config: &Config) -> Result<(), Failure> {
        let Self { target, key, expires, json } = self;
        let now = SystemTime::now();
        let end = expires.future_end(now)?;
        let change = target.change(home, config);
        let report = change.run(
            |before| {
                let mut customer = change.known(before)?;
                let key = change.key(&customer, key.as_ref())?;
                let found = customer.keys.get_mut(&key).expect("the key is one of the customer's");
                if let KeyState::Revoked(at) = found.state(Utc::of(now)) {
                    let message = format!("the key `{key}` of {} was revoked at {at}", target.customer);
                    return Err(Failure::new(Kind::Usage, message)
                        .hint("run `raas access add` to make a new key; nothing was published"));
                }
                found.expires = end;
                let until = end.map_or("without an end".to_owned(), |end| format!("until {}", ShownEnd(end)));
                let what = format!("Extend key {key} of customer {} {until}", target.customer);
                Ok((customer, what))
            },
            || {},
        )?;
        report.print(json);
        Ok(())
    }
}

fn check_valid(target: &Target, key: &KeyName, found: &CustomerKey, now: SystemTime) -> Result<(), Failure> {
    let Target { vendor, customer, .. } = target;
    let (what, hint) = match found.state(Utc::of(now)) {
        KeyState::Valid => return Ok(()),
        KeyState::Expired(at) => {
            (format!("has expired at {at}"), format!("run `raas access extend {vendor} {customer}` first"))
        }
        KeyState::Revoked(at) => (
            format!("was revoked at {at}"),
            format!("run `raas access add {vendor} {customer}` to make a new key"),
        ),
    };
    Err(Failure::new(Kind::Usage, format!("the key `{key}` of {customer} {what}")).hint(hint))
}

/// A secret belongs to one key, so that a login names the key.
fn check_new(customer: &Customer, hash: SecretHash) -> Result<(), Failure> {
    let known = customer.keys.values().flat_map(|key| &key.secrets).any(|secret| secret.hash == hash);
    match known {
        true => Err(Failure::new(Kind::Usage, "the secret is one of this customer's already")
            .hint("take a new secret; nothing was published")),
        false => Ok(()),
    }
}

fn no_repositories(target: &Target) -> Failure {
    let Target { vendor, customer, .. } = target;
    Failure::new(Kind::Usage, format!("{customer} is a new customer of {vendor}, and may see nothing yet"))
        .hint("give `--repositories 'appliance/*,tools'`, or `--repositories '*'` for all protected repositories")
}
