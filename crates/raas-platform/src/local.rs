//! The platform of the embedded default: processes on this machine, started by hand or by a service manager.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use raas_base::failure::{Context as _, Failure, Kind};
use raas_git::Repository;
use raas_types::VendorName;

use crate::client::{self, AskError};
use crate::registration::{self, ServerRegistration};
use crate::{Delivery, Ensured, Platform, Revision, Server};

/// The time limit for an answer. A server looks for changes several times a second: after this time it is broken.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The pause between two requests to a server.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The servers of one home on this machine.
#[derive(Debug, Clone)]
pub struct Local {
    registrations: PathBuf,
    timeout: Duration,
    /// Where people pull from, if that is known. Servers of other homes and machines may serve it.
    registry: Option<String>,
}

impl Local {
    /// The servers that register themselves in this folder, which need not exist yet.
    pub fn new(registrations: PathBuf) -> Self {
        Self { registrations, timeout: TIMEOUT, registry: None }
    }

    /// Knows the address that people pull from.
    #[must_use]
    pub fn with_registry(self, registry: Option<String>) -> Self {
        Self { registry, ..self }
    }

    /// The folder of the registrations.
    pub fn folder(&self) -> &Path {
        &self.registrations
    }

    /// All living servers, of all vendors.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn living(&self) -> io::Result<Vec<ServerRegistration>> {
        registration::living(&self.registrations)
    }

    /// The vendor's living servers.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn servers(&self, vendor: &VendorName) -> Result<Vec<ServerRegistration>, Failure> {
        let mut servers = self
            .living()
            .context(|| format!("cannot look for servers in {}", self.registrations.display()))?;
        servers.retain(|server| server.serves(vendor));
        Ok(servers)
    }

    /// The living server of this name.
    fn running(&self, vendor: &VendorName, name: &str) -> Option<ServerRegistration> {
        let mut servers = self.servers(vendor).ok()?.into_iter();
        servers.find(|server| server.reachable().to_string() == name)
    }
}

impl From<&ServerRegistration> for Server {
    fn from(server: &ServerRegistration) -> Self {
        Self { name: server.reachable().to_string(), url: Some(server.url()), is_ready: true }
    }
}

impl Platform for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn ensure(&self, vendor: &VendorName, say: &dyn Fn(&str)) -> Result<Ensured, Failure> {
        let servers = self.servers(vendor)?;
        for server in &servers {
            await_answers(server, vendor, self.timeout)?;
            say(&format!("The server on {} answers /v1/_ping and /v2/", server.reachable()));
        }
        if servers.is_empty() {
            say(&match &self.registry {
                Some(registry) => format!(
                    "No server of this home serves {vendor}; servers elsewhere may: `raas status {vendor}` asks {registry}"
                ),
                None => format!("No server of {vendor} runs; start one: raas serve {vendor}"),
            });
        }
        // A person starts and stops these servers.
        Ok(Ensured { servers: servers.iter().map(Server::from).collect(), changed: false })
    }

    fn observe(&self, vendor: &VendorName) -> Result<Vec<Server>, Failure> {
        Ok(self.servers(vendor)?.iter().map(Server::from).collect())
    }

    fn deliver(&self, _: &VendorName, _: &Repository, _: &dyn Fn(&str)) -> Result<Delivery, Failure> {
        Ok(Delivery::Followed)
    }

    fn await_revision(
        &self,
        vendor: &VendorName,
        servers: &[Server],
        revision: &Revision<'_>,
        say: &dyn Fn(&str),
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        for server in servers {
            // A server that was stopped meanwhile is not waited for.
            while let Some(running) = self.running(vendor, &server.name) {
                match client::revision(&running, vendor) {
                    Ok(served) if (revision.is_served_by)(&served) => break,
                    // The answer was late, and the server is gone by now.
                    _ if self.running(vendor, &server.name).as_ref() != Some(&running) => {}
                    other if begun.elapsed() > self.timeout => {
                        return Err(too_late(&running, revision, other, self.timeout));
                    }
                    _ => thread::sleep(POLL_INTERVAL),
                }
            }
            say(&format!("Served on {}", server.name));
        }
        Ok(())
    }

    fn remove(&self, vendor: &VendorName, say: &dyn Fn(&str)) -> Result<Vec<String>, Failure> {
        for server in self.servers(vendor)? {
            say(&format!("The server on {} was started by hand; stop it there", server.reachable()));
        }
        Ok(Vec::new())
    }
}

