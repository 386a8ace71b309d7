//! The HTTP client for ACME, on hyper and rustls as elsewhere in the server.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::order;
use crate::http_client::causes;

/// How long an authority may take to begin an answer.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Http(Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>);

impl Http {
    /// Trusts only the roots of `ca`, or the roots of this machine without it.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, order::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?;
        let config = match ca {
            None => match builder.clone().with_native_roots() {
                Ok(builder) => builder,
                // A container often has no roots. The built-in roots of the web replace them.
                Err(_) => builder.with_webpki_roots(),
            },
            Some(file) => {
                let named = |error: &dyn std::fmt::Display| format!("roots in {}: {error}", file.display());
                let mut roots = RootCertStore::empty();
                for root in CertificateDer::pem_file_iter(file).map_err(|e| named(&e))? {
                    roots.add(root.map_err(|e| named(&e))?).map_err(|e| named(&e))?;
                }
                if roots.is_empty() {
                    return Err(named(&"the file has no certificate").into());
                }
                builder.with_root_certificates(roots)
            }
        };
        let config = config.with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let sent = self.0.request(request);
        Box::pin(async move {
            match tokio::time::timeout(TIMEOUT, sent).await {
                Ok(Ok(response)) => Ok(response.into()),
                Ok(Err(error)) => Err(Error::Other(format!("cannot connect: {}", causes(&error)).into())),
                Err(_) => Err(Error::Other("the authority does not respond".into())),
            }
        })
    }
}
