//! What URLs are signed with.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// A key of an S3 service.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The key's name, which stands in every URL that it signs.
    pub access_key_id: String,
    /// The key itself.
    pub secret_access_key: String,
    /// What comes with a key for a time; it stands in every URL too.
    pub session_token: Option<String>,
    /// When the key ends, and every URL that it signed.
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

/// What has the credentials.
///
/// It is asked for every URL, so it answers from memory: who renews credentials does so elsewhere, in time, and
/// gives the same `Arc` until then.
pub trait CredentialSource: fmt::Debug + Send + Sync + 'static {
    /// The credentials to sign with now.
    ///
    /// # Errors
    /// There are none.
    fn current(&self) -> Result<Arc<Credentials>, CredentialError>;
}

/// Credentials that stay.
impl CredentialSource for Arc<Credentials> {
    fn current(&self) -> Result<Arc<Credentials>, CredentialError> {
        Ok(Arc::clone(self))
    }
}

/// Why nothing can be signed. The text is for the log and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CredentialError(pub String);
