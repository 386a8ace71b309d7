//! A connection for each host, with the certificates that docker and podman would use for the host.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use raas_http::{
    Agent, AgentOptions, ClientIdentity, ClientOptions, ForwardProxies, Trust, authorities_from_pem,
};

use super::patience::Patience;
use crate::registry_error::RegistryError;

/// The agents of all hosts that a registry leads to. None of them follows redirects by itself: another host may have
/// other certificates, and must not see the login.
#[derive(Debug)]
pub(super) struct Hosts {
    folders: Vec<PathBuf>,
    proxies: Arc<ForwardProxies>,
    patience: Patience,
    special: Special,
    agents: Mutex<BTreeMap<String, Agent>>,
}

/// What is set for the registry's own host.
#[derive(Debug)]
pub(super) struct Special {
    pub(super) host: String,
    /// Whether its certificate is not checked.
    pub(super) any_certificate: bool,
    /// The certificate of the client, in place of the one in a folder.
    pub(super) identity: Option<Arc<ClientIdentity>>,
}

/// The folders that may have a folder for a host. For each host, the first of them that has one counts.
///
/// Source: containers-certs.d(5).
pub fn certificate_folders() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let mut folders: Vec<PathBuf> =
        home.into_iter().map(|home| home.join(".config/containers/certs.d")).collect();
    folders.extend(["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from));
    folders
}

impl Hosts {
    pub(super) fn new(
        folders: Vec<PathBuf>,
        patience: Patience,
        special: Special,
    ) -> Result<Self, RegistryError> {
        let proxies =
            ForwardProxies::from_environment().map_err(|error| RegistryError::Setup(error.to_string()))?;
        Ok(Self { folders, proxies: Arc::new(proxies), patience, special, agents: Mutex::default() })
    }

    /// Whether a folder has certificates for the host, which then speaks TLS.
    pub(super) fn has_certificates(&self, host: &str) -> bool {
        self.folder(host).is_some()
    }

    /// The agent for a host and port.
    pub(super) fn agent(&self, host: &str) -> Result<Agent, RegistryError> {
        let folder = self.folder(host);
        let special = Some(&self.special).filter(|special| special.host == host);
        // All hosts without certificates of their own share an agent.
        let key = if folder.is_some() || special.is_some() { host } else { "" };
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(key) {
            return Ok(agent.clone());
        }
        let (mut trust, mut identity) = match folder {
            Some(folder) => certificates(&folder)?,
            None => (Trust::System, None),
        };
        if let Some(special) = special {
            if special.any_certificate {
                trust = Trust::AnyCertificate;
            }
            identity = special.identity.clone().or(identity);
        }
        let client = ClientOptions {
            answer: self.patience.answer,
            proxies: self.proxies.clone(),
            trust,
            identity,
            ..ClientOptions::default()
        };
        let agent = Agent::new(AgentOptions { client, redirects: 0, silence: self.patience.silence });
        agents.insert(key.to_owned(), agent.clone());
        Ok(agent)
    }

    fn folder(&self, host: &str) -> Option<PathBuf> {
        // The name of a host has no slash, so it is one part of a path. A colon stands before a port only.
        let is_part = !host.is_empty() && !host.contains('/') && host != "." && host != "..";
        let of_host = |folder: &PathBuf| Some(folder.join(host)).filter(|folder| folder.is_dir());
        self.folders.iter().filter(|_| is_part).find_map(of_host)
    }
}

type Certificates = (Trust, Option<Arc<ClientIdentity>>);

/// Reads `*.crt`, authorities, and `*.cert` with the `*.key` of the same name, a certificate of the client.
fn certificates(folder: &Path) -> Result<Certificates, RegistryError> {
    let wrong = |path: &Path, why: &dyn std::fmt::Display| {
        RegistryError::Setup(format!("cannot use {}: {why}", path.display()))
    };
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| wrong(folder, &error))?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path: &Path| fs::read(path).map_err(|error| wrong(path, &error));
    let (mut authorities, mut identity) = (Vec::new(), None);
    for path in &paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => {
                authorities.extend(authorities_from_pem(&read(path)?).map_err(|error| wrong(path, &error))?);
            }
            Some("cert") if identity.is_none() => {
                let pair = ClientIdentity::from_pem(&read(path)?, &read(&path.with_extension("key"))?);
                identity = Some(Arc::new(pair.map_err(|error| wrong(path, &error))?));
            }
            _ => {}
        }
    }
    let trust = if authorities.is_empty() { Trust::System } else { Trust::SystemAnd(authorities) };
    Ok((trust, identity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_of_a_host_counts_and_its_faults_are_named() {
        let root = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| root.path().join(name));
        fs::create_dir_all(first.join("x.org:5000")).unwrap();
        fs::create_dir_all(second.join("x.org:5000")).unwrap();
        fs::write(second.join("x.org:5000/ca.crt"), "no certificate").unwrap();
        fs::create_dir_all(second.join("y.org")).unwrap();
        fs::write(second.join("y.org/client.cert"), "no certificate").unwrap();
        let special = Special { host: "z.org".into(), any_certificate: true, identity: None };
        let hosts = Hosts::new(vec![first, second], Patience::default(), special).unwrap();
        assert!(hosts.has_certificates("x.org:5000") && !hosts.has_certificates("x.org"));
        assert!(!hosts.has_certificates(".."));
        hosts.agent("x.org:5000").unwrap();
        let error = hosts.agent("y.org").unwrap_err().to_string();
        assert!(error.contains("second/y.org/client.key"), "{error}");
        fs::write(root.path().join("second/y.org/client.key"), "no key").unwrap();
        let error = hosts.agent("y.org").unwrap_err().to_string();
        assert!(error.contains("client.cert: it has no certificate in PEM"), "{error}");
    }
}
