//! The one HTTP client of the command line, and its time-outs.

mod patient;

use std::io::Read;
use std::time::Duration;

use raas_types::VendorName;
use ureq::tls::TlsConfig;

use crate::servers::Note;

/// How long a sender may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// A client that follows redirects and gives up on a server that is silent.
pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .user_agent(concat!("raas/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// A client for which an answer is no error whatever its status, and that does not wait long.
pub(crate) fn tolerant_agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(Duration::from_secs(20)))
        .timeout_recv_body(Some(Duration::from_secs(60)))
        .user_agent(concat!("raas/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// Begins to read what is at a URL; its length, where the server says it. A sender that falls silent is an error.
pub(crate) fn download(url: &str) -> Result<(Box<dyn Read + Send>, Option<u64>), ureq::Error> {
    let body = agent().get(url).call()?.into_body();
    let length = body.content_length();
    Ok((Box::new(patient::Patient::new(body.into_reader(), SILENCE)), length))
}

/// Asks a server of ours on this machine for a path, as the vendor's clients would.
///
/// Whose certificate it has is not looked at: it is for the names that clients know, and not for an address of this
/// machine. The address comes from the server's own note in the home, nothing secret is sent there, and what it
/// answers is compared with what is known.
pub(crate) fn ask(server: &Note, vendor: &VendorName, path: &str) -> Result<String, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .user_agent(concat!("raas/", env!("CARGO_PKG_VERSION")))
        // A proxy of the user's is for elsewhere.
        .proxy(None)
        .tls_config(TlsConfig::builder().disable_verification(true).build())
        .build()
        .into();
    let response =
        agent.get(format!("{}{path}", server.url())).header("host", format!("{vendor}.localhost")).call()?;
    response.into_body().with_config().limit(64 * 1024 * 1024).read_to_string()
}

/// Whether a server of ours answers a path: a registry with users asks for a token first.
pub(crate) fn answers(server: &Note, vendor: &VendorName, path: &str) -> Result<(), ureq::Error> {
    match ask(server, vendor, path) {
        Ok(_) | Err(ureq::Error::StatusCode(401)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The commit that a server of ours serves of this vendor.
pub(crate) fn revision(server: &Note, vendor: &VendorName) -> Result<String, ureq::Error> {
    ask(server, vendor, "/-/revision").map(|text| text.trim().to_owned())
}
