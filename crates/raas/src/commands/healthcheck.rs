//! `raas healthcheck`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use raas_base::failure::Failure;
use raas_http::{Agent, AgentOptions, ClientOptions, Trust};
use serde::Serialize;

use super::serve::address;
use crate::output;

/// Ask a server of this machine whether it is alive
///
/// The command is for engines without probes of their own, such as docker and podman. The exit code is 0 if the server
/// answers, and 1 if it does not.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas healthcheck 5000\n  raas healthcheck --ready")]
pub(crate) struct Arguments {
    /// Ask the server that listens on this address and port, or on this port of this machine
    #[arg(
        value_name = "ADDRESS",
        env = "RAAS_LISTEN",
        default_value = "127.0.0.1:5000",
        value_parser = address::parse
    )]
    address: SocketAddr,

    /// Ask whether the server has something to serve, and not only whether it is alive
    #[arg(long)]
    ready: bool,

    /// Speak TLS, and take any certificate
    #[arg(long)]
    tls: bool,

    /// Wait this long for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// The answer of the server.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct HealthReport {
    /// The address that was asked.
    #[cfg_attr(test, schemars(with = "String"))]
    address: SocketAddr,
    healthy: bool,
    /// What the server says. `null` if it does not answer, or with an error.
    answer: Option<String>,
    /// Why it is not healthy. `null` if it is.
    why: Option<String>,
}

/// The longest answer that is read, in bytes.
const MAX_SIZE: u64 = 64 * 1024;

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let asked = ask(arguments);
    if arguments.json {
        let (healthy, code) = match asked {
            Ok(_) => (true, ExitCode::SUCCESS),
            Err(_) => (false, ExitCode::FAILURE),
        };
        let (address, why) = (reachable(arguments.address), asked.as_ref().err().cloned());
        output::json(&HealthReport { address, healthy, answer: asked.ok(), why });
        return Ok(code);
    }
    match asked {
        Ok(answer) => {
            output::line(answer.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => {
            let state = if arguments.ready { "ready" } else { "alive" };
            output::error(&format!(
                "the server on {} is not {state}: {reason}",
                reachable(arguments.address)
            ));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn ask(arguments: &Arguments) -> Result<String, String> {
    let Arguments { address, ready, tls, timeout, .. } = *arguments;
    let patience = Duration::from_secs(timeout);
    // The certificate is for the names that clients use, the request has no secret, and the answer is only printed.
    let client = ClientOptions {
        connect: patience,
        answer: patience,
        trust: Trust::AnyCertificate,
        ..ClientOptions::default()
    };
    let agent = Agent::new(AgentOptions { client, silence: patience, redirects: 0 });
    let scheme = if tls { "https" } else { "http" };
    let path = if ready { "/-/readyz" } else { "/-/healthz" };
    let answer = agent.get(&format!("{scheme}://{}{path}", reachable(address))).call();
    let answer = answer.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = answer.into_body().read_all(MAX_SIZE).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&body).trim_end().to_owned();
    if status.is_success() { Ok(text) } else { Err(format!("it answers {}: {text}", status.as_u16())) }
}

/// The address at which this machine reaches a server. A server that listens on every address is reached over loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use raas_testkit::http::{Asked, Reply, Server};

    use super::*;

    fn asking(address: SocketAddr, ready: bool) -> Result<String, String> {
        ask(&Arguments { address, ready, tls: false, timeout: 5, json: false })
    }

    #[test]
    fn an_answer_with_a_reason_is_told_and_only_success_is_health() {
        let server = Server::scripted(|asked: &Asked| match asked.target.as_str() {
            "/-/healthz" => Reply::new(200, "ok\n"),
            "/-/readyz" => Reply::new(503, "not ready\n0 of 1 sites loaded\n"),
            _ => Reply::new(404, ""),
        });
        assert_eq!(asking(server.address(), false), Ok("ok".to_owned()));
        assert_eq!(
            asking(server.address(), true),
            Err("it answers 503: not ready\n0 of 1 sites loaded".to_owned())
        );
    }

    #[test]
    fn a_server_that_does_not_listen_is_not_alive() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        drop(taken);
        assert!(asking(address, false).is_err());
    }

    #[test]
    fn a_redirect_is_no_health() {
        let server = Server::scripted(|_: &Asked| Reply::new(302, "").with("Location", "/elsewhere"));
        assert!(asking(server.address(), false).unwrap_err().starts_with("it answers 302"));
    }

    #[test]
    fn a_server_on_every_address_is_asked_on_this_machine() {
        for (listens, asked) in [
            ("0.0.0.0:5000", "127.0.0.1:5000"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:5000", "192.0.2.1:5000"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), asked);
        }
    }
}
