//! Requests to registry servers on this machine.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use raas_http::{Agent, AgentOptions, ClientError, ClientOptions, Trust};
use raas_types::VendorName;
use serde::Deserialize;

use crate::registration::ServerRegistration;

/// How long a server may take to answer, and to send more of its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer, in bytes.
const MAX_SIZE: u64 = 64 * 1024 * 1024;

/// Why a request to a server on this machine failed.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The answer is no success.
    #[error("it answers {0}")]
    Status(u16),
    /// The answer broke off.
    #[error("the answer cannot be read")]
    Read(#[from] io::Error),
}

/// Requests a path from a server on this machine, for the vendor's host name, and returns the body.
///
/// The server's certificate is not verified: it is for the names that clients use, and not for an address of this
/// machine. That is safe because the address comes from the server's registration in the home, the request holds no
/// secret, and callers compare the answer with the record.
///
/// # Errors
/// The server does not answer within five seconds, or answers with an error.
pub fn ask(server: &ServerRegistration, vendor: &VendorName, path: &str) -> Result<String, AskError> {
    let url = format!("{}{path}", server.url());
    let answer = agent().get(&url).header("host", &format!("{vendor}.localhost")).call()?;
    if !answer.status().is_success() {
        return Err(AskError::Status(answer.status().as_u16()));
    }
    let body = answer.into_body().read_all(MAX_SIZE)?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// Goes through no proxy: the user's proxy is for other machines.
fn agent() -> &'static Agent {
    static AGENT: OnceLock<Agent> = OnceLock::new();
    AGENT.get_or_init(|| {
        let client =
            ClientOptions { answer: PATIENCE, trust: Trust::AnyCertificate, ..ClientOptions::default() };
        Agent::new(AgentOptions { client, silence: PATIENCE, redirects: 0 })
    })
}

/// Checks that a server answers a path. A 401 counts too: a server with users requires a token.
///
/// # Errors
/// As for [`ask`], without the 401.
pub fn answers(server: &ServerRegistration, vendor: &VendorName, path: &str) -> Result<(), AskError> {
    match ask(server, vendor, path) {
        Ok(_) | Err(AskError::Status(401)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The revision of the vendor that a server serves: a commit of the record.
///
/// # Errors
/// As for [`ask`].
pub fn revision(server: &ServerRegistration, vendor: &VendorName) -> Result<String, AskError> {
    ask(server, vendor, "/-/revision").map(|text| text.trim().to_owned())
}

/// The problem in a server's answer to `/-/metadata`. `None` if there is none, or if the answer is another server's.
pub fn problem_in(answer: &str) -> Option<String> {
    #[derive(Deserialize, Default)]
    struct Metadata {
        problem: Option<String>,
    }
    serde_json::from_str::<Metadata>(answer).unwrap_or_default().problem
}

/// Why a server does not serve the newest metadata of the vendor, or not all of it. `None` if it does, or if it is an older
/// raas that does not say.
///
/// # Errors
/// As for [`ask`].
pub fn problem(server: &ServerRegistration, vendor: &VendorName) -> Result<Option<String>, AskError> {
    match ask(server, vendor, "/-/metadata") {
        Ok(answer) => Ok(problem_in(&answer)),
        Err(AskError::Status(404)) => Ok(None),
        Err(error) => Err(error),
    }
}
