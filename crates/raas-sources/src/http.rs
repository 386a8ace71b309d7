//! The HTTP client of everything that publishes, its time-outs and its proxies.

use std::io::Read;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use raas_base::failure::{Failure, Kind};
use raas_http::{Agent, AgentOptions, ClientError, ClientOptions, ForwardProxies, ProxyError};

/// How long an answer may take to begin.
const ANSWER: Duration = Duration::from_secs(20);
/// How long a connection may take to be made, and how long an answer may take that the caller can do without.
const IMPATIENT: Duration = Duration::from_secs(5);
/// How long an archive may take to begin: a server may have to make it first.
const ARCHIVE: Duration = Duration::from_secs(60);

/// The client of this process. It follows redirects, goes through the proxies of the environment, and gives up on a server
/// that is silent. An answer is no error, whatever its status.
///
/// # Errors
/// A variable of the environment names an invalid proxy.
pub fn agent() -> Result<Agent, Failure> {
    static AGENT: OnceLock<Result<Agent, ProxyError>> = OnceLock::new();
    shared(&AGENT, ANSWER).map_err(|error| {
        Failure::new(Kind::Usage, error.to_string())
            .hint("correct the variable, or unset it to ask without a proxy")
    })
}

/// As [`agent`], but it gives up soon on a server that does not answer: for answers that the caller can do without.
///
/// # Errors
/// As for [`agent`].
pub fn impatient_agent() -> Result<Agent, Failure> {
    static AGENT: OnceLock<Result<Agent, ProxyError>> = OnceLock::new();
    shared(&AGENT, IMPATIENT).map_err(|error| {
        Failure::new(Kind::Usage, error.to_string())
            .hint("correct the variable, or unset it to ask without a proxy")
    })
}

/// A stream of bytes, and its length if the server says it.
pub type Download = (Box<dyn Read + Send>, Option<u64>);

/// Why a download did not begin.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// A variable of the environment names an invalid proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// There is no answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The answer is no success.
    #[error("it answers {0}")]
    Status(u16),
}

/// Begins to read the content of a URL. A sender that falls silent is an error.
///
/// # Errors
/// There is no answer, or it is no success.
pub fn download(url: &str) -> Result<Download, DownloadError> {
    static AGENT: OnceLock<Result<Agent, ProxyError>> = OnceLock::new();
    let answer = shared(&AGENT, ARCHIVE)?.get(url).call()?;
    if !answer.status().is_success() {
        return Err(DownloadError::Status(answer.status().as_u16()));
    }
    let length = answer.content_length();
    Ok((Box::new(answer.into_body()), length))
}

fn shared(
    agent: &'static OnceLock<Result<Agent, ProxyError>>,
    answer: Duration,
) -> Result<Agent, ProxyError> {
    let made = agent.get_or_init(|| {
        let proxies = Arc::new(ForwardProxies::from_environment()?);
        let connect = answer.min(ClientOptions::default().connect);
        let client = ClientOptions { connect, answer, proxies, ..ClientOptions::default() };
        Ok(Agent::new(AgentOptions { client, ..AgentOptions::default() }))
    });
    made.clone()
}
