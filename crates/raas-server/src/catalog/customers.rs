//! The customers of a site, as the server needs them: small, and found by the hash of a secret.

use std::collections::HashMap;
use std::sync::Arc;

use raas_types::access::{Customer, CustomerName, KeyName, KeyState, SecretHash, SecretState};
use raas_types::{RepositoryName, RepositoryPattern, Utc};

/// A customer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServedCustomer {
    pub(crate) name: CustomerName,
    repositories: Box<[RepositoryPattern]>,
    keys: Box<[ServedKey]>,
}

#[derive(Debug, PartialEq, Eq)]
struct ServedKey {
    name: KeyName,
    expires: Option<Utc>,
    revoked: Option<Utc>,
    secrets: Box<[ServedSecret]>,
}

#[derive(Debug, PartialEq, Eq)]
struct ServedSecret {
    hash: SecretHash,
    until: Option<Utc>,
}

/// All customers of a site, with an index of their secrets.
#[derive(Debug, Default)]
pub(crate) struct Customers {
    /// Ordered by name.
    all: Box<[Arc<ServedCustomer>]>,
    /// Where each secret is, by the id of its hash.
    secrets: HashMap<u128, SecretPosition>,
}

#[derive(Debug, Clone, Copy)]
struct SecretPosition {
    customer: u32,
    key: u16,
    secret: u16,
}

/// A secret that was found.
pub(crate) struct FoundSecret<'a> {
    pub(crate) customer: &'a Arc<ServedCustomer>,
    pub(crate) key: &'a KeyName,
    hash: SecretHash,
    expires: Option<Utc>,
    revoked: Option<Utc>,
    until: Option<Utc>,
}

impl ServedCustomer {
    /// The customer of a file.
    pub(crate) fn new(name: CustomerName, customer: &Customer) -> Self {
        let secrets = |key: &raas_types::access::CustomerKey| {
            let secrets =
                key.secrets.iter().map(|secret| ServedSecret { hash: secret.hash, until: secret.until });
            secrets.collect()
        };
        let keys = customer.keys.iter().map(|(name, key)| ServedKey {
            name: name.clone(),
            expires: key.expires,
            revoked: key.revoked,
            secrets: secrets(key),
        });
        Self { name, repositories: customer.repositories.as_slice().into(), keys: keys.collect() }
    }

    /// The memory that the customer takes, and the entries of its secrets in the index, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        /// An entry of a hash table that may be half empty.
        const ENTRY: usize = 2 * (size_of::<(u128, SecretPosition)>() + 1);
        let keys = self
            .keys
            .iter()
            .map(|key| size_of::<ServedKey>() + key.secrets.len() * (size_of::<ServedSecret>() + ENTRY));
        let bytes = size_of::<Self>() + size_of_val(&*self.repositories) + keys.sum::<usize>();
        bytes as u64
    }

    /// Whether the customer may see a protected repository.
    pub(crate) fn may_see(&self, repository: &RepositoryName) -> bool {
        self.repositories.iter().any(|pattern| pattern.matches(repository))
    }
}

impl Customers {
    /// All customers, ordered by name. Of two equal secrets the first counts; `raas access` never makes two equal
    /// secrets.
    pub(crate) fn new(all: Vec<Arc<ServedCustomer>>) -> Self {
        let count = all.iter().flat_map(|customer| &customer.keys).map(|key| key.secrets.len()).sum();
        let mut index = HashMap::with_capacity(count);
        for (at, customer) in all.iter().enumerate() {
            let Ok(at) = u32::try_from(at) else { break };
            for (key_at, key) in customer.keys.iter().enumerate() {
                for (secret_at, secret) in key.secrets.iter().enumerate() {
                    let (Ok(key), Ok(position)) = (u16::try_from(key_at), u16::try_from(secret_at)) else {
                        continue;
                    };
                    index.entry(secret.hash.id()).or_insert(SecretPosition {
                        customer: at,
                        key,
                        secret: position,
                    });
                }
            }
        }
        Self { all: all.into(), secrets: index }
    }

