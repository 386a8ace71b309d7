//! The access policy of a site.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use hyper::header::HeaderValue;

use super::{
    ClientCa, CustomerKeys, Issuer, RequestedScope, Scope, TokenIssuer, TokenKey, TokenVerdict, Users,
    Visitor, challenge,
};

/// Decides who may read the protected repositories of a site. An empty policy admits nobody.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccessPolicy {
    pub(crate) users: Option<Arc<Users>>,
    pub(crate) issuer: Option<Arc<Issuer>>,
    pub(crate) client_ca: Option<Arc<ClientCa>>,
    /// The customers that the metadata names.
    pub(crate) customers: Option<CustomerKeys>,
}

/// The configured sources of an [`AccessPolicy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AccessConfig<'a> {
    /// A file of users, as `htpasswd -B` writes it.
    pub(crate) users: Option<&'a Path>,
    pub(crate) issuer: Option<&'a TokenIssuer>,
    pub(crate) client_ca: Option<ClientCaConfig<'a>>,
}

/// The configured authorities of client certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientCaConfig<'a> {
    /// A PEM file of the authorities.
    pub(crate) file: &'a Path,
    /// Whether a certificate grants only the paths that it lists.
    pub(crate) entitlements: bool,
}

impl AccessPolicy {
    /// Reads the files that have changed, and starts to follow new ones. Returns whether the configuration names other
    /// sources than before.
    pub(crate) fn follow(&mut self, config: AccessConfig<'_>, token_key: &TokenKey) -> bool {
        let mut changed = false;
        match (&self.users, config.users) {
            (Some(users), Some(file)) if users.file() == file => users.poll(),
            (None, None) => {}
            (_, file) => {
                self.users = file.map(|file| Arc::new(Users::new(file, token_key)));
                changed = true;
            }
        }
        match (&self.issuer, config.issuer) {
            (Some(issuer), Some(config)) if issuer.config() == config => issuer.poll(),
            (None, None) => {}
            (_, config) => {
                self.issuer = config.map(|config| Arc::new(Issuer::new(config.clone())));
                changed = true;
            }
        }
        match (&self.client_ca, config.client_ca) {
            (Some(ca), Some(config)) if ca.config() == config => ca.poll(),
            (None, None) => {}
            (_, config) => {
                self.client_ca = config.map(|config| Arc::new(ClientCa::new(config)));
                changed = true;
            }
        }
        changed
    }

    /// The number of files that the policy names and that cannot be read now, or are not valid. The log says why.
    pub(crate) fn unreadable_files(&self) -> usize {
        let users = self.users.as_ref().is_some_and(|users| users.is_unreadable());
        let keys = self.issuer.as_ref().is_some_and(|issuer| issuer.is_unreadable());
        let authorities = self.client_ca.as_ref().is_some_and(|ca| ca.is_unreadable());
        [users, keys, authorities].into_iter().filter(|is_unreadable| *is_unreadable).count()
    }

    /// The same policy with the customers of the current metadata.
    pub(crate) fn with_customers(&self, customers: Option<CustomerKeys>) -> Self {
        Self { customers, ..self.clone() }
    }

    /// A token for a visitor who has logged in, or for a guest. None if this server issues no tokens.
    pub(crate) fn token(&self, visitor: &Visitor, asked: &RequestedScope, now: SystemTime) -> Option<String> {
        match (&self.users, &self.customers, visitor) {
            (None, None, _) => None,
            (_, Some(customers), Visitor::Customer(_)) | (None, Some(customers), _) => {
                Some(customers.token(visitor, asked, now))
            }
            (Some(users), ..) => Some(users.token(visitor, now)),
        }
    }

    /// Whether any visitor may read protected repositories.
    pub(crate) fn admits_anyone(&self) -> bool {
        self.reads_authorization() || self.client_ca.is_some()
    }

    /// The verdict about a token. A customer's token begins with a prefix of its own. A user's token has two parts, a
    /// token of another issuer has three.
    pub(super) fn check_token(&self, token: &str, now: SystemTime) -> TokenVerdict {
        if let Some(customers) = self.customers.as_ref().filter(|_| CustomerKeys::reads(token)) {
            return customers.check_token(token, now);
        }
        match (&self.issuer, &self.users) {
            (Some(issuer), _) if token.matches('.').count() == 2 => issuer.check_token(token, now),
            (_, Some(users)) => users.check_token(token, now),
            _ => TokenVerdict::Forged,
        }
    }

    /// Whether a user name and a password may let a visitor see more.
    pub(crate) fn checks_passwords(&self) -> bool {
        self.users.is_some() || self.customers.is_some()
    }

    /// Whether the `Authorization` header has a meaning.
    pub(crate) fn reads_authorization(&self) -> bool {
        self.users.is_some() || self.issuer.is_some() || self.customers.is_some()
    }

    /// The challenge that tells a client where to get a token: from the issuer, or from this server.
    pub(crate) fn challenge(
        &self,
        host: &str,
        scope: Option<Scope<'_>>,
        secure: bool,
        error: Option<&str>,
    ) -> HeaderValue {
        match &self.issuer {
            Some(issuer) => {
                let text = issuer.challenge(scope, error);
                HeaderValue::try_from(text)
                    .expect("the parts of the challenge were checked to be visible ASCII")
            }
            None => challenge(host, scope, secure, error),
        }
    }
}
