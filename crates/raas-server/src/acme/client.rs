//! The HTTP client for ACME, on raas-http as elsewhere in the server.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::http::uri::Scheme;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use raas_http::{Client, ClientOptions, ForwardProxies, Trust};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::order;

/// How long an authority may take to begin an answer.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Http(Client);

impl Http {
    /// Trusts only the roots of `ca`, or the roots of this machine without it.
    pub(super) fn new(ca: Option<&Path>, proxies: Arc<ForwardProxies>) -> Result<Self, order::Error> {
        let trust = ca.map_or(Ok(Trust::System), |file| roots(file).map(Trust::Authorities))?;
        let options = ClientOptions { answer: TIMEOUT, proxies, trust, ..ClientOptions::default() };
        Ok(Self(Client::new(&options)))
    }
}

/// The authorities in a PEM file.
fn roots(file: &Path) -> Result<Vec<CertificateDer<'static>>, order::Error> {
    let named = |error: &dyn std::fmt::Display| format!("roots in {}: {error}", file.display());
    let read = CertificateDer::pem_file_iter(file).map_err(|e| named(&e))?;
    let roots = read.collect::<Result<Vec<_>, _>>().map_err(|e| named(&e))?;
    // A client without any authority would trust nobody, and say nothing of the file.
    for root in &roots {
        RootCertStore::empty().add(root.clone()).map_err(|e| named(&e))?;
    }
    if roots.is_empty() { Err(named(&"the file has no certificate").into()) } else { Ok(roots) }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let failed = |error: String| Error::Other(error.into());
            // The requests hold the account's signatures, so they never leave TLS.
            if request.uri().scheme() != Some(&Scheme::HTTPS) {
                return Err(failed("the authority's directory has a URL that is not https".into()));
            }
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|error| failed(error.to_string()))?.to_bytes();
            let sent = client.send(Request::from_parts(head, Full::new(body))).await;
            Ok(sent.map_err(|error| failed(error.to_string()))?.into())
        })
    }
}
