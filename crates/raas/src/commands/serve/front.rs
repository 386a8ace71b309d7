//! How clients reach the server: what stands before it.

use clap::Args;
use raas_server::{IpNet, Options};

#[derive(Debug, Args)]
#[command(next_help_heading = "How clients reach it")]
pub(super) struct Front {
    /// Proxies before the server, as addresses or networks (10.0.0.0/8), separated by commas: the client's address is
    /// then taken from the X-Forwarded-For (or else Forwarded) that they write [default: nobody is believed]
    #[arg(
        long,
        value_name = "NETWORKS",
        env = "RAAS_TRUSTED_PROXIES",
        value_delimiter = ',',
        value_parser = network
    )]
    trusted_proxies: Vec<IpNet>,
}

impl Front {
    /// Options of the server.
    pub(super) fn options(&self) -> Options {
        Options { trusted_proxies: self.trusted_proxies.clone(), ..Options::default() }
    }
}

/// A network, or an address, which is one of its own.
fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let address = text.parse::<std::net::IpAddr>().map(IpNet::from);
    address
        .or_else(|_| text.parse())
        .map_err(|_| "expected an address or a network, such as 10.0.0.0/8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_network_of_its_own() {
        for (text, net) in [("10.0.0.0/8", "10.0.0.0/8"), (" 192.0.2.1", "192.0.2.1/32"), ("::1", "::1/128")]
        {
            assert_eq!(network(text).unwrap().to_string(), net);
        }
        assert!(network("proxy.example.com").unwrap_err().contains("10.0.0.0/8"));
    }
}
