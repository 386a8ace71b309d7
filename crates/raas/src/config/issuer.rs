//! A vendor's issuer of tokens, from the keys of its section.

use std::path::Path;

use raas_server::TokenIssuer;

use super::ini::{IniError, Value};

/// The keys, which go together.
pub(super) const KEYS: [&str; 4] = ["token_realm", "token_service", "token_issuer", "token_keys"];

/// What was read of them so far.
#[derive(Default)]
pub(super) struct Parts<'a>([Option<&'a Value>; 4]);

impl<'a> Parts<'a> {
    /// Takes the value, if the key is one of them.
    pub(super) fn take(&mut self, key: &str, value: &'a Value) {
        if let Some(place) = KEYS.iter().position(|known| *known == key) {
            self.0[place] = Some(value);
        }
    }

    /// The issuer, if there is one. The file of its keys is meant from this folder.
    pub(super) fn issuer(&self, folder: &Path) -> Result<Option<TokenIssuer>, IniError> {
        let Some(first) = self.0.iter().flatten().next() else { return Ok(None) };
        let [Some(realm), Some(service), Some(issuer), Some(keys)] = self.0 else {
            return Err(first.error(format!("{} go together", KEYS.join(", "))));
        };
        let keys = folder.join(&keys.text);
        TokenIssuer::new(&realm.text, &service.text, &issuer.text, &keys)
            .map(Some)
            .map_err(|e| first.error(e))
    }
}
