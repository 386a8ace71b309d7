//! OpenShift 2, as the original tool deployed to it: an application of the vendor's domain, made by the broker and deployed by
//! a push to its git repository.

mod broker;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use raas_base::failure::{Failure, Kind};
use raas_git::{Remote, Repository};
use raas_types::VendorName;

use crate::git::{DeployedRepository, Git};
use crate::{Delivery, Ensured, Platform, Revision, Server};
use broker::{Application, Broker};

pub use broker::Credentials;

/// The application's name, as the original tool had it.
const APPLICATION: &str = "registry";

/// What Crane needs to run in a Python cartridge.
const VARIABLES: [(&str, &str); 2] =
    [("OPENSHIFT_PYTHON_WSGI_APPLICATION", "crane/wsgi.py"), ("OPENSHIFT_PYTHON_DOCUMENT_ROOT", "crane/")];

/// How long an application may take to answer after a start.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The pause between two questions to it.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What the operator has set for OpenShift 2.
#[derive(Debug, Clone)]
pub struct OpenShift2Settings {
    /// The server of the broker.
    pub server_url: String,
    /// The login at the broker.
    pub credentials: Credentials,
    /// The vendor's domain.
    pub domain: String,
    /// What the gear runs.
    pub cartridge: String,
    /// The application that a new gear starts from.
    pub app_git_url: Option<String>,
    /// How long one git command may wait.
    pub git_timeout: Duration,
    /// Whether a missing domain may be made.
    pub create: bool,
}

/// A domain of OpenShift 2.
#[derive(Debug)]
pub struct OpenShift2 {
    broker: Broker,
    settings: OpenShift2Settings,
    /// The folder of private clones, which need not exist yet.
    private: PathBuf,
    timeout: Duration,
    poll: Duration,
}

impl OpenShift2 {
    /// The application of a domain. This sends no request.
    pub fn new(settings: OpenShift2Settings, private: PathBuf) -> Self {
        let broker = Broker::new(&settings.server_url, settings.credentials.clone());
        Self { broker, settings, private, timeout: TIMEOUT, poll: POLL_INTERVAL }
    }

    /// The domain for people.
    pub fn display_name(&self) -> String {
        format!("domain {} on {}", self.settings.domain, self.settings.server_url)
    }

    /// The names of what [`Platform::remove`] would remove.
    ///
    /// # Errors
    /// The broker refuses.
    pub fn made(&self) -> Result<Vec<String>, Failure> {
        let found = self.broker.application(&self.settings.domain, APPLICATION)?;
        Ok(found.iter().map(|_| self.application_name()).collect())
    }

    /// The revision that the application serves; `None` for a Crane, which does not say it.
    ///
    /// # Errors
    /// The application does not answer.
    pub fn revision(&self) -> Result<Option<String>, Failure> {
        self.git(&self.existing()?).revision()
    }

    fn application_name(&self) -> String {
        format!("app {APPLICATION} of domain {}", self.settings.domain)
    }

    fn ensure_domain(&self, say: &dyn Fn(&str)) -> Result<bool, Failure> {
        let domain = &self.settings.domain;
        if self.broker.has_domain(domain)? {
            return Ok(false);
        }
        if !self.settings.create {
            return Err(Failure::new(
                Kind::Usage,
                format!("there is no domain {domain} on {}", self.settings.server_url),
            )
            .hint("make it with `raas setup --create`, or name another one with `domain` in [openshift]"));
        }
        self.broker.create_domain(domain)?;
        say(&format!("Created domain {domain}"));
        Ok(true)
    }

    fn create(&self, say: &dyn Fn(&str)) -> Result<Application, Failure> {
        say("Creating OpenShift application");
        let OpenShift2Settings { domain, cartridge, app_git_url, .. } = &self.settings;
        let made = self.broker.create_application(domain, APPLICATION, cartridge, app_git_url.as_deref())?;
        say(&format!("Created app {APPLICATION}"));
        Ok(made)
    }

