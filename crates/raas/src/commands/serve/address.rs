//! Parses the addresses to listen on.

use std::net::{Ipv4Addr, SocketAddr};

/// Parses `127.0.0.1:5000`, `[::1]:5000`, `localhost:5000`, or a port, which means that port on 127.0.0.1.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost:").unwrap_or(text);
    if let Ok(port) = port.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        "expected ADDRESS:PORT or PORT, such as 127.0.0.1:5000 or 5000 for this machine alone, 0.0.0.0:5000 or \
         [::]:5000 for everybody"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_as_people_write_them() {
        for (text, expected) in [
            ("5000", "127.0.0.1:5000"),
            ("localhost:5000", "127.0.0.1:5000"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:0", "[::1]:0"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), expected);
        }
        for bad in ["", ":5000", "localhost", "65536", "registry.example.com:5000", "127.0.0.1"] {
            assert!(parse(bad).unwrap_err().contains("0.0.0.0:5000"), "{bad}");
        }
    }
}
