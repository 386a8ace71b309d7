//! Tells whether clients forward a registry's token on a redirect.

/// Whether a client written in Go sends `Authorization` along when it is redirected from the host `from` to the host `to`.
/// It does so for the same host at any port, and for hosts below it.
///
/// Source: Go, net/http, `shouldCopyHeaderOnRedirect`.
pub(crate) fn forwards(from: &str, to: &str) -> bool {
    let plain = |host: &str| host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let (from, to) = (plain(from), plain(to));
    let is_address = |host: &str| host.parse::<std::net::Ipv4Addr>().is_ok() || host.contains(':');
    to == from || (!is_address(&from) && to.strip_suffix(&from).is_some_and(|label| label.ends_with('.')))
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
}
