//! The access log: one line a request, at the target `access`.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use hyper::header::{HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};

use crate::host;
use crate::metrics::Fetched;

/// What a line says of a request. The query is left out: it may hold what is secret.
pub(crate) struct Record {
    started: Instant,
    remote: SocketAddr,
    client: IpAddr,
    method: Method,
    uri: Uri,
    host: Option<String>,
    user_agent: Option<HeaderValue>,
    status: StatusCode,
    fetched: Option<Fetched>,
}

/// The address of the client: the connection's, or if requests pass so many proxies that the operator runs, the one that
/// the first of them saw. What stands before that in `X-Forwarded-For` the client may have written itself.
pub(crate) fn client(headers: &HeaderMap, remote: SocketAddr, proxies: usize) -> IpAddr {
    if proxies == 0 {
        return remote.ip();
    }
    let lines = headers.get_all("x-forwarded-for").into_iter().rev();
    let addresses = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.rsplit(','));
    let found = addresses.map(str::trim).nth(proxies - 1);
    found.and_then(|address| address.parse().ok()).unwrap_or(remote.ip())
}

impl Record {
    /// Begins a line, if anybody reads the log.
    pub(crate) fn begin<B>(
        request: &Request<B>,
        remote: SocketAddr,
        client: IpAddr,
        started: Instant,
    ) -> Option<Box<Self>> {
        tracing::enabled!(target: "access", tracing::Level::INFO).then(|| {
            Box::new(Self {
                started,
                remote,
                client,
                method: request.method().clone(),
                uri: request.uri().clone(),
                host: host::requested(request).map(str::to_owned),
                user_agent: request.headers().get(USER_AGENT).cloned(),
                status: StatusCode::OK,
                fetched: None,
            })
        })
    }

    /// What the answer is.
    pub(crate) fn answered(&mut self, status: StatusCode, fetched: Option<Fetched>) {
        self.status = status;
        self.fetched = fetched;
    }

    /// Writes the line. The values go in as text, which the log's own format quotes and escapes.
    pub(crate) fn write(self, bytes: u64) {
        let user_agent = self.user_agent.as_ref().and_then(|value| value.to_str().ok()).unwrap_or("-");
        // A tenth of a millisecond is fine enough to read, and coarse enough to compare.
        let ms = (self.started.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
        // What is not known is left out of the line.
        let fetched = self.fetched.as_ref();
        let told = fetched.map(Fetched::told);
        let digest = told.as_ref().and_then(|told| Some(told.digest?.to_string()));
        let tags = told.as_ref().map(|told| told.tags.as_ref()).filter(|tags| !tags.is_empty());
        tracing::info!(
            target: "access",
            method = self.method.as_str(),
            host = self.host.as_deref().unwrap_or("-"),
            path = self.uri.path(),
            status = self.status.as_u16(),
            bytes,
            ms,
            user_agent,
            remote = %self.remote,
            client = %self.client,
            vendor = fetched.map(|fetched| fetched.vendor.as_str()),
            repository = fetched.map(|fetched| fetched.repository.as_str()),
            kind = told.as_ref().map(|told| told.kind.name()),
            tag = told.as_ref().and_then(|told| told.tag),
            tags,
            digest,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_who_the_first_proxy_saw() {
        let remote: SocketAddr = "10.0.0.1:5".parse().unwrap();
        let table: [(&[&str], usize, &str); 7] = [
            (&["192.0.2.1"], 0, "10.0.0.1"),
            (&["192.0.2.1"], 1, "192.0.2.1"),
            (&["203.0.113.9, 192.0.2.1"], 1, "192.0.2.1"),
            (&["203.0.113.9, 192.0.2.1,10.1.1.1"], 2, "192.0.2.1"),
            (&["203.0.113.9", "2001:db8::1"], 1, "2001:db8::1"),
            (&["unknown"], 1, "10.0.0.1"),
            (&[], 1, "10.0.0.1"),
        ];
        for (lines, proxies, expected) in table {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            assert_eq!(client(&headers, remote, proxies).to_string(), expected, "{lines:?}");
        }
    }
}