    /// Sets the variables that differ. Returns whether there were any.
    fn set_variables(&self, say: &dyn Fn(&str)) -> Result<bool, Failure> {
        let domain = &self.settings.domain;
        let known = self.broker.variables(domain, APPLICATION)?;
        let mut changed = false;
        for (name, value) in VARIABLES {
            match known.get(name) {
                Some(set) if set == value => continue,
                before => {
                    say(&format!("Setting environment variable {name}"));
                    self.broker.set_variable(domain, APPLICATION, name, value, before.is_some())?;
                }
            }
            changed = true;
        }
        Ok(changed)
    }

    fn await_ping(&self, application: &Application) -> Result<(), Failure> {
        let begun = Instant::now();
        let git = self.git(application);
        while let Err(error) = git.ping() {
            if begun.elapsed() > self.timeout {
                let message = format!("{} does not answer /v1/_ping", application.url);
                return Err(Failure::new(Kind::Environment, message).caused_by(error).hint(format!(
                    "look into its log: rhc tail {APPLICATION} --namespace {}",
                    self.settings.domain
                )));
            }
            thread::sleep(self.poll);
        }
        Ok(())
    }

    fn existing(&self) -> Result<Application, Failure> {
        self.broker.application(&self.settings.domain, APPLICATION)?.ok_or_else(|| {
            Failure::new(Kind::Usage, format!("there is no {}", self.application_name()))
                .hint("make it: raas setup ISV")
        })
    }

    fn git(&self, application: &Application) -> Git {
        let remote = Remote { address: application.git_url.clone(), timeout: self.settings.git_timeout };
        let deployed = DeployedRepository { remote, branch: None, application: None };
        let url = application.url.trim_end_matches('/').to_owned();
        Git::new(deployed, self.private.clone(), Some(url)).with_patience(self.timeout, self.poll)
    }

    fn server(&self, application: &Application) -> Server {
        let is_ready = self.git(application).ping().is_ok();
        Server { name: application.url.clone(), url: Some(application.url.clone()), is_ready }
    }
}

impl Platform for OpenShift2 {
    fn name(&self) -> &'static str {
        "openshift2"
    }

    fn ensure(&self, _: &VendorName, say: &dyn Fn(&str)) -> Result<Ensured, Failure> {
        let mut changed = self.ensure_domain(say)?;
        let application = match self.broker.application(&self.settings.domain, APPLICATION)? {
            Some(application) => application,
            None => {
                changed = true;
                self.create(say)?
            }
        };
        // An application that a killed run has made may lack its variables.
        if self.set_variables(say)? {
            changed = true;
            say("restarting application");
            self.broker.restart(&self.settings.domain, APPLICATION)?;
        }
        self.await_ping(&application)?;
        say(&format!("{} answers /v1/_ping", application.url));
        Ok(Ensured { servers: vec![self.server(&application)], changed })
    }

    fn observe(&self, _: &VendorName) -> Result<Vec<Server>, Failure> {
        if !self.broker.has_domain(&self.settings.domain)? {
            return Ok(Vec::new());
        }
        let found = self.broker.application(&self.settings.domain, APPLICATION)?;
        Ok(found.iter().map(|application| self.server(application)).collect())
    }

    fn deliver(
        &self,
        vendor: &VendorName,
        record: &Repository,
        say: &dyn Fn(&str),
    ) -> Result<Delivery, Failure> {
        self.git(&self.existing()?).deliver(vendor, record, say)
    }

    fn await_revision(
        &self,
        vendor: &VendorName,
        servers: &[Server],
        revision: &Revision<'_>,
        say: &dyn Fn(&str),
    ) -> Result<(), Failure> {
        self.git(&self.existing()?).await_revision(vendor, servers, revision, say)
    }

    fn remove(&self, _: &VendorName, say: &dyn Fn(&str)) -> Result<Vec<String>, Failure> {
        let made = self.made()?;
        for name in &made {
            self.broker.remove(&self.settings.domain, APPLICATION)?;
            say(&format!("Removed {name}"));
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests;
