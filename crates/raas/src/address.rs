//! The address of a vendor's registry on a server of this machine.

use raas_platform::ServerRegistration;
use raas_publish::home::Home;
use raas_types::VendorName;

/// The host and port that people pull a vendor's images from. A server of one vendor answers under any host name. A server
/// of several selects the vendor by the host name.
pub(crate) fn of_server(home: &Home, server: &ServerRegistration, vendor: &VendorName) -> String {
    let address = server.reachable();
    let serves_one_vendor = match server.vendors.len() {
        0 => home.vendors().is_ok_and(|vendors| vendors.len() <= 1),
        served => served == 1,
    };
    if serves_one_vendor { address.to_string() } else { format!("{vendor}.localhost:{}", address.port()) }
}
