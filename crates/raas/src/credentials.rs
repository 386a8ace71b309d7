//! What the server signs URLs of private buckets with: the credentials that AWS's chain finds, renewed
//! before they expire, in the background, so that no request waits for it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use raas_s3::CredentialChain;
use raas_server::{CredentialError, CredentialSource, Credentials};

use crate::storage::s3::aws_settings;

use crate::config::Aws;
use raas_base::failure::Failure;

/// Credentials are asked for anew so long before they expire: a URL dies with the credential that signed it.
const AHEAD: Duration = Duration::from_secs(15 * 60);
/// And so long after a failure.
const AGAIN: Duration = Duration::from_secs(15);

/// What was found at last.
type Latest = Result<Arc<Credentials>, CredentialError>;

/// Credentials that are renewed.
#[derive(Debug)]
struct Renewed(Arc<ArcSwap<Latest>>);

impl CredentialSource for Renewed {
    fn current(&self) -> Result<Arc<Credentials>, CredentialError> {
        self.0.load().as_ref().clone()
    }
}

/// The source of credentials for all buckets, and the region that is configured. The first credentials are there
/// when this returns, or the reason why there are none; with `needed` false nobody is asked, and there are none.
///
/// # Errors
/// `[aws]` contradicts itself.
pub(crate) async fn source(aws: &Aws, needed: bool) -> Result<Arc<dyn CredentialSource>, Failure> {
    if !needed {
        let none = CredentialError("no bucket needs credentials".into());
        return Ok(Arc::new(Renewed(Arc::new(ArcSwap::from_pointee(Err(none))))));
    }
    let chain = CredentialChain::load(&aws_settings(aws)).await?;
    let first = find(&chain).await;
    let latest = Arc::new(ArcSwap::from_pointee(first));
    tokio::spawn(keep(chain, Arc::clone(&latest)));
    Ok(Arc::new(Renewed(latest)))
}

/// Renews for as long as the process lives. What is there stays until something better is.
async fn keep(chain: CredentialChain, latest: Arc<ArcSwap<Latest>>) {
    loop {
        let pause = match latest.load().as_ref() {
            Ok(credentials) => match credentials.expires {
                Some(expires) => until_renewal(expires, SystemTime::now()),
                // Keys of a file may be changed for others; the file is looked at now and then.
                None => AHEAD,
            },
            Err(_) => AGAIN,
        };
        tokio::time::sleep(pause).await;
        match (find(&chain).await, latest.load().as_ref()) {
            (Err(error), Ok(_)) => tracing::warn!(%error, "credentials could not be renewed"),
            (found, _) => latest.store(Arc::new(found)),
        }
    }
}

fn until_renewal(expires: SystemTime, now: SystemTime) -> Duration {
    let left = expires.duration_since(now).unwrap_or_default();
    // Short-lived ones are renewed at half of what is left, and nothing is asked in a rush.
    left.saturating_sub(AHEAD).max(left / 2).max(AGAIN)
}

async fn find(chain: &CredentialChain) -> Latest {
    match chain.find().await {
        Ok(found) => Ok(Arc::new(Credentials {
            access_key_id: found.access_key_id,
            secret_access_key: found.secret_access_key.expose().to_owned(),
            session_token: found.session_token.map(|token| token.expose().to_owned()),
            expires: found.expires,
        })),
        Err(error) => Err(CredentialError(format!("there are no credentials to sign with: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raas_base::Secret;

    #[tokio::test]
    async fn keys_of_the_configuration_sign_and_are_not_shown() {
        let aws = Aws {
            access_key_id: Some("AKIAEXAMPLE".into()),
            secret_access_key: Some(Secret::new("hunter2")),
            ..Aws::default()
        };
        let source = source(&aws, true).await.unwrap();
        let found = source.current().unwrap();
        assert_eq!(
            (found.access_key_id.as_str(), found.secret_access_key.as_str()),
            ("AKIAEXAMPLE", "hunter2")
        );
        assert!(!format!("{source:?}").contains("hunter2"));
    }

    #[test]
    fn renewal_comes_before_the_end() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert_eq!(until_renewal(now + minutes(60), now), minutes(45));
        assert_eq!(until_renewal(now + minutes(10), now), minutes(5));
        assert_eq!(until_renewal(now - minutes(1), now), AGAIN);
    }
}
