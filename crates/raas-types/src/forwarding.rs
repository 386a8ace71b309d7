//! What clients do on a redirect: which send the registry's token along, and which refuse to go.

use std::net::IpAddr;

/// Whether a client written in Go sends `Authorization` along when it is redirected from the host `from` to the host `to`.
/// It does so for the same host at any port, and for hosts below it.
///
/// Source: Go, net/http, `shouldCopyHeaderOnRedirect`.
pub fn forwards(from: &str, to: &str) -> bool {
    let plain = |host: &str| host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let (from, to) = (plain(from), plain(to));
    let is_address = |host: &str| host.parse::<std::net::Ipv4Addr>().is_ok() || host.contains(':');
    to == from || (!is_address(&from) && to.strip_suffix(&from).is_some_and(|label| label.ends_with('.')))
}

/// Whether a host is the literal address of a private network or of this machine.
///
/// go-containerregistry (crane, ko, kaniko, cosign) refuses redirects and token servers at such an address for a registry
/// with a name, so that a registry cannot make a client ask the hosts of its own network.
pub fn is_private_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => {
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
        }
        Ok(IpAddr::V6(address)) => {
            address.is_unique_local()
                || address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_unspecified()
        }
        Err(_) => false,
    }
}

/// Whether some clients refuse to go from a registry's host to another host.
pub fn is_refused(from: &str, to: &str) -> bool {
    let is_literal = |host: &str| host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    !is_literal(from) && is_private_address(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_forwarded_to_the_host_and_to_hosts_below_it() {
        let table = [
            ("x.org", "x.org", true),
            ("x.org", "cdn.X.org", true),
            ("X.org.", "a.b.x.org.", true),
            ("x.org", "badx.org", false),
            ("registry.x.org", "cdn.x.org", false),
            ("127.0.0.1", "1.127.0.0.1", false),
        ];
        for (from, to, expected) in table {
            assert_eq!(forwards(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn clients_go_from_a_name_to_no_private_address() {
        let table = [
            ("registry.x.org", "10.0.0.1", true),
            ("registry.x.org", "192.168.1.20", true),
            ("registry.x.org", "127.0.0.1", true),
            ("acme.localhost", "[::1]", true),
            ("registry.x.org", "169.254.169.254", true),
            ("registry.x.org", "[fd00::1]", true),
            ("registry.x.org", "[::ffff:10.0.0.1]", true),
            ("registry.x.org", "203.0.113.7", false),
            ("registry.x.org", "s3.x.org", false),
            ("10.0.0.2", "10.0.0.1", false),
            ("[::1]", "127.0.0.1", false),
        ];
        for (from, to, expected) in table {
            assert_eq!(is_refused(from, to), expected, "{from} {to}");
        }
    }
}
