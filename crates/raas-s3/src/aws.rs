//! Credentials and region for AWS and for services like it.
//!
//! The standard chain is asked in its order: environment, profiles of `~/.aws/config` and `~/.aws/credentials` with
//! SSO, assumed roles and credential processes, web identity, the container's and the instance's role. Keys of the
//! section `[aws]` take precedence.

use std::sync::Arc;
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
#[cfg(feature = "storage")]
use aws_types::service_config::ServiceConfigKey;
use raas_http::ForwardProxies;

use crate::http_client::http_client;
use crate::settings::AwsSettings;
use raas_base::failure::{Failure, Kind};
#[cfg(feature = "storage")]
use raas_base::redact;

/// The region if nothing sets one. Most services that are not AWS ignore it; AWS answers with the bucket's region.
const DEFAULT_REGION: &str = "us-east-1";

/// Loads the configuration; `region` is the vendor's own. No source is asked for credentials before a request needs
/// them.
///
/// The result always has a credentials provider and a region.
///
/// # Errors
/// `[aws]` has only half of a key pair.
pub(crate) async fn load(
    aws: &AwsSettings,
    region: Option<&str>,
    proxies: &Arc<ForwardProxies>,
) -> Result<SdkConfig, Failure> {
    let http = http_client(Arc::clone(proxies));
    let provider_config = ProviderConfig::without_region().with_http_client(http.clone());
    let region = match region.or(aws.region.as_deref()) {
        Some(region) => Region::new(region.to_owned()),
        None => configured_region(aws, &provider_config).await,
    };
    let credentials = match (&aws.access_key_id, &aws.secret_access_key) {
        (Some(id), Some(secret)) => {
            let token = aws.session_token.as_ref().map(|token| token.expose().to_owned());
            let keys = Credentials::new(id, secret.expose(), token, None, "raas.cfg");
            SharedCredentialsProvider::new(keys)
        }
        (None, None) => chain(aws, region.clone(), &provider_config.with_region(Some(region.clone()))).await,
        _ => {
            let message = "[aws] has one of `aws_access_key_id` and `aws_secret_access_key`, and needs both";
            return Err(Failure::new(Kind::Usage, message)
                .hint("set both, or neither to use the environment, ~/.aws or the instance's role"));
        }
    };
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .region(region)
        .credentials_provider(credentials);
    if let Some(profile) = &aws.profile {
        loader = loader.profile_name(profile);
    }
    Ok(loader.load().await)
}

/// Refuses an endpoint that only AWS's own configuration knows: a server of the bucket, and what raas notes about it, would
/// take AWS for the service.
///
/// # Errors
/// The profile has such an endpoint.
#[cfg(feature = "storage")]
pub(crate) fn reject_other_endpoint(config: &SdkConfig) -> Result<(), Failure> {
    let key = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .expect("all parts of the key are set");
    let of_s3 = config.service_config().and_then(|found| found.load_config(key));
    let Some(endpoint) = of_s3.or_else(|| config.endpoint_url().map(str::to_owned)) else { return Ok(()) };
    let message = format!(
        "the profile of AWS names the service {}, and the vendor's section none",
        redact::url(&endpoint)
    );
    Err(Failure::new(Kind::Usage, message).hint(
        "set `s3_endpoint` in the vendor's section, or AWS_ENDPOINT_URL_S3 for every command and server",
    ))
}

/// The standard chain, with short timeouts for an instance's metadata service where there is none.
async fn chain(
    aws: &AwsSettings,
    region: Region,
    provider_config: &ProviderConfig,
) -> SharedCredentialsProvider {
    let instance = imds::Client::builder()
        .configure(provider_config)
        .max_attempts(2)
        .connect_timeout(Duration::from_millis(500))
        .read_timeout(Duration::from_secs(1))
        .build();
    // Without a region the chain would ask the instance for one, with time-outs of its own.
    let mut chain = DefaultCredentialsChain::builder()
        .configure(provider_config.clone())
        .region(region)
        .imds_client(instance);
    if let Some(profile) = &aws.profile {
        chain = chain.profile_name(profile);
    }
    SharedCredentialsProvider::new(chain.build().await)
}

/// The region of the environment or of the profile. The instance's own region says nothing about the bucket's.
async fn configured_region(aws: &AwsSettings, provider_config: &ProviderConfig) -> Region {
    let mut profile = ProfileFileRegionProvider::builder().configure(provider_config);
    if let Some(name) = &aws.profile {
        profile = profile.profile_name(name);
    }
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(profile.build())
        .or_else(Region::from_static(DEFAULT_REGION))
        .region()
        .await
        .unwrap_or(Region::from_static(DEFAULT_REGION))
}

#[cfg(test)]
mod tests {
    use super::*;
    use raas_base::Secret;

    #[test]
    fn keys_of_the_configuration_take_precedence_and_are_not_shown() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let aws = AwsSettings {
            access_key_id: Some("AKIAEXAMPLE".into()),
            secret_access_key: Some(Secret::new("hunter2")),
            region: Some("eu-west-1".into()),
            ..AwsSettings::default()
        };
        let proxies = Arc::new(ForwardProxies::none());
        let loaded = runtime.block_on(load(&aws, None, &proxies)).unwrap();
        assert_eq!(loaded.region().unwrap().as_ref(), "eu-west-1");
        assert!(!format!("{loaded:?}").contains("hunter2"));
        let loaded = runtime.block_on(load(&aws, Some("eu-central-1"), &proxies)).unwrap();
        assert_eq!(loaded.region().unwrap().as_ref(), "eu-central-1");
        let half = AwsSettings { secret_access_key: None, ..aws };
        assert!(
            runtime.block_on(load(&half, None, &proxies)).unwrap_err().to_string().contains("needs both")
        );
    }
}
