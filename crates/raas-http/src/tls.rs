//! Whose certificates a client trusts, and which certificate it shows.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::any_certificate;

/// Whose certificates a client trusts.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The authorities that this machine trusts, or those of the web if it has none.
    System,
    /// The authorities of [`Trust::System`], and these, in DER.
    SystemAnd(Vec<CertificateDer<'static>>),
    /// These authorities, in DER.
    Authorities(Vec<CertificateDer<'static>>),
    /// Any certificate, for servers on this machine: they are found by address, and their certificates are for the
    /// names that clients use. The request must hold no secret, unless the operator has decided otherwise.
    AnyCertificate,
}

/// The certificate of a client, with its key.
pub struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Why a certificate of a client or a list of authorities cannot be used. No text holds a part of a key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The text has no certificate in PEM.
    #[error("it has no certificate in PEM")]
    Certificate,
    /// The text has no private key in PEM.
    #[error("it has no private key in PEM, or the key has a password")]
    Key,
    /// Key and certificate do not belong together, or the key's algorithm is unknown.
    #[error("the key and the certificate cannot be used together: {0}")]
    Pair(#[from] rustls::Error),
}

impl ClientIdentity {
    /// Reads a certificate, with the certificates between it and its authority, and its key.
    ///
    /// # Errors
    /// A part is missing, or the key is not the certificate's.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = authorities_from_pem(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::Key)?;
        builder()
            .with_root_certificates(RootCertStore::empty())
            .with_client_auth_cert(chain.clone(), key.clone_key())?;
        Ok(Self { chain, key })
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity")
    }
}

/// Reads certificates in PEM.
///
/// # Errors
/// There is none, or one of them is damaged.
pub fn authorities_from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let found = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    found.ok().filter(|found| !found.is_empty()).ok_or(IdentityError::Certificate)
}

/// The configuration of a client.
pub(crate) fn config(trust: &Trust, identity: Option<&ClientIdentity>) -> ClientConfig {
    let builder = match trust {
        Trust::System => builder().with_root_certificates(system(&[])),
        Trust::SystemAnd(authorities) => builder().with_root_certificates(system(authorities)),
        Trust::Authorities(authorities) => builder().with_root_certificates(of(authorities)),
        Trust::AnyCertificate => any_certificate::accept(builder()),
    };
    with_identity(builder, identity)
}

fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<&ClientIdentity>,
) -> ClientConfig {
    match identity {
        None => builder.with_no_client_auth(),
        Some(ClientIdentity { chain, key }) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .expect("the pair was tried when it was read"),
    }
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites of every version of TLS that rustls knows")
}

fn of(authorities: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // A certificate that is none cannot sign anything.
    roots.add_parsable_certificates(authorities.iter().cloned());
    roots
}

/// The authorities that the machine trusts, and `more`, which an operator adds. A container without any certificates
/// trusts the web's. The certificates are read once for the process: reading and parsing hundreds of them takes a
/// while.
fn system(more: &[CertificateDer<'static>]) -> RootCertStore {
    static READ: OnceLock<RootCertStore> = OnceLock::new();
    let read = || {
        let roots = of(&rustls_native_certs::load_native_certs().certs);
        if !roots.is_empty() {
            return roots;
        }
        RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned())
    };
    let mut roots = READ.get_or_init(read).clone();
    roots.add_parsable_certificates(more.iter().cloned());
    roots
}
