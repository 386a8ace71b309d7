//! The platform of the embedded default: processes on this machine, started by hand or by a service manager.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use raas_base::failure::{Context as _, Failure, Kind};
use raas_types::VendorName;

use crate::client;
use crate::registration::{self, ServerRegistration};
use crate::{Platform, Revision};

/// A server on this machine looks for changes several times a second; a server that needs longer is broken.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// The servers of one home on this machine.
#[derive(Debug, Clone)]
pub struct Local {
    registrations: PathBuf,
}

impl Local {
    /// The servers that register themselves in this folder, which need not exist yet.
    pub fn new(registrations: PathBuf) -> Self {
        Self { registrations }
    }

    /// The folder of the registrations.
    pub fn folder(&self) -> &Path {
        &self.registrations
    }

    /// All servers that live, whatever vendors they serve.
    pub fn living(&self) -> io::Result<Vec<ServerRegistration>> {
        registration::living(&self.registrations)
    }

    fn still_runs(&self, server: &ServerRegistration) -> bool {
        self.living().is_ok_and(|living| living.contains(server))
    }
}

impl Platform for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn ensure(&self, vendor: &VendorName, say: &dyn Fn(&str)) -> Result<Vec<ServerRegistration>, Failure> {
        let servers = self.observe(vendor)?;
        for server in &servers {
            await_answers(server, vendor)?;
            say(&format!("The server on {} answers /v1/_ping and /v2/", server.reachable()));
        }
        if servers.is_empty() {
            say(&format!("No server of {vendor} runs; start one: raas serve {vendor}"));
        }
        Ok(servers)
    }

    fn observe(&self, vendor: &VendorName) -> Result<Vec<ServerRegistration>, Failure> {
        let mut servers = self
            .living()
            .context(|| format!("cannot look for servers in {}", self.registrations.display()))?;
        servers.retain(|server| server.serves(vendor));
        Ok(servers)
    }

    fn await_revision(
        &self,
        vendor: &VendorName,
        servers: &[ServerRegistration],
        revision: &Revision<'_>,
        say: &dyn Fn(&str),
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        for server in servers {
            loop {
                match client::revision(server, vendor) {
                    Ok(served) if (revision.is_served_by)(&served) => break,
                    // The server was stopped meanwhile.
                    _ if !self.still_runs(server) => break,
                    other if begun.elapsed() > PATIENCE => return Err(too_late(server, revision, other)),
                    _ => thread::sleep(PAUSE),
                }
            }
            say(&format!("Served on {}", server.reachable()));
        }
        Ok(())
    }
}

fn await_answers(server: &ServerRegistration, vendor: &VendorName) -> Result<(), Failure> {
    let begun = Instant::now();
    for path in ["/v1/_ping", "/v2/"] {
        while let Err(error) = client::answers(server, vendor, path) {
            if begun.elapsed() > PATIENCE {
                let message =
                    format!("the server on {} does not answer {path} for {vendor}", server.reachable());
                return Err(Failure::new(Kind::Environment, message).caused_by(error).hint(format!(
                    "look into the log of that server (process {}), or restart it",
                    server.pid
                )));
            }
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

fn too_late(
    server: &ServerRegistration,
    revision: &Revision<'_>,
    last: Result<String, ureq::Error>,
) -> Failure {
    let address = server.reachable();
    let message = format!(
        "it is published as commit {}, but after {} s the server on {address} does not serve it",
        revision.short,
        PATIENCE.as_secs()
    );
    let failure = Failure::new(Kind::Environment, message)
        .hint(format!("look into the log of that server (process {}), or restart it", server.pid));
    match last {
        Ok(served) => failure.caused_by(format!("it serves revision `{served}`")),
        Err(error) => failure.caused_by(error),
    }
}
