//! raas's own HTTP client in the place of the SDK's: one TLS stack, and proxies as everywhere in raas.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use raas_http::{Client, ClientError, ClientOptions, ForwardProxies};

/// How long an answer may take. The SDK's own limits, which depend on the request, end a request sooner.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// For how long a connection that is not used is kept.
const IDLE: Duration = Duration::from_secs(90);

/// How much of an answer a connection keeps in memory, in bytes.
const BUFFER: usize = 400 * 1024;

/// A client for the SDK that goes through these proxies.
pub(crate) fn http_client(proxies: Arc<ForwardProxies>) -> SharedHttpClient {
    SharedHttpClient::new(Connectors { proxies, known: Mutex::default() })
}

/// The connectors, one for each choice of limits.
#[derive(Debug)]
struct Connectors {
    proxies: Arc<ForwardProxies>,
    known: Mutex<HashMap<Limits, SharedHttpConnector>>,
}

/// How long connecting may take, and how long the answer.
type Limits = (Option<Duration>, Option<Duration>);

impl HttpClient for Connectors {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let limits @ (connect, read) = (settings.connect_timeout(), settings.read_timeout());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let defaults = ClientOptions::default();
            let connect = connect.unwrap_or(defaults.connect);
            SharedHttpConnector::new(Connector(Client::new(&ClientOptions {
                connect,
                answer: read.map_or(LONGEST, |read| connect + read),
                idle: IDLE,
                buffer: BUFFER,
                proxies: Arc::clone(&self.proxies),
                ..defaults
            })))
        };
        known.entry(limits).or_insert_with(make).clone()
    }
}

#[derive(Debug)]
struct Connector(Client<SdkBody>);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        // The SDK leaves a connection on which a server has failed, since a new one may reach another server.
        let connection = raas_http::watch_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || {
                let connection = connection.clone();
                Some(
                    ConnectionMetadata::builder()
                        .proxied(false)
                        .poison_fn(move || connection.close_after_use())
                        .build(),
                )
            });
        }
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            match client.send(request).await {
                Ok(response) => HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                    .map_err(|error| ConnectorError::other(error.into(), None)),
                Err(error) => Err(match error {
                    ClientError::Request(_) => ConnectorError::user(error.into()),
                    ClientError::Silent(_) => ConnectorError::timeout(error.into()),
                    ClientError::Connection(_) | ClientError::Tls { .. } | ClientError::Redirect(_) => {
                        ConnectorError::io(error.into())
                    }
                }),
            }
        })
    }
}
