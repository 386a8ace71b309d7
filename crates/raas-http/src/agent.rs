//! The blocking client of commands: it waits for the asynchronous one, and follows redirects.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use tokio::runtime::{Handle, Runtime};

use crate::body::Body;
use crate::client::{Client, ClientError, ClientOptions};
use crate::redirect::{self, Next};

/// The number of threads that wait for the network.
const THREADS: usize = 2;

/// How an agent behaves.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// What the connections are like.
    pub client: ClientOptions,
    /// How many redirects are followed; with 0 a redirect is an answer like any other.
    pub redirects: usize,
    /// How long a body may be silent.
    pub silence: Duration,
}

/// A blocking client. It is cheap to clone, and clones share their connections.
#[derive(Debug, Clone)]
pub struct Agent {
    client: Client,
    runtime: Handle,
    options: Arc<AgentOptions>,
}

/// A request in the making.
#[derive(Debug)]
pub struct RequestBuilder<'a> {
    agent: &'a Agent,
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// An answer, whose body is not read yet.
#[derive(Debug)]
pub struct Response {
    url: Uri,
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    runtime: Handle,
    silence: Duration,
}

impl Default for AgentOptions {
    /// Ten redirects, a minute of silence.
    fn default() -> Self {
        Self { client: ClientOptions::default(), redirects: 10, silence: Duration::from_secs(60) }
    }
}

impl Agent {
    /// An agent without connections.
    pub fn new(options: AgentOptions) -> Self {
        let runtime = runtime();
        // The pool of connections looks for the runtime that it is made in.
        let _entered = runtime.enter();
        Self { client: Client::new(&options.client), runtime: runtime.clone(), options: Arc::new(options) }
    }

    /// Begins a GET request.
    pub fn get(&self, url: &str) -> RequestBuilder<'_> {
        self.request(Method::GET, url)
    }

    /// Begins a HEAD request.
    pub fn head(&self, url: &str) -> RequestBuilder<'_> {
        self.request(Method::HEAD, url)
    }

    /// Begins a request.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder<'_> {
        RequestBuilder { agent: self, method, url: url.to_owned(), headers: Vec::new(), body: Bytes::new() }
    }
}

impl RequestBuilder<'_> {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the request, follows redirects, and waits for the beginning of the answer.
    ///
    /// # Errors
    /// There is no answer, or a redirect may not be followed. An answer with any status is no error.
    pub fn call(self) -> Result<Response, ClientError> {
        let mut url: Uri = self.url.parse().map_err(hyper::http::Error::from)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(hyper::http::Error::from)?;
            let mut value = HeaderValue::try_from(value.as_str()).map_err(hyper::http::Error::from)?;
            value.set_sensitive(name == hyper::header::AUTHORIZATION);
            headers.append(name, value);
        }
        let Agent { client, runtime, options } = self.agent;
        let (mut method, mut body) = (self.method, self.body);
        let mut left = options.redirects;
        loop {
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = method.clone();
            *request.uri_mut() = url.clone();
            *request.headers_mut() = headers.clone();
            let answer = wait(runtime, client.clone(), request)?;
            let (head, incoming) = answer.into_parts();
            let next = if options.redirects == 0 {
                Next::None
            } else {
                redirect::next(&url, head.status, &head.headers)
            };
            match next {
                Next::To(_) if left == 0 => {
                    return Err(ClientError::Connection(format!(
                        "more than {} redirects",
                        options.redirects
                    )));
                }
                Next::To(to) => {
                    left -= 1;
                    redirect::strip(&mut headers, &url, &to);
                    let next = redirect::method(head.status, &method);
                    if next != method {
                        body = Bytes::new();
                    }
                    (method, url) = (next, to);
                }
                Next::Refused(why) => return Err(ClientError::Connection(why.to_owned())),
                Next::None => {
                    return Ok(Response {
                        url,
                        status: head.status,
                        headers: head.headers,
                        body: incoming,
                        runtime: runtime.clone(),
                        silence: options.silence,
                    });
                }
            }
        }
    }
}

impl Response {
    /// The URL that answered, after redirects.
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Where the answer redirects to, for an agent that follows no redirects by itself; `None` if it is no redirect.
    ///
    /// # Errors
    /// The redirect may not be followed: it leads to no http or https URL, or from https to http.
    pub fn redirect(&self) -> Result<Option<Uri>, ClientError> {
        match redirect::next(&self.url, self.status, &self.headers) {
            Next::None => Ok(None),
            Next::To(to) => Ok(Some(to)),
            Next::Refused(why) => Err(ClientError::Redirect(why)),
        }
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The length of the body in bytes, if the server says it.
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// Begins to read the body.
    pub fn into_body(self) -> Body {
        Body::new(&self.runtime, self.body, self.silence)
    }
}

/// Waits for an answer. Any thread may call this: the runtime's own `block_on` panics on a thread of another runtime.
fn wait(
    runtime: &Handle,
    client: Client,
    request: Request<Full<Bytes>>,
) -> Result<hyper::Response<Incoming>, ClientError> {
    let (sender, receiver) = sync_channel(1);
    runtime.spawn(async move {
        // A caller that is gone needs no answer.
        drop(sender.send(client.send(request).await));
    });
    receiver.recv().unwrap_or_else(|_| Err(ClientError::Connection("the client was stopped".into())))
}

/// The threads of all agents of the process.
fn runtime() -> Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let start = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("http").enable_all().build()
    };
    RUNTIME.get_or_init(|| start().expect("the system has room for two threads")).handle().clone()
}
