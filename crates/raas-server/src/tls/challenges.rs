//! Proves control of a name to a certification authority, by a certificate that only the server can show for it.
//!
//! Source: RFC 8737 (TLS-ALPN-01).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// The ALPN protocol of the authority's connections.
const PROTOCOL: &[u8] = b"acme-tls/1";

/// The proofs that an authority may ask for now, by name. Only connections with that protocol look here.
#[derive(Debug, Default)]
pub(crate) struct Challenges(Mutex<HashMap<String, Arc<ServerConfig>>>);

/// A proof that is shown until this is dropped.
#[derive(Debug)]
pub(crate) struct Proof {
    challenges: Arc<Challenges>,
    name: String,
}

impl Drop for Proof {
    fn drop(&mut self) {
        self.challenges.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Challenges {
    /// Makes the server show a proof. `digest` is the hash of the key authorization.
    pub(crate) fn show(
        self: &Arc<Self>,
        name: &str,
        digest: &[u8],
    ) -> Result<Proof, Box<dyn std::error::Error + Send + Sync>> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let key = PrivateKeyDer::try_from(key.serialize_der())?;
        let provider = default_provider();
        let key = provider.key_provider.load_private_key(key)?;
        // Not `with_single_cert`: it would reject the certificate's critical extension.
        let shown = CertifiedKey::new(vec![certificate.into()], key);
        let builder = ServerConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        let name = name.to_ascii_lowercase();
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.insert(name.clone(), Arc::new(config));
        Ok(Proof { challenges: Arc::clone(self), name })
    }

    /// The TLS configuration for a connection of an authority. None for any other connection.
    pub(crate) fn answer(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        if !hello.alpn()?.eq([PROTOCOL]) {
            return None;
        }
        let name = hello.server_name()?.to_ascii_lowercase();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_shown_until_it_is_dropped() {
        let challenges = Arc::<Challenges>::default();
        let proof = challenges.show("A.example.com", &[7; 32]).unwrap();
        let shown = |name: &str| challenges.0.lock().unwrap().contains_key(name);
        assert!(shown("a.example.com") && !shown("b.example.com"));
        drop(proof);
        assert!(!shown("a.example.com"));
    }
}
