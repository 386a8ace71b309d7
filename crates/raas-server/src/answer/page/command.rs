//! The commands that pull an image.

use std::fmt::Write;
use std::net::IpAddr;

use super::super::SiteRequest;
use super::escape;
use crate::http::host;

/// The longest name of a host, with a port.
const MAX_HOST: usize = 253 + 6;

/// The host of pull commands: the one that the client named.
pub(super) fn registry<'a>(request: &SiteRequest<'a>) -> &'a str {
    request.host().filter(|host| host.len() <= MAX_HOST).unwrap_or("localhost")
}

/// The short command for a list. `reference` has a name, and a tag or a digest.
pub(super) fn docker(request: &SiteRequest<'_>, reference: &str) -> String {
    format!("<code class=\"all\">docker pull {}/{}</code>", escape(registry(request)), escape(reference))
}

/// The commands of the programs that people use. `reference` has a name, and a tag or a digest.
pub(super) fn write(body: &mut String, request: &SiteRequest<'_>, label: &str, reference: &str) {
    // docker speaks plain HTTP to loopback without being told.
    let podman = match is_plain_loopback(request) {
        true => "podman pull --tls-verify=false",
        false => "podman pull",
    };
    let (host, reference) = (escape(registry(request)), escape(reference));
    let _ = writeln!(body, "<div class=\"pull\" role=\"group\" aria-label=\"{label}\">");
    for (name, command) in [("Docker", "docker pull"), ("Podman", podman)] {
        // Writing to a string cannot fail.
        let _ = writeln!(
            body,
            "<div><span class=\"tool\">{name}</span><code class=\"all\">{command} {host}/{reference}</code></div>"
        );
    }
    body.push_str("</div>\n");
}

/// Whether the client has reached its own machine without TLS.
fn is_plain_loopback(request: &SiteRequest<'_>) -> bool {
    !request.secure && is_own_machine(request)
}

/// Whether the host that the client named is its own machine.
pub(super) fn is_own_machine(request: &SiteRequest<'_>) -> bool {
    let host = request.host().and_then(host::without_port).unwrap_or_default();
    let name = host::lower(host);
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
    address.map_or_else(|_| *name == *"localhost" || name.ends_with(".localhost"), |ip| ip.is_loopback())
}
