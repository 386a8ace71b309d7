//! The check of protected repositories and of customers' keys.

use std::collections::BTreeMap;
use std::time::SystemTime;

use raas_publish::access::{self, Customers};
use raas_publish::home::Vendor;
use raas_publish::published;
use raas_types::Utc;
use raas_types::access::{AccessFileError, Customer, CustomerName, KeyState};

use crate::check::Check;
use crate::config::Config;
use crate::output::number;
use raas_base::failure::Failure;

/// How long before its end a key is reported, in seconds.
const SOON: u64 = 30 * 86_400;

/// The check; `None` if the vendor has neither protected repositories nor customers.
pub(super) fn check(vendor: &Vendor, config: &Config) -> Option<Check> {
    try_check(vendor, config).unwrap_or_else(|failure| Some(Check::unable("access", &failure)))
}

fn try_check(vendor: &Vendor, config: &Config) -> Result<Option<Check>, Failure> {
    let record = vendor.record();
    let Some(head) = record.head()? else { return Ok(None) };
    let Customers { readable: customers, unreadable } = access::customers(&record, &head)?;
    let patterns = access::patterns(&record, Some(&head))?.patterns;
    let repositories = published::repositories(&record.reader(&head)?)?;
    let protected = repositories.values().filter(|repository| repository.protected).count();
    if !unreadable.is_empty() {
        return Ok(Some(damaged(vendor, unreadable)));
    }
    if customers.is_empty() && patterns.is_empty() && protected == 0 {
        return Ok(None);
    }
    let found = format!("protected repositories: {protected}; customers: {}", customers.len());
    let configured = config.vendor(vendor.name()).protected_repositories;
    let open: Vec<String> = repositories
        .iter()
        .filter(|(_, repository)| !repository.protected && !repository.operator)
        .filter_map(|(name, _)| {
            let pattern = patterns.iter().chain(&configured).find(|pattern| pattern.matches(name))?;
            Some(format!("{name} is public, although new repositories that match `{pattern}` are protected"))
        })
        .collect();
    let ending = expiring(customers.iter(), Utc::of(SystemTime::now()));
    let name = vendor.name();
    Ok(Some(match (ending.is_empty(), open.is_empty()) {
        (true, true) => Check::ok("access", found),
        (false, _) => {
            Check::warning("access", format!("{found}; keys that end within 30 days: {}", ending.len()))
                .details(ending.into_iter().chain(open).collect())
                .fix(format!("run `raas access extend {name} CUSTOMER --key KEY --expires DATE`"))
        }
        (true, false) => {
            let fix = format!("run `raas protect {name} REPOSITORY`, or `raas unprotect {name} PATTERN`");
            Check::warning("access", found).details(open).fix(fix)
        }
    }))
}

/// The check of a vendor with customers whose files are damaged.
fn damaged(vendor: &Vendor, unreadable: BTreeMap<CustomerName, AccessFileError>) -> Check {
    let name = vendor.name();
    let found = format!(
        "servers refuse all keys of {}: their files are damaged",
        number(unreadable.len() as u64, "customer")
    );
    let fix = format!(
        "run `raas access revoke {name} CUSTOMER` or `raas access remove {name} CUSTOMER`, or correct the file in the record \
         with git"
    );
    let details = unreadable.into_iter().map(|(customer, error)| format!("{customer}: {error}"));
    Check::failed("access", found, fix).details(details.collect())
}

/// A line for each valid key that ends soon.
fn expiring<'a>(customers: impl Iterator<Item = (&'a CustomerName, &'a Customer)>, now: Utc) -> Vec<String> {
    let mut found = Vec::new();
    for (name, customer) in customers {
        for (key, state) in &customer.keys {
            let Some(end) = state.expires.filter(|_| state.state(now) == KeyState::Valid) else { continue };
            let left = end.unix() - now.unix();
            if left <= SOON {
                found.push((
                    end,
                    format!("{name}: key {key} until {end}, {} left", number(left.div_ceil(86_400), "day")),
                ));
            }
        }
    }
    found.sort();
    found.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use raas_types::access::{CustomerKey, SecretHash};

    use super::*;

    #[test]
    fn keys_are_reported_thirty_days_before_their_end() {
        let mut customer = Customer::new(Vec::new());
        for (name, end) in [("soon", 30 * 86_400), ("later", 31 * 86_400), ("next", 3600), ("over", 0)] {
            let end = Some(Utc::from_unix(1000 + end));
            let key = CustomerKey::new(SecretHash::of(name), Utc::from_unix(0), end);
            customer.keys.insert(name.parse().unwrap(), key);
        }
        let mut revoked = customer.keys["soon"].clone();
        revoked.revoked = Some(Utc::from_unix(1));
        customer.keys.insert("revoked".parse().unwrap(), revoked);
        let name = "bigbank".parse().unwrap();
        let lines = expiring([(&name, &customer)].into_iter(), Utc::from_unix(1000));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].starts_with("bigbank: key next until ") && lines[0].ends_with("1 day left"),
            "{lines:?}"
        );
        assert!(lines[1].contains("key soon") && lines[1].ends_with("30 days left"), "{lines:?}");
    }
}
