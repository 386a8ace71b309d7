//! What to give to `docker pull`.

use raas_types::VendorName;

use super::Options;
use super::report::Report;
use raas_platform::ServerRegistration;
use raas_publish::home::Home;

/// Where the command line expects a server that nobody has started yet.
const DEFAULT_ADDRESS: &str = "127.0.0.1:5000";

/// The reference, as a server of the vendor answers to it.
pub(super) fn reference(
    home: &Home,
    vendor: &VendorName,
    server: Option<&ServerRegistration>,
    options: &Options,
    report: &Report,
) -> String {
    let address = server.map_or_else(|| DEFAULT_ADDRESS.to_owned(), |note| note.reachable().to_string());
    // A server of one vendor answers under any name; one of several tells them apart by theirs.
    let alone = match server {
        Some(note) if !note.vendors.is_empty() => note.vendors.len() == 1,
        Some(_) => home.vendors().is_ok_and(|vendors| vendors.len() <= 1),
        // As `raas serve ISV` will serve it.
        None => true,
    };
    let host = if alone {
        address
    } else {
        let port = address.rsplit(':').next().unwrap_or_default();
        format!("{vendor}.localhost:{port}")
    };
    let name = &options.image.name;
    match report.main_tag(options.image.tag.as_ref()) {
        Some(tag) => format!("{host}/{name}:{tag}"),
        None => match options.digest {
            Some(digest) => format!("{host}/{name}@{digest}"),
            None => format!("{host}/{name}"),
        },
    }
}
