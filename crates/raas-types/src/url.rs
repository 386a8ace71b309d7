//! Takes URLs apart that raas shows or compares.

/// The host and port of a URL, without user and password.
pub fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// The host of an authority, without the port.
pub fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_has_neither_user_nor_password() {
        assert_eq!(authority("https://u:secret@x.org:8443/a?b"), "x.org:8443");
        assert_eq!(authority("https://u:secret@x.org:8443/a?b=@c"), "x.org:8443");
        assert_eq!(
            (host_of("x.org:8443"), host_of("x.org"), host_of("[::1]:5000")),
            ("x.org", "x.org", "[::1]")
        );
    }
}
