//! The server's TLS: its certificates, and client certificates in the handshake.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoClientAuth};

use crate::site::Snapshot;

mod certificates;
mod challenges;
mod client;
mod files;

pub(crate) use certificates::{Certificate, Certificates};
pub(crate) use challenges::{Challenges, Proof};
pub use files::CertificateFiles;
pub(crate) use files::CertificateFollower;

/// Chooses the TLS configuration of a connection.
pub(crate) struct Tls {
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) challenges: Arc<Challenges>,
    plain: Arc<ServerConfig>,
    /// Requests a client certificate. The client need not have one.
    asking: Arc<ServerConfig>,
}

/// The purpose of a connection.
pub(crate) enum Purpose {
    /// Requests.
    Serve(Arc<ServerConfig>),
    /// To prove a name to a certification authority. No request is answered.
    Prove(Arc<ServerConfig>),
}

impl Tls {
    pub(crate) fn new(certificates: Arc<Certificates>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(default_provider());
        let plain = config(&provider, Arc::new(NoClientAuth), Arc::clone(&certificates))?;
        let asking = config(
            &provider,
            Arc::new(client::AnyClientCertificate::new(&provider)),
            Arc::clone(&certificates),
        )?;
        Ok(Self {
            certificates,
            challenges: Arc::default(),
            plain: Arc::new(plain),
            asking: Arc::new(asking),
        })
    }

    /// The purpose of a connection. A client certificate is requested only where the site accepts some, because
    /// browsers ask their users for one.
    pub(crate) fn purpose(&self, hello: &ClientHello<'_>, snapshot: &Snapshot) -> Purpose {
        if let Some(config) = self.challenges.answer(hello) {
            return Purpose::Prove(config);
        }
        let site = snapshot.site_for_host(hello.server_name());
        let asks = site.is_some_and(|site| site.access.client_ca.is_some());
        Purpose::Serve(Arc::clone(if asks { &self.asking } else { &self.plain }))
    }
}

fn config(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    certificates: Arc<Certificates>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_safe_default_protocol_versions()?.with_client_cert_verifier(verifier);
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
