//! Asking a server of this machine what it serves.

use std::time::Duration;

use raas_types::VendorName;
use ureq::tls::TlsConfig;

use crate::registration::ServerRegistration;

/// Asks a server of ours on this machine for a path, as the vendor's clients would.
///
/// Whose certificate it has is not looked at: it is for the names that clients know, and not for an address of this
/// machine. The address comes from the server's own note in the home, nothing secret is sent there, and what it
/// answers is compared with what is known.
pub fn ask(server: &ServerRegistration, vendor: &VendorName, path: &str) -> Result<String, ureq::Error> {
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
pub fn answers(server: &ServerRegistration, vendor: &VendorName, path: &str) -> Result<(), ureq::Error> {
    match ask(server, vendor, path) {
        Ok(_) | Err(ureq::Error::StatusCode(401)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The commit that a server of ours serves of this vendor.
pub fn revision(server: &ServerRegistration, vendor: &VendorName) -> Result<String, ureq::Error> {
    ask(server, vendor, "/-/revision").map(|text| text.trim().to_owned())
}
