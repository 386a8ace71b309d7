//! The reference that people give to `docker pull`.

use super::Options;
use super::report::Report;
use raas_platform::ServerRegistration;
use raas_publish::home::Home;

/// The address that `raas serve` listens on by default, for the reference while no server runs.
const DEFAULT_ADDRESS: &str = "127.0.0.1:5000";

/// The reference of the pushed image at this server of the vendor.
pub(super) fn reference(
    home: &Home,
    server: Option<&ServerRegistration>,
    options: &Options,
    report: &Report,
) -> String {
    let address = server.map_or_else(|| DEFAULT_ADDRESS.to_owned(), |server| server.reachable().to_string());
    // A server of one vendor answers under any host name. A server of several selects the vendor by the host name.
    let serves_one_vendor = match server {
        Some(server) if !server.vendors.is_empty() => server.vendors.len() == 1,
        Some(_) => home.vendors().is_ok_and(|vendors| vendors.len() <= 1),
        // The push suggests `raas serve ISV`.
        None => true,
    };
    let host = if serves_one_vendor {
        address
    } else {
        let port = address.rsplit(':').next().unwrap_or_default();
        format!("{}.localhost:{port}", options.vendor)
    };
    let name = &options.image.name;
    match report.main_tag(options.image.tag.as_ref()) {
        Some(tag) => format!("{host}/{name}:{tag}"),
        None => match options.digest.or_else(|| report.only_manifest()) {
            Some(digest) => format!("{host}/{name}@{digest}"),
            None => format!("{host}/{name}"),
        },
    }
}
