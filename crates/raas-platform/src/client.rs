//! Requests to registry servers on this machine.

use std::time::Duration;

use raas_types::VendorName;
use ureq::tls::TlsConfig;

use crate::registration::ServerRegistration;

/// Requests a path from a server on this machine, for the vendor's host name, and returns the body.
///
/// The server's certificate is not verified: it is for the names that clients use, and not for an address of this
/// machine. That is safe because the address comes from the server's registration in the home, the request holds no
/// secret, and callers compare the answer with the record.
///
/// # Errors
/// The server does not answer within five seconds, or answers with an error.
pub fn ask(server: &ServerRegistration, vendor: &VendorName, path: &str) -> Result<String, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .user_agent(concat!("raas/", env!("CARGO_PKG_VERSION")))
        // The user's proxy is for other machines.
        .proxy(None)
        .tls_config(TlsConfig::builder().disable_verification(true).build())
        .build()
        .into();
    let response =
        agent.get(format!("{}{path}", server.url())).header("host", format!("{vendor}.localhost")).call()?;
    response.into_body().with_config().limit(64 * 1024 * 1024).read_to_string()
}

/// Checks that a server answers a path. A 401 counts too: a server with users requires a token.
///
/// # Errors
/// As for [`ask`], without the 401.
pub fn answers(server: &ServerRegistration, vendor: &VendorName, path: &str) -> Result<(), ureq::Error> {
    match ask(server, vendor, path) {
        Ok(_) | Err(ureq::Error::StatusCode(401)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The revision of the vendor that a server serves: a commit of the record.
///
/// # Errors
/// As for [`ask`].
pub fn revision(server: &ServerRegistration, vendor: &VendorName) -> Result<String, ureq::Error> {
    ask(server, vendor, "/-/revision").map(|text| text.trim().to_owned())
}
