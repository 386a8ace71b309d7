//! A customer: the granted repositories, and the keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AccessFileError, FORMAT, KeyName, SecretHash, text};
use crate::{RepositoryName, RepositoryPattern, Utc};

/// A customer of a vendor. The name of the file is the customer's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    format: u32,
    /// The protected repositories that the customer may see, in the order in which they were granted.
    #[serde(with = "text::patterns")]
    pub repositories: Vec<RepositoryPattern>,
    /// The customer's keys.
    pub keys: BTreeMap<KeyName, CustomerKey>,
    /// Keys of the JSON object that only a newer raas knows.
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// A key of a customer: one secret, or several during a rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerKey {
    /// When the key was made.
    #[serde(with = "text::time")]
    pub created: Utc,
    /// The first second at which the key is not valid any longer.
    #[serde(default, with = "text::maybe_time", skip_serializing_if = "Option::is_none")]
    pub expires: Option<Utc>,
    /// When the key was revoked. A revoked key never becomes valid again.
    #[serde(default, with = "text::maybe_time", skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Utc>,
    /// The secrets, the newest last.
    pub secrets: Vec<KeySecret>,
    /// Keys of the JSON object that only a newer raas knows.
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// A secret of a key. Only its hash is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySecret {
    /// The hash.
    pub hash: SecretHash,
    /// When the secret was made.
    #[serde(with = "text::time")]
    pub created: Utc,
    /// The first second at which a rotated secret is not valid any longer.
    #[serde(default, with = "text::maybe_time", skip_serializing_if = "Option::is_none")]
    pub until: Option<Utc>,
    /// Keys of the JSON object that only a newer raas knows.
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// Whether a key is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It is valid.
    Valid,
    /// It has expired at this time.
    Expired(Utc),
    /// It was revoked at this time.
    Revoked(Utc),
}

/// Whether a secret is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretState {
    /// The secret is as valid as its key.
    Key(KeyState),
    /// A rotation replaced it, and its overlap ended at this time.
    Replaced(Utc),
}

impl Customer {
    /// A customer without keys.
    pub fn new(repositories: Vec<RepositoryPattern>) -> Self {
        Self { format: FORMAT, repositories, keys: BTreeMap::new(), other: Map::new() }
    }

    /// Reads a customer's file.
    ///
    /// # Errors
    /// The bytes are not a customer's file, or a newer raas wrote them.
    pub fn parse(bytes: &[u8]) -> Result<Self, AccessFileError> {
        super::parse(bytes)
    }

    /// The customer's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        super::to_bytes(self)
    }

    /// Whether the customer may see a protected repository.
    pub fn may_see(&self, repository: &RepositoryName) -> bool {
        self.repositories.iter().any(|pattern| pattern.matches(repository))
    }
}

impl CustomerKey {
    /// A key with its first secret.
    pub fn new(hash: SecretHash, now: Utc, expires: Option<Utc>) -> Self {
        let secrets = vec![KeySecret { hash, created: now, until: None, other: Map::new() }];
        Self { created: now, expires, revoked: None, secrets, other: Map::new() }
    }

    /// The secrets that have ended and that the key remembers. A server tells a machine with such a secret that it was
    /// replaced. It would take a forgotten one for a guess.
    const REMEMBERED: usize = 3;

    /// Adds a secret. The earlier ones stay valid until `until`, or until an earlier end that they have already.
    /// Of the secrets that are not valid any longer, the last ones are remembered.
    pub fn rotate(&mut self, hash: SecretHash, now: Utc, until: Utc) {
        for secret in &mut self.secrets {
            secret.until = Some(secret.until.map_or(until, |before| before.min(until)));
        }
        let has_ended = |secret: &KeySecret| secret.until.is_some_and(|until| until <= now);
        let ended = self.secrets.iter().filter(|secret| has_ended(secret)).count();
        let mut forgotten = ended.saturating_sub(Self::REMEMBERED);
        self.secrets.retain(|secret| {
            let forget = forgotten > 0 && has_ended(secret);
            forgotten -= usize::from(forget);
            !forget
        });
        self.secrets.push(KeySecret { hash, created: now, until: None, other: Map::new() });
    }

