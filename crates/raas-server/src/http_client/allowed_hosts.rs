//! The hosts that the server may fetch masked layers from.
//!
//! Vendors choose the locations of masked layers, and the server may reach hosts that its clients must not reach, such
//! as the metadata service of its cloud. So an operator lists the allowed hosts. A listed name must resolve to a public
//! address, or to an address that is listed too.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use hyper::Uri;
use ipnet::IpNet;
use raas_types::HostName;

/// An entry of the list: `cdn.example.com`, `cdn.example.com:8443`, `10.1.2.3`, `10.0.0.0/8:8443`, `[fd00::1]:8443`.
/// Without a port it stands for the port of the scheme, 80 or 443.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AllowedHost {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    Name(HostName),
    Network(IpNet),
}

/// The text is no entry of a list of allowed hosts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither a host nor an address nor a network; a port may follow, as in `cdn.example.com:8443`"
)]
pub struct AllowedHostError(String);

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = |text: &str| {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            let address = bare.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| bare.parse()).map(|network| Host::Network(network.trunc()))
        };
        // An IPv6 address without brackets has colons and no port.
        if let Ok(host) = network(text) {
            return Ok(Self { host, port: None });
        }
        let error = || AllowedHostError(text.to_owned());
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| error())?)),
            None => (text, None),
        };
        let host = network(host).or_else(|_| host.parse().map(Host::Name)).map_err(|_| error())?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Host::Name(name), None) => name.fmt(f),
            (Host::Name(name), Some(port)) => write!(f, "{name}:{port}"),
            (Host::Network(network), None) => network.fmt(f),
            (Host::Network(network), Some(port)) => write!(f, "[{network}]:{port}"),
        }
    }
}

/// The hosts that the server may fetch masked layers from.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AllowedHosts(Vec<AllowedHost>);

impl FromIterator<AllowedHost> for AllowedHosts {
    fn from_iter<T: IntoIterator<Item = AllowedHost>>(hosts: T) -> Self {
        let mut hosts: Vec<AllowedHost> = hosts.into_iter().collect();
        hosts.sort_unstable();
        hosts.dedup();
        Self(hosts)
    }
}

impl AllowedHosts {
    /// Whether no host is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the server may fetch this URL, as far as its text tells. A name may still resolve to an address that
    /// [`allows_address`](Self::allows_address) rejects.
    pub(crate) fn allows_url(&self, url: &str) -> bool {
        let Ok(uri) = url.parse::<Uri>() else { return false };
        // A user name may hide the real host from a reader.
        let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else {
            return false;
        };
        let default = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return false,
        };
        // `Uri` takes an invalid port for none.
        let written = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            None if written => return false,
            port => port.unwrap_or(default),
        };
        let host = authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let name = host.parse::<HostName>().ok();
        self.0.iter().any(|allowed| {
            allowed.port.unwrap_or(default) == port
                && match &allowed.host {
                    Host::Network(network) => {
                        address.is_some_and(|one| network.contains(&one.to_canonical()))
                    }
                    Host::Name(known) => address.is_none() && name.as_ref() == Some(known),
                }
        })
    }

    /// Whether the server may connect to this address: it is public, or listed with this port.
    pub(crate) fn allows_address(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        is_public(ip)
            || self.0.iter().any(|allowed| {
                let has_port = match allowed.port {
                    Some(port) => port == address.port(),
                    None => matches!(address.port(), 80 | 443),
                };
                has_port && matches!(&allowed.host, Host::Network(network) if network.contains(&ip))
            })
    }
}

/// Whether an address belongs to the public internet.
///
/// Source: IANA, "Special-Purpose Address Registry" of IPv4 and of IPv6.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        // Shared between customers of a provider, RFC 6598. A cloud has its metadata service there.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        // Benchmarks, RFC 2544.
        || (a == 198 && (b == 18 || b == 19))
        || a >= 224)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match segments {
        // Addresses that lead to an IPv4 address: NAT64 (RFC 6052) and 6to4 (RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(v4(high, low)),
        [0x2002, high, low, ..] => is_public_v4(v4(high, low)),
        // Local NAT64 prefixes, RFC 8215.
        [0x64, 0xff9b, 1, ..] => false,
        // The block of all global addresses.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(texts: &[&str]) -> AllowedHosts {
        texts.iter().map(|text| text.parse::<AllowedHost>().unwrap()).collect()
    }

    #[test]
    fn only_urls_at_allowed_hosts_and_ports_are_fetched() {
        let hosts = hosts(&["cdn.example.com", "cdn.example.com:8080", "10.0.0.0/8", "[fd00::1]:8443"]);
        let table = [
            ("https://cdn.example.com/layer", true),
            ("http://cdn.example.com/layer", true),
            ("https://cdn.example.com:443/layer", true),
            ("http://CDN.example.com:8080/layer", true),
            ("http://cdn.example.com:22/layer", false),
            ("http://cdn.example.com:443/layer", false),
            ("https://cdn.example.com:99999/layer", false),
            ("https://cdn.example.com.evil.example/layer", false),
            ("http://169.254.169.254/latest", false),
            ("https://cdn.example.com@10.0.0.1/", false),
            ("http://10.1.2.3/x", true),
            ("http://10.1.2.3:81/x", false),
            ("http://11.1.2.3/x", false),
            ("https://[fd00::1]:8443/", true),
            ("https://[fd00::1]/", false),
            ("https://[::1]/", false),
            ("ftp://cdn.example.com/", false),
            ("/layer", false),
        ];
        for (url, expected) in table {
            assert_eq!(hosts.allows_url(url), expected, "{url}");
        }
    }

    #[test]
    fn addresses_that_are_not_public_must_be_listed() {
        let hosts = hosts(&["cdn.example.com", "10.1.2.3", "127.0.0.1:5000", "fd00::/8"]);
        let table = [
            ("192.0.2.1:443", true),
            ("[2001:db8::1]:443", true),
            ("127.0.0.1:5000", true),
            ("127.0.0.1:80", false),
            ("127.0.0.2:5000", false),
            ("0.0.0.0:80", false),
            ("10.1.2.3:443", true),
            ("10.1.2.3:8443", false),
            ("10.1.2.4:443", false),
            ("172.16.0.1:443", false),
            ("192.168.1.1:443", false),
            ("169.254.169.254:80", false),
            ("100.100.100.200:80", false),
            ("224.0.0.1:80", false),
            ("255.255.255.255:80", false),
            ("[::1]:80", false),
            ("[::]:80", false),
            ("[fe80::1]:80", false),
            ("[fd00::1]:443", true),
            ("[fc00::1]:443", false),
            ("[::ffff:127.0.0.1]:80", false),
            ("[::ffff:10.1.2.3]:80", true),
            ("[::127.0.0.1]:80", false),
            ("[64:ff9b::169.254.169.254]:80", false),
            ("[64:ff9b::192.0.2.1]:80", true),
            ("[2002:7f00:1::]:80", false),
            ("[ff02::1]:80", false),
        ];
        for (address, expected) in table {
            assert_eq!(hosts.allows_address(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn an_entry_has_one_form() {
        for text in ["cdn.example.com", "cdn.example.com:8443", "10.0.0.0/8", "[10.0.0.0/8]:81"] {
            assert_eq!(text.parse::<AllowedHost>().unwrap().to_string(), text);
        }
        for bad in ["", "a b", "https://cdn.example.com", "cdn.example.com:x", "cdn.example.com:99999", "*"] {
            assert!(bad.parse::<AllowedHost>().is_err(), "{bad}");
        }
    }
}
