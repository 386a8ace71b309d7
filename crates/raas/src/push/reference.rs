//! The reference that people give to `docker pull`.

use super::Options;
use super::report::Report;
use crate::address;
use crate::config::RegistryAddress;
use raas_platform::ServerRegistration;
use raas_publish::home::Home;

/// The address that `raas serve` listens on by default, for the reference while no server runs.
const DEFAULT_ADDRESS: &str = "127.0.0.1:5000";

/// The reference of the pushed image: at the registry's address, else at `server`, else at the default address.
pub(super) fn reference(
    home: &Home,
    registry: Option<&RegistryAddress>,
    server: Option<&ServerRegistration>,
    options: &Options,
    report: &Report,
) -> String {
    let host = match (registry, server) {
        (Some(registry), _) => registry.to_string(),
        (None, Some(server)) => address::of_server(home, server, &options.vendor),
        // No server runs. The push suggests `raas serve ISV`, which listens there.
        (None, None) => DEFAULT_ADDRESS.to_owned(),
    };
    let name = &options.image.name;
    match report.main_tag(options.image.tag.as_ref()) {
        Some(tag) => format!("{host}/{name}:{tag}"),
        None => match report.untagged.or(options.digest).or_else(|| report.last_manifest()) {
            Some(digest) => format!("{host}/{name}@{digest}"),
            None => format!("{host}/{name}"),
        },
    }
}
