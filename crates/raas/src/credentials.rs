//! What the server signs URLs of private buckets with.
//!
//! For now a key that stays: of `[aws]`, else of the environment. A source that renews its key (a profile, SSO, the
//! role of an instance) implements [`CredentialSource`] and gives the same `Arc` until it has the next.

use std::sync::Arc;

use raas_server::{CredentialError, CredentialSource, Credentials};

use crate::config::{Aws, Secret};

/// The source of credentials for all buckets. Whether there are any is found out when something is to be signed.
pub(crate) fn source(aws: &Aws) -> Arc<dyn CredentialSource> {
    match find(aws, &|name| std::env::var(name).ok()) {
        Some(credentials) => Arc::new(Arc::new(credentials)),
        None => Arc::new(Nothing),
    }
}

fn find(aws: &Aws, environment: &dyn Fn(&str) -> Option<String>) -> Option<Credentials> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    if let (Some(id), Some(secret)) = (&aws.access_key_id, &aws.secret_access_key) {
        return Some(credentials(id.clone(), secret, aws.session_token.clone()));
    }
    let secret = Secret::new(set("AWS_SECRET_ACCESS_KEY")?);
    Some(credentials(set("AWS_ACCESS_KEY_ID")?, &secret, set("AWS_SESSION_TOKEN").map(Secret::new)))
}

fn credentials(id: String, secret: &Secret, token: Option<Secret>) -> Credentials {
    Credentials {
        access_key_id: id,
        secret_access_key: secret.expose().to_owned(),
        session_token: token.map(|token| token.expose().to_owned()),
        expires: None,
    }
}

/// No credentials at all.
#[derive(Debug)]
struct Nothing;

impl CredentialSource for Nothing {
    fn current(&self) -> Result<Arc<Credentials>, CredentialError> {
        Err(CredentialError(
            "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or [aws] in raas.cfg"
                .into(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_comes_before_the_environment() {
        let environment =
            |name: &str| Some(if name == "AWS_SESSION_TOKEN" { String::new() } else { name.into() });
        let found = find(&Aws::default(), &environment).unwrap();
        assert_eq!(found.access_key_id, "AWS_ACCESS_KEY_ID");
        assert_eq!(found.session_token, None, "an empty variable is none");
        let aws = Aws {
            access_key_id: Some("id".into()),
            secret_access_key: Some(Secret::new("secret")),
            ..Aws::default()
        };
        let found = find(&aws, &environment).unwrap();
        assert_eq!((found.access_key_id.as_str(), found.secret_access_key.as_str()), ("id", "secret"));
        assert_eq!(find(&Aws::default(), &|_| None), None);
        assert!(source(&aws).current().is_ok());
    }
}
