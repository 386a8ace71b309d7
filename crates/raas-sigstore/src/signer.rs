//! Whose signature it is.

use std::fmt;

use sigstore_verify::{SubjectAltName, VerificationResult};

use raas_signatures::{Invalid, legible};

/// Who made a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// What the issuer says of the signer.
    pub identity: Identity,
    /// The issuer of the identity: the URL of an OpenID Connect provider.
    pub issuer: String,
    /// The name of the image that was signed, such as `registry.example.com/app`. `None` if the format has none.
    pub reference: Option<String>,
}

/// The identity in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The e-mail address of a person or of a service account.
    Email(String),
    /// The URI of a program, such as a workflow of GitHub.
    Uri(String),
}

impl Signer {
    /// The signer by a checked certificate.
    ///
    /// # Errors
    /// A check was left out, or the certificate does not say whose it is.
    pub(crate) fn of(checked: &VerificationResult) -> Result<Self, Invalid> {
        let certificate = |why: &str| Invalid::Certificate(why.to_owned());
        if !(checked.certificate_verified() && checked.sct_verified() && checked.tlog_verified()) {
            return Err(certificate("not everything of it was checked"));
        }
        let identity = match checked.identity() {
            Some(SubjectAltName::Email(email)) => Identity::Email(email.clone()),
            Some(SubjectAltName::Uri(uri)) => Identity::Uri(uri.clone()),
            _ => return Err(certificate("it names neither an e-mail address nor a URI")),
        };
        let issuer = checked.issuer().ok_or_else(|| certificate("it does not name the issuer"))?;
        Ok(Self { identity, issuer: issuer.to_owned(), reference: None })
    }
}

/// As people read it: shortened, since the certificate has it.
impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Identity::Email(identity) | Identity::Uri(identity)) = &self.identity;
        write!(f, "{} from {}", legible(identity), legible(&self.issuer))
    }
}
