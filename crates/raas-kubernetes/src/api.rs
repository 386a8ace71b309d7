//! Requests to an API server: each with a time limit, a bounded answer and a bounded number of attempts.

use std::error::Error as _;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::client::Body;
use raas_http::TlsFault;
use raas_http::http::header::CONTENT_TYPE;
use raas_http::http::{Method, Request};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::status::Status;

/// How long a request may take, its answer included.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer, in bytes. A list of events may be long.
const MAX_SIZE: usize = 16 * 1024 * 1024;

/// The pauses before further attempts. Every request of this crate may be sent twice.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(2)];

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The API server refuses.
    #[error("the API server answered {}: {}", .0.code, .0.message)]
    Refused(Box<Status>),
    /// There is no answer, or it broke off.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// The certificate is not what raas trusts.
    #[error("the certificate of the API server is not trusted: {why}")]
    Untrusted {
        /// What is wrong with it.
        fault: TlsFault,
        /// The words of the TLS library.
        why: String,
    },
    /// The answer did not come in time.
    #[error("no answer of the API server within {} s", .0.as_secs())]
    Silent(Duration),
    /// The answer is not what the API promises.
    #[error("the answer is no {0}")]
    Unreadable(&'static str),
}

impl ApiError {
    /// Whether the object or the API is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code == 404)
    }

    /// Whether another attempt may succeed. The answer to an unknown field is 500 too, but has no reason.
    fn is_passing(&self) -> bool {
        match self {
            Self::Refused(status) => match status.code {
                429 | 502..=504 => true,
                500 => !status.message.contains("field not declared in schema"),
                _ => false,
            },
            Self::Unreachable(_) => true,
            // Another attempt would take as long, or get the same answer.
            Self::Silent(_) | Self::Untrusted { .. } | Self::Unreadable(_) => false,
        }
    }
}

/// A client of an API server.
pub(crate) struct Api {
    runtime: Runtime,
    client: Client,
    pauses: [Duration; 3],
    timeout: Duration,
}

impl Api {
    pub(crate) fn new(runtime: Runtime, client: Client) -> Self {
        Self { runtime, client, pauses: PAUSES, timeout: TIMEOUT }
    }

    /// Sets the time limit and leaves the pauses out, for tests.
    #[cfg(test)]
    pub(crate) fn hurry(&mut self, timeout: Duration) {
        self.pauses = [Duration::from_millis(1); 3];
        self.timeout = timeout;
    }

    pub(crate) fn get(&self, target: &str) -> Result<Value, ApiError> {
        self.json(&Method::GET, target, None)
    }

    /// An object, or nothing if it is not there.
    pub(crate) fn find(&self, target: &str) -> Result<Option<Value>, ApiError> {
        match self.get(target) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A text, such as a log.
    pub(crate) fn text(&self, target: &str) -> Result<String, ApiError> {
        self.send(&Method::GET, target, None).map(|body| String::from_utf8_lossy(&body).into_owned())
    }

    /// A text, without further attempts: for servers that may not have started yet.
    pub(crate) fn text_once(&self, target: &str) -> Result<String, ApiError> {
        self.send_once(&Method::GET, target, None).map(|body| String::from_utf8_lossy(&body).into_owned())
    }

    pub(crate) fn create(&self, target: &str, body: &Value) -> Result<Value, ApiError> {
        self.json(&Method::POST, target, Some(("application/json", body)))
    }

    pub(crate) fn apply(&self, target: &str, body: &Value) -> Result<Value, ApiError> {
        self.json(&Method::PATCH, target, Some(("application/apply-patch+yaml", body)))
    }

    /// Removes an object; an object that is not there is removed.
    pub(crate) fn delete(&self, target: &str) -> Result<(), ApiError> {
        match self.send(&Method::DELETE, target, None) {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn json(&self, method: &Method, target: &str, body: Option<(&str, &Value)>) -> Result<Value, ApiError> {
        let answer = self.send(method, target, body)?;
        serde_json::from_slice(&answer).map_err(|_| ApiError::Unreadable("JSON"))
    }

    fn send(&self, method: &Method, target: &str, body: Option<(&str, &Value)>) -> Result<Vec<u8>, ApiError> {
        let mut pauses = self.pauses.iter();
        loop {
            match (self.send_once(method, target, body), pauses.next()) {
                (Err(error), Some(pause)) if error.is_passing() => std::thread::sleep(*pause),
                (result, _) => return result,
            }
        }
    }

    fn send_once(
        &self,
        method: &Method,
        target: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Vec<u8>, ApiError> {
        let mut request = Request::builder().method(method).uri(target);
        if let Some((content_type, _)) = body {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let bytes = body.map(|(_, body)| body.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(Body::from(bytes)).map_err(|_| ApiError::Unreadable("address"))?;
        self.runtime.block_on(async {
            match tokio::time::timeout(self.timeout, answer(&self.client, request)).await {
                Ok(result) => result,
                Err(_) => Err(ApiError::Silent(self.timeout)),
            }
        })
    }
}

async fn answer(client: &Client, request: Request<Body>) -> Result<Vec<u8>, ApiError> {
    let response = client.send(request).await.map_err(no_answer)?;
    let code = response.status();
    let body = Limited::new(response.into_body(), MAX_SIZE).collect().await;
    let body =
        body.map_err(|error| ApiError::Unreachable(format!("the answer broke off: {error}")))?.to_bytes();
    match code.is_success() {
        true => Ok(body.to_vec()),
        false => Err(ApiError::Refused(Box::new(Status::read(code.as_u16(), &body)))),
    }
}

fn no_answer(error: kube::Error) -> ApiError {
    // kube's own words only say that there is a cause.
    let cause = error.source().unwrap_or(&error);
    // No text of the client holds a token.
    let why = raas_http::causes(cause);
    match TlsFault::find(cause) {
        Some(fault @ (TlsFault::UnknownAuthority | TlsFault::OtherName | TlsFault::OutOfTime)) => {
            ApiError::Untrusted { fault, why }
        }
        _ => ApiError::Unreachable(why),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, Error as TlsError};

    use super::*;

    #[test]
    fn a_certificate_that_is_not_trusted_is_no_reason_to_try_again() {
        let table = [
            (CertificateError::UnknownIssuer, TlsFault::UnknownAuthority),
            (CertificateError::NotValidForName, TlsFault::OtherName),
            (CertificateError::Expired, TlsFault::OutOfTime),
        ];
        for (error, expected) in table {
            let error = std::io::Error::other(TlsError::InvalidCertificate(error));
            let error = no_answer(kube::Error::Service(Box::new(error)));
            assert!(matches!(&error, ApiError::Untrusted { fault, .. } if *fault == expected), "{error}");
            assert!(!error.is_passing() && error.to_string().contains("invalid peer certificate"), "{error}");
        }
        let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let error = no_answer(kube::Error::Service(Box::new(cut)));
        assert!(error.is_passing() && error.to_string().ends_with("reached: connection reset"), "{error}");
    }
}
