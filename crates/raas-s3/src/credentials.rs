//! The credentials that AWS's standard chain finds, for programs that sign requests themselves.

use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use raas_base::Secret;
use raas_base::failure::Failure;
use raas_http::ForwardProxies;

use crate::aws;
use crate::settings::AwsSettings;

/// The chain of sources of credentials.
#[derive(Debug, Clone)]
pub struct CredentialChain(SdkConfig);

/// A key to sign with.
#[derive(Debug, Clone)]
pub struct AwsCredentials {
    /// The key's id.
    pub access_key_id: String,
    /// The key's secret.
    pub secret_access_key: Secret,
    /// The token of a temporary key.
    pub session_token: Option<Secret>,
    /// When the key ends, if it is temporary.
    pub expires: Option<SystemTime>,
}

impl CredentialChain {
    /// The chain that the settings describe; sources in the network are asked through the proxies. No source is asked
    /// yet.
    ///
    /// # Errors
    /// The settings have only half of a key pair.
    pub async fn load(settings: &AwsSettings, proxies: &Arc<ForwardProxies>) -> Result<Self, Failure> {
        aws::load(settings, None, proxies).await.map(Self)
    }

    /// The region of buckets whose settings name none: that of the settings, of the environment or of the profile, else
    /// `us-east-1`.
    pub fn region(&self) -> &str {
        self.0.region().expect("`aws::load` sets a region").as_ref()
    }

    /// Asks the chain for credentials.
    ///
    /// # Errors
    /// No source has credentials. The text names the last source and the reason. It has no secret.
    pub async fn find(&self) -> Result<AwsCredentials, String> {
        let provider = self.0.credentials_provider().expect("`aws::load` sets a provider");
        let found = provider.provide_credentials().await.map_err(|error| {
            // The innermost cause names the source and what it lacks.
            let mut cause: &dyn Error = &error;
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            cause.to_string()
        })?;
        Ok(AwsCredentials {
            access_key_id: found.access_key_id().to_owned(),
            secret_access_key: Secret::new(found.secret_access_key()),
            session_token: found.session_token().map(Secret::new),
            expires: found.expiry(),
        })
    }
}
