//! The credentials with which the server signs URLs of private buckets. A task finds them by AWS's chain and renews them
//! before they expire, so that no request waits.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use raas_http::ForwardProxies;
use raas_s3::{AwsSettings, CredentialChain};
use raas_server::{CredentialError, CredentialSource, Credentials};

use crate::config::Aws;
use raas_base::failure::{Failure, Kind};

/// How long before their expiry credentials are renewed: a signed URL expires with its credentials.
const RENEW_BEFORE: Duration = Duration::from_secs(15 * 60);
/// The pause after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(15);

/// The result of the last search.
type Latest = Result<Arc<Credentials>, CredentialError>;

/// Credentials that a task renews.
#[derive(Debug)]
struct Renewed(Arc<ArcSwap<Latest>>);

impl CredentialSource for Renewed {
    fn current(&self) -> Result<Arc<Credentials>, CredentialError> {
        self.0.load().as_ref().clone()
    }
}

/// What AWS's standard chain says for all buckets.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) credentials: Arc<dyn CredentialSource>,
    /// The region of buckets whose section has none, if the chain was asked.
    pub(crate) region: Option<String>,
}

/// Asks the chain. When this returns, the first search for credentials has ended. If `needed` is false, nothing is
/// searched and there are no credentials.
///
/// # Errors
/// `[aws]` contradicts itself.
pub(crate) async fn source(aws: &Aws, needed: bool) -> Result<Found, Failure> {
    if !needed {
        let none = CredentialError("no bucket needs credentials".into());
        let credentials = Arc::new(Renewed(Arc::new(ArcSwap::from_pointee(Err(none)))));
        return Ok(Found { credentials, region: None });
    }
    let chain = CredentialChain::load(&aws_settings(aws), &proxies()?).await?;
    let region = Some(chain.region().to_owned());
    let first = find(&chain).await;
    let latest = Arc::new(ArcSwap::from_pointee(first));
    tokio::spawn(keep(chain, Arc::clone(&latest)));
    Ok(Found { credentials: Arc::new(Renewed(latest)), region })
}

/// The proxies that the environment names, for requests to AWS and to services like it.
///
/// # Errors
/// A variable is not the URL of a proxy.
pub(crate) fn proxies() -> Result<Arc<ForwardProxies>, Failure> {
    let proxies = ForwardProxies::from_environment();
    proxies.map(Arc::new).map_err(|error| Failure::new(Kind::Usage, error.to_string()))
}

/// The settings of `[aws]`.
pub(crate) fn aws_settings(aws: &Aws) -> AwsSettings {
    AwsSettings {
        access_key_id: aws.access_key_id.clone(),
        secret_access_key: aws.secret_access_key.clone(),
        session_token: aws.session_token.clone(),
        profile: aws.profile.clone(),
        region: aws.region.clone(),
    }
}

/// Renews the credentials for as long as the process lives. If a renewal fails, the earlier credentials stay.
async fn keep(chain: CredentialChain, latest: Arc<ArcSwap<Latest>>) {
    loop {
        let pause = match latest.load().as_ref() {
            Ok(credentials) => match credentials.expires {
                Some(expires) => until_renewal(expires, SystemTime::now()),
                // These may come from a file, which may have changed.
                None => RENEW_BEFORE,
            },
            Err(_) => RETRY_AFTER,
        };
        tokio::time::sleep(pause).await;
        match (find(&chain).await, latest.load().as_ref()) {
            (Err(error), Ok(_)) => tracing::warn!(%error, "cannot renew the credentials"),
            (found, _) => latest.store(Arc::new(found)),
        }
    }
}

fn until_renewal(expires: SystemTime, now: SystemTime) -> Duration {
    let left = expires.duration_since(now).unwrap_or_default();
    // Short-lived credentials are renewed after half of their remaining life, with a minimum pause between requests.
    left.saturating_sub(RENEW_BEFORE).max(left / 2).max(RETRY_AFTER)
}

async fn find(chain: &CredentialChain) -> Latest {
    match chain.find().await {
        Ok(found) => Ok(Arc::new(Credentials {
            access_key_id: found.access_key_id,
            secret_access_key: found.secret_access_key.expose().to_owned(),
            session_token: found.session_token.map(|token| token.expose().to_owned()),
            expires: found.expires,
        })),
        Err(error) => Err(CredentialError(format!("cannot find credentials for signing URLs: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raas_base::Secret;

    #[tokio::test]
    async fn keys_of_the_configuration_are_used_and_not_shown() {
        let aws = Aws {
            access_key_id: Some("AKIAEXAMPLE".into()),
            secret_access_key: Some(Secret::new("hunter2")),
            ..Aws::default()
        };
        let source = source(&aws, true).await.unwrap().credentials;
        let found = source.current().unwrap();
        assert_eq!(
            (found.access_key_id.as_str(), found.secret_access_key.as_str()),
            ("AKIAEXAMPLE", "hunter2")
        );
        assert!(!format!("{source:?}").contains("hunter2"));
    }

    #[test]
    fn credentials_are_renewed_before_they_expire() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert_eq!(until_renewal(now + minutes(60), now), minutes(45));
        assert_eq!(until_renewal(now + minutes(10), now), minutes(5));
        assert_eq!(until_renewal(now - minutes(1), now), RETRY_AFTER);
    }
}
