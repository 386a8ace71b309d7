//! Who is let in to a site: everything that tells.

use std::sync::Arc;
use std::time::SystemTime;

use hyper::header::HeaderValue;

use super::{ClientCa, Issuer, Token, Users, challenge};
use crate::site::SiteConfig;

/// What tells who may see what is protected. Nobody does where it is empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    pub(crate) users: Option<Arc<Users>>,
    pub(crate) issuer: Option<Arc<Issuer>>,
    pub(crate) client_ca: Option<Arc<ClientCa>>,
}

impl Gate {
    /// Reads the files that changed, and begins with those that are new. Whether it is another one than before.
    pub(crate) fn follow(&mut self, config: &SiteConfig) -> bool {
        let mut changed = false;
        match (&self.users, &config.users) {
            (Some(users), Some(file)) if users.file() == file => users.poll(),
            (None, None) => {}
            (_, file) => {
                self.users = file.as_deref().map(|file| Arc::new(Users::new(file)));
                changed = true;
            }
        }
        match (&self.issuer, &config.issuer) {
            (Some(issuer), Some(config)) if issuer.config() == config => issuer.poll(),
            (None, None) => {}
            (_, config) => {
                self.issuer = config.clone().map(|config| Arc::new(Issuer::new(config)));
                changed = true;
            }
        }
        match (&self.client_ca, &config.client_ca) {
            (Some(ca), Some(file)) if ca.file() == file => ca.poll(),
            (None, None) => {}
            (_, file) => {
                self.client_ca = file.as_deref().map(|file| Arc::new(ClientCa::new(file)));
                changed = true;
            }
        }
        changed
    }

    /// Whether anybody is let in.
    pub(crate) fn opens(&self) -> bool {
        self.asks() || self.client_ca.is_some()
    }

    /// Who has this token. Ours have two parts, and those of others three.
    pub(super) fn holder(&self, token: &str, now: SystemTime) -> Token {
        match (&self.issuer, &self.users) {
            (Some(issuer), _) if token.matches('.').count() == 2 => issuer.holder(token, now),
            (_, Some(users)) => users.holder(token, now),
            _ => Token::Wrong,
        }
    }

    /// Whether somebody can say who they are in a header.
    pub(crate) fn asks(&self) -> bool {
        self.users.is_some() || self.issuer.is_some()
    }

    /// What tells a client where to get a token: from the issuer, or here.
    pub(crate) fn challenge(
        &self,
        host: &str,
        scope: Option<&str>,
        secure: bool,
        error: Option<&str>,
    ) -> HeaderValue {
        match &self.issuer {
            Some(issuer) => {
                let text = issuer.challenge(scope, error);
                HeaderValue::try_from(text).expect("what is in it was checked to be visible ASCII")
            }
            None => challenge(host, scope, secure),
        }
    }
}