    /// Whether these are exactly the customers of this list.
    pub(crate) fn are(&self, others: &[Arc<ServedCustomer>]) -> bool {
        self.all.len() == others.len() && self.all.iter().zip(others).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The numbers of keys that are not revoked. First the expired keys, then for each bound the keys with at most that
    /// many days left and more than the bound before, then the keys with more days, and the keys without an end.
    pub(crate) fn by_days_left(&self, now: Utc) -> Vec<(&'static str, u64)> {
        const BOUNDS: [(&str, u64); 5] = [("1", 1), ("7", 7), ("30", 30), ("90", 90), ("365", 365)];
        let mut counts = vec![("expired", 0)];
        counts.extend(BOUNDS.map(|(label, _)| (label, 0)));
        counts.extend([("more", 0), ("never", 0)]);
        for key in self.all.iter().flat_map(|customer| &customer.keys).filter(|key| key.revoked.is_none()) {
            let at = match key.expires {
                None => counts.len() - 1,
                Some(end) if end <= now => 0,
                Some(end) => {
                    let days = (end.unix() - now.unix()).div_ceil(86_400);
                    let bound = BOUNDS.iter().position(|(_, bound)| days <= *bound);
                    bound.map_or(counts.len() - 2, |at| at + 1)
                }
            };
            counts[at].1 += 1;
        }
        counts
    }

    /// The secret with this id of its hash.
    pub(crate) fn find(&self, id: u128) -> Option<FoundSecret<'_>> {
        let place = self.secrets.get(&id)?;
        let customer = self.all.get(usize::try_from(place.customer).ok()?)?;
        let key = customer.keys.get(usize::from(place.key))?;
        let secret = key.secrets.get(usize::from(place.secret))?;
        Some(FoundSecret {
            customer,
            key: &key.name,
            hash: secret.hash,
            expires: key.expires,
            revoked: key.revoked,
            until: secret.until,
        })
    }

    /// The secret of a login.
    pub(crate) fn login(&self, name: &str, secret: &str) -> Option<FoundSecret<'_>> {
        let hash = SecretHash::of(secret);
        self.find(hash.id()).filter(|found| found.hash == hash && found.customer.name.as_str() == name)
    }
}

impl FoundSecret<'_> {
    /// The id of the secret's hash.
    pub(crate) fn id(&self) -> u128 {
        self.hash.id()
    }

    /// Whether the secret is valid.
    pub(crate) fn state(&self, now: Utc) -> SecretState {
        SecretState::of(KeyState::of(self.revoked, self.expires, now), self.until, now)
    }
}

#[cfg(test)]
mod tests {
    use raas_types::access::CustomerKey;

    use super::*;

    #[test]
    fn fifty_thousand_keys_take_at_most_16_mib() {
        let customer = |n: usize| {
            let mut customer = Customer::new(vec!["appliance/*".parse().unwrap(), "tools".parse().unwrap()]);
            for k in 0..5 {
                let hash = SecretHash::of(&format!("{n} {k}"));
                let key = CustomerKey::new(hash, Utc::from_unix(0), Some(Utc::from_unix(1)));
                customer.keys.insert(format!("key-{k}").parse().unwrap(), key);
            }
            Arc::new(ServedCustomer::new(format!("customer-{n}").parse().unwrap(), &customer))
        };
        let all: Vec<_> = (0..10_000).map(customer).collect();
        let memory: u64 = all.iter().map(|customer| customer.memory()).sum();
        assert!(memory <= 16 * 1024 * 1024, "{memory}");
        let customers = Customers::new(all);
        let found = customers.login("customer-9999", "9999 4").unwrap();
        assert_eq!((found.customer.name.as_str(), found.key.as_str()), ("customer-9999", "key-4"));
        assert!(customers.login("customer-1", "9999 4").is_none(), "the name belongs to the key");
        assert!(customers.login("customer-1", "nonsense").is_none());
    }

    #[test]
    fn keys_are_counted_by_the_days_that_are_left() {
        let mut customer = Customer::new(Vec::new());
        let day = 86_400;
        let ends =
            [Some(0), Some(day), Some(day + 1), Some(30 * day), Some(31 * day), Some(1000 * day), None];
        for (n, end) in ends.into_iter().enumerate() {
            let end = end.map(|end| Utc::from_unix(1000 + end));
            let key = CustomerKey::new(SecretHash::of(&n.to_string()), Utc::from_unix(0), end);
            customer.keys.insert(format!("k{n}").parse().unwrap(), key);
        }
        let mut revoked = CustomerKey::new(SecretHash::of("r"), Utc::from_unix(0), None);
        revoked.revoked = Some(Utc::from_unix(1));
        customer.keys.insert("r".parse().unwrap(), revoked);
        let served = ServedCustomer::new("a".parse().unwrap(), &customer);
        let counts = Customers::new(vec![Arc::new(served)]).by_days_left(Utc::from_unix(1000));
        let expected =
            [("expired", 1), ("1", 1), ("7", 1), ("30", 1), ("90", 1), ("365", 0), ("more", 1), ("never", 1)];
        assert_eq!(counts, expected);
    }
}
