//! The certificates that are trusted.

use std::fmt;

use raas_types::{Digest, Utc};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use webpki::anchor_from_trusted_cert;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use crate::pem;

/// The most certificates in one file.
const MAX_CERTIFICATES: usize = 100;

/// A certificate that is trusted: that of an authority, or that of a signer.
#[derive(Clone)]
pub struct TrustedCertificate {
    der: CertificateDer<'static>,
    subject: String,
    since: Utc,
    until: Utc,
    /// Set for the certificate of an authority.
    anchor: Option<TrustAnchor<'static>>,
}

/// Why a file holds no certificates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The file has no certificate.
    #[error("it has no `-----BEGIN CERTIFICATE-----`")]
    None,
    /// A section is damaged.
    #[error("a section of it is not valid PEM")]
    Damaged,
    /// A certificate cannot be read.
    #[error("a certificate of it cannot be read: {0}")]
    Unreadable(String),
    /// The file has very many certificates.
    #[error("it holds more than {MAX_CERTIFICATES} certificates")]
    TooMany,
}

impl TrustedCertificate {
    /// All certificates in a PEM file.
    ///
    /// # Errors
    /// The file has no certificate, or one that cannot be read.
    pub fn read_all(file: &[u8]) -> Result<Vec<Self>, CertificateError> {
        let mut all: Vec<Self> = Vec::new();
        for section in CertificateDer::pem_slice_iter(file) {
            let certificate = Self::parse(section.map_err(|_| CertificateError::Damaged)?)?;
            if all.len() == MAX_CERTIFICATES {
                return Err(CertificateError::TooMany);
            }
            if !all.contains(&certificate) {
                all.push(certificate);
            }
        }
        if all.is_empty() { Err(CertificateError::None) } else { Ok(all) }
    }

    fn parse(der: CertificateDer<'static>) -> Result<Self, CertificateError> {
        let unreadable = |error: &dyn fmt::Display| CertificateError::Unreadable(error.to_string());
        let parsed = Certificate::from_der(&der).map_err(|error| unreadable(&error))?;
        let tbs = parsed.tbs_certificate();
        let constraints = tbs.get_extension::<BasicConstraints>().map_err(|error| unreadable(&error))?;
        let usage = tbs.get_extension::<KeyUsage>().map_err(|error| unreadable(&error))?;
        let is_authority = constraints.is_some_and(|(_, constraints)| constraints.ca)
            && usage.is_none_or(|(_, usage)| usage.key_cert_sign());
        let anchor = match is_authority {
            true => Some(anchor_from_trusted_cert(&der).map_err(|error| unreadable(&error))?.to_owned()),
            false => None,
        };
        let validity = tbs.validity();
        Ok(Self {
            subject: tbs.subject().to_string().chars().filter(|c| !c.is_control()).take(200).collect(),
            since: Utc::from_unix(validity.not_before.to_unix_duration().as_secs()),
            until: Utc::from_unix(validity.not_after.to_unix_duration().as_secs()),
            anchor,
            der,
        })
    }

    /// Whom the certificate is for, such as `CN=acme,O=Acme,C=DE`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The SHA-256 of the certificate in DER: a short name for it.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// The certificate as a PEM file.
    pub fn to_pem(&self) -> String {
        pem::write("CERTIFICATE", &self.der)
    }

    pub(super) fn is_valid_at(&self, time: Utc) -> bool {
        (self.since..=self.until).contains(&time)
    }

    pub(super) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// What it is as the end of a chain, if it may be one.
    pub(super) fn anchor(&self) -> Option<&TrustAnchor<'static>> {
        self.anchor.as_ref()
    }
}

impl PartialEq for TrustedCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for TrustedCertificate {}

impl fmt::Debug for TrustedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedCertificate({})", self.fingerprint())
    }
}
