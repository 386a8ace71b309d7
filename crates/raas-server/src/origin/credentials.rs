//! The credentials that sign URLs.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// A key of an S3 service.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The id of the key. Every URL that the key signs contains it.
    pub access_key_id: String,
    /// The secret key.
    pub secret_access_key: String,
    /// The session token of a temporary key. Every URL that the key signs contains it.
    pub session_token: Option<String>,
    /// When the key expires, and with it every URL that it signed.
    pub expires: Option<SystemTime>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// A source of credentials.
///
/// The server asks it for every URL, so it must answer from memory. It must renew expiring credentials in the
/// background, and return the same `Arc` until then.
pub trait CredentialSource: fmt::Debug + Send + Sync + 'static {
    /// The credentials to sign with now.
    ///
    /// # Errors
    /// There are no credentials.
    fn current(&self) -> Result<Arc<Credentials>, CredentialError>;
}

/// Credentials that never change.
impl CredentialSource for Arc<Credentials> {
    fn current(&self) -> Result<Arc<Credentials>, CredentialError> {
        Ok(Arc::clone(self))
    }
}

/// Why a URL cannot be signed. The text is for the log and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CredentialError(pub String);
