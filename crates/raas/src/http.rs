//! The one HTTP client of the command line, and its time-outs.

mod patient;

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use raas_types::VendorName;

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
pub(crate) fn ask(address: SocketAddr, vendor: &VendorName, path: &str) -> Result<String, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .user_agent(concat!("raas/", env!("CARGO_PKG_VERSION")))
        // A proxy of the user's is for elsewhere.
        .proxy(None)
        .build()
        .into();
    let response =
        agent.get(format!("http://{address}{path}")).header("host", format!("{vendor}.localhost")).call()?;
    response.into_body().with_config().limit(64 * 1024 * 1024).read_to_string()
}

/// The commit that a server of ours serves of this vendor.
pub(crate) fn revision(address: SocketAddr, vendor: &VendorName) -> Result<String, ureq::Error> {
    ask(address, vendor, "/-/revision").map(|text| text.trim().to_owned())
}
