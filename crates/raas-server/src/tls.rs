//! TLS of the server's own: which certificate a client is shown, and whether it is asked for one.

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

/// What connections begin with.
pub(crate) struct Tls {
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) challenges: Arc<Challenges>,
    plain: Arc<ServerConfig>,
    /// The same, where the client is asked for a certificate. It need not have one.
    asking: Arc<ServerConfig>,
}

/// What a connection is for.
pub(crate) enum Purpose {
    /// Requests.
    Serve(Arc<ServerConfig>),
    /// To show a certification authority that the name is ours. Nothing is asked on it.
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

    /// What the client begins the connection for. It is asked for a certificate only where the site that it names
    /// takes some, since browsers bother people with that.
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