/// Waits until a server answers the two pings for the vendor.
fn await_answers(server: &ServerRegistration, vendor: &VendorName, timeout: Duration) -> Result<(), Failure> {
    let begun = Instant::now();
    for path in ["/v1/_ping", "/v2/"] {
        while let Err(error) = client::answers(server, vendor, path) {
            if begun.elapsed() > timeout {
                let message =
                    format!("the server on {} does not answer {path} for {vendor}", server.reachable());
                return Err(Failure::new(Kind::Environment, message).caused_by(error).hint(format!(
                    "look into the log of that server (process {}), or restart it",
                    server.pid
                )));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
    Ok(())
}

fn too_late(
    server: &ServerRegistration,
    revision: &Revision<'_>,
    last: Result<String, AskError>,
    timeout: Duration,
) -> Failure {
    let address = server.reachable();
    let message = format!(
        "it is published as commit {}, but after {} s the server on {address} does not serve it",
        revision.short,
        timeout.as_secs()
    );
    let failure = Failure::new(Kind::Environment, message)
        .hint(format!("look into the log of that server (process {}), or restart it", server.pid));
    match last {
        Ok(served) => failure.caused_by(format!("it serves revision `{served}`")),
        Err(error) => failure.caused_by(error),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use raas_testkit::http::{Reply, Server};

    use super::*;
    use crate::registration::{Registered, register};
    use crate::suite;

    struct Fixture {
        folder: tempfile::TempDir,
        vendor: VendorName,
        said: RefCell<Vec<String>>,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Self { folder, vendor: "acme".parse().unwrap(), said: RefCell::default() }
        }

        fn local(&self, timeout: Duration) -> Local {
            Local { timeout, ..Local::new(self.folder.path().to_owned()) }
        }

        /// Registers a scripted server for vendors.
        fn register(&self, server: &Server, vendors: &[&str]) -> Registered {
            let vendors = vendors.iter().map(|vendor| vendor.parse().unwrap()).collect();
            let address = server.address();
            register(self.folder.path(), &ServerRegistration { address, pid: 7, vendors, secure: false })
                .unwrap()
        }

        fn say(&self) -> impl Fn(&str) {
            |line| self.said.borrow_mut().push(line.to_owned())
        }
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_running_server_is_observed_and_must_answer_both_pings() {
        let fixture = Fixture::new();
        let platform = fixture.local(LONG);
        assert_eq!(platform.ensure(&fixture.vendor, &fixture.say()).unwrap().servers, []);
        assert_eq!(fixture.said.take(), ["No server of acme runs; start one: raas serve acme"]);
        let elsewhere = fixture.local(TIMEOUT).with_registry(Some("r.acme.example".into()));
        elsewhere.ensure(&fixture.vendor, &fixture.say()).unwrap();
        assert!(fixture.said.take()[0].contains("`raas status acme` asks r.acme.example"));

        // The first ping fails at first, and `/v2/` requires a token, as a registry with users does.
        let pings = AtomicUsize::new(0);
        let server = Server::scripted(move |asked| match asked.target.as_str() {
            _ if asked.headers.get("host").is_none_or(|host| host != "acme.localhost") => Reply::new(404, ""),
            "/v1/_ping" if pings.fetch_add(1, Ordering::SeqCst) == 0 => Reply::new(503, ""),
            "/v1/_ping" => Reply::new(200, "true"),
            "/v2/" => Reply::new(401, ""),
            _ => Reply::new(404, ""),
        });
        let other = Server::scripted(|_| Reply::new(500, ""));
        let _registered = fixture.register(&server, &["acme"]);
        let _of_other_vendor = fixture.register(&other, &["other"]);
        let ensured = platform.ensure(&fixture.vendor, &fixture.say()).unwrap();
        let names: Vec<_> = ensured.servers.iter().map(|server| server.name.clone()).collect();
        assert_eq!(names, [server.address().to_string()]);
        assert_eq!(platform.observe(&fixture.vendor).unwrap(), ensured.servers);
        let answered = format!("The server on {} answers /v1/_ping and /v2/", server.address());
        assert_eq!(fixture.said.take(), [answered]);
        assert_eq!(platform.living().unwrap().len(), 2);
    }

    #[test]
    fn a_server_that_does_not_answer_is_an_error_with_its_process() {
        let fixture = Fixture::new();
        let server = Server::scripted(|_| Reply::new(500, ""));
        let _registered = fixture.register(&server, &[]);
        let failure = fixture.local(Duration::ZERO).ensure(&fixture.vendor, &fixture.say()).unwrap_err();
        let expected = format!("the server on {} does not answer /v1/_ping for acme", server.address());
        assert_eq!(failure.message(), expected);
        assert!(failure.hints()[0].contains("process 7"), "{failure}");
    }

    #[test]
    fn a_publication_is_awaited_on_each_running_server() {
        let fixture = Fixture::new();
        let looks = AtomicUsize::new(0);
        let server = Server::scripted(move |asked| match asked.target.as_str() {
            "/-/revision" if looks.fetch_add(1, Ordering::SeqCst) < 2 => Reply::new(200, "old\n"),
            "/-/revision" => Reply::new(200, "new\n"),
            _ => Reply::new(404, ""),
        });
        let registered = fixture.register(&server, &[]);
        let platform = fixture.local(LONG);
        let servers = platform.observe(&fixture.vendor).unwrap();
        let new = Revision { short: "new", is_served_by: &|served| served == "new" };
        platform.await_revision(&fixture.vendor, &servers, &new, &fixture.say()).unwrap();
        assert_eq!(fixture.said.take(), [format!("Served on {}", server.address())]);

        let newest = Revision { short: "newest", is_served_by: &|served| served == "newest" };
        let hurried = fixture.local(Duration::ZERO);
        let failure = hurried.await_revision(&fixture.vendor, &servers, &newest, &fixture.say()).unwrap_err();
        assert!(failure.message().contains("published as commit newest"), "{failure}");
        assert_eq!(failure.causes(), ["it serves revision `new`"]);

        // Nothing waits for a server that has stopped.
        drop(registered);
        platform.await_revision(&fixture.vendor, &servers, &newest, &fixture.say()).unwrap();
    }

    /// The local platform with a scripted server, which a person starts.
    struct LocalStage {
        fixture: Fixture,
        platform: Local,
        server: Server,
        revision: Arc<Mutex<String>>,
        registered: RefCell<Option<Registered>>,
    }

    impl suite::Stage for LocalStage {
        fn platform(&self) -> &dyn Platform {
            &self.platform
        }

        fn start_servers(&self) {
            *self.registered.borrow_mut() = Some(self.fixture.register(&self.server, &["bigdatainc"]));
        }

        fn serve(&self, revision: &str) {
            revision.clone_into(&mut self.revision.lock().unwrap());
        }

        fn makes_things(&self) -> bool {
            false
        }
    }

    #[test]
    fn the_local_platform_keeps_the_promises() {
        suite::run(|| {
            let fixture = Fixture::new();
            let revision = Arc::new(Mutex::new("old".to_owned()));
            let served = Arc::clone(&revision);
            let server = Server::scripted(move |asked| match asked.target.as_str() {
                "/-/revision" => Reply::new(200, served.lock().unwrap().clone()),
                _ => Reply::new(200, "true"),
            });
            let platform = fixture.local(Duration::from_millis(100));
            LocalStage { fixture, platform, server, revision, registered: RefCell::default() }
        });
    }
}
