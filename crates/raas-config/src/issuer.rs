//! A vendor's issuer of tokens, from four keys of its section.

use std::path::Path;

use raas_server::TokenIssuer;

use crate::ini::{IniError, Value};

/// The values of the four keys.
#[derive(Default)]
pub(crate) struct IssuerKeys {
    /// `token_realm`
    pub(crate) realm: Option<Value>,
    /// `token_service`
    pub(crate) service: Option<Value>,
    /// `token_issuer`
    pub(crate) issuer: Option<Value>,
    /// `token_keys`
    pub(crate) keys: Option<Value>,
}

impl IssuerKeys {
    /// The issuer; `None` without any of the keys. A relative path in `token_keys` starts at `folder`.
    ///
    /// # Errors
    /// Some of the keys are missing, or a value cannot be used.
    pub(crate) fn issuer(self, folder: &Path) -> Result<Option<TokenIssuer>, IniError> {
        let values = [&self.realm, &self.service, &self.issuer, &self.keys];
        let Some(first) = values.into_iter().flatten().next() else { return Ok(None) };
        let [Some(realm), Some(service), Some(issuer), Some(keys)] = values else {
            return Err(
                first.error("token_realm, token_service, token_issuer, token_keys go together".into())
            );
        };
        TokenIssuer::new(&realm.text, &service.text, &issuer.text, &folder.join(&keys.text))
            .map(Some)
            .map_err(|error| first.error(error))
    }
}