    /// Whether the key is valid.
    pub fn state(&self, now: Utc) -> KeyState {
        KeyState::of(self.revoked, self.expires, now)
    }

    /// Whether a secret of the key is valid.
    pub fn state_of(&self, secret: &KeySecret, now: Utc) -> SecretState {
        SecretState::of(self.state(now), secret.until, now)
    }
}

impl KeyState {
    /// The state of a key with these times.
    pub fn of(revoked: Option<Utc>, expires: Option<Utc>, now: Utc) -> Self {
        match (revoked, expires) {
            (Some(at), _) => KeyState::Revoked(at),
            (None, Some(at)) if at <= now => KeyState::Expired(at),
            (None, _) => KeyState::Valid,
        }
    }
}

impl SecretState {
    /// The state of a secret of a key in this state. `until` is the end of the overlap of a rotation.
    pub fn of(key: KeyState, until: Option<Utc>, now: Utc) -> Self {
        match (key, until) {
            (KeyState::Valid, Some(at)) if at <= now => SecretState::Replaced(at),
            (key, _) => SecretState::Key(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Utc {
        Utc::from_unix(seconds)
    }

    #[test]
    fn a_key_ends_when_it_expires_or_is_revoked() {
        let mut key = CustomerKey::new(SecretHash::of("a"), at(0), Some(at(100)));
        assert_eq!(key.state(at(99)), KeyState::Valid);
        assert_eq!(key.state(at(100)), KeyState::Expired(at(100)));
        key.revoked = Some(at(50));
        assert_eq!(key.state(at(60)), KeyState::Revoked(at(50)));
    }

    #[test]
    fn a_rotation_keeps_the_earlier_secret_for_the_overlap() {
        let mut key = CustomerKey::new(SecretHash::of("a"), at(0), None);
        key.rotate(SecretHash::of("b"), at(10), at(30));
        let states = |key: &CustomerKey, now| -> Vec<bool> {
            let valid = |s| key.state_of(s, at(now)) == SecretState::Key(KeyState::Valid);
            key.secrets.iter().map(valid).collect()
        };
        assert_eq!(states(&key, 29), [true, true]);
        assert_eq!(states(&key, 30), [false, true]);
        key.rotate(SecretHash::of("c"), at(20), at(90));
        assert_eq!(key.secrets[0].until, Some(at(30)), "a second rotation makes no overlap longer");
        key.rotate(SecretHash::of("d"), at(40), at(40));
        assert_eq!(
            states(&key, 40),
            [false, false, false, true],
            "no overlap: all earlier secrets end at once"
        );
        assert_eq!(key.state_of(&key.secrets[2], at(41)), SecretState::Replaced(at(40)));
    }

    #[test]
    fn a_key_remembers_only_the_last_secrets_that_have_ended() {
        let mut key = CustomerKey::new(SecretHash::of("0"), at(0), None);
        for n in 1..10 {
            // Every other rotation has an overlap.
            key.rotate(SecretHash::of(&n.to_string()), at(n), at(n + 5 * (n % 2)));
        }
        let hashes: Vec<_> = key.secrets.iter().map(|secret| secret.hash).collect();
        let last = ["5", "6", "7", "8", "9"].map(SecretHash::of);
        assert_eq!(hashes, last);
    }

    #[test]
    fn a_file_keeps_the_keys_of_a_newer_raas_at_every_depth() {
        let mut customer = Customer::new(vec!["appliance/*".parse().unwrap()]);
        let key = CustomerKey::new(SecretHash::of("a"), at(0), Some(at(86_400)));
        customer.keys.insert("ci".parse().unwrap(), key);
        let mut json: Value = serde_json::from_slice(&customer.to_bytes()).unwrap();
        json["x"] = 1.into();
        json["keys"]["ci"]["y"] = 2.into();
        json["keys"]["ci"]["secrets"][0]["z"] = 3.into();
        let read = Customer::parse(&serde_json::to_vec(&json).unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&read.to_bytes()).unwrap(), json);
        assert!(
            read.may_see(&"appliance/ui".parse().unwrap()) && !read.may_see(&"appliance".parse().unwrap())
        );
        assert!(!String::from_utf8(read.to_bytes()).unwrap().contains("\"revoked\""));
    }
}
