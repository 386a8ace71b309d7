//! The platform that a vendor's servers run on. Every command chooses it here.

#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(not(feature = "kubernetes"))]
#[path = "platform/without_kubernetes.rs"]
mod kubernetes;

use raas_base::failure::{Failure, Kind};
use raas_git::Remote;
use raas_platform::{
    Credentials, DeployedRepository, Git, Local, OpenShift2, OpenShift2Settings, Platform, Server,
};
use raas_publish::home::{Home, Vendor};
use raas_types::VendorName;

use crate::config::{Config, PlatformName};

pub(crate) use kubernetes::{manifests, preview};

/// A platform, and what a command says before it touches it.
pub(crate) struct Chosen<'a> {
    pub(crate) platform: Box<dyn Platform + 'a>,
    /// `project mydomain on https://api.example.com:6443`; nothing for this machine.
    pub(crate) place: Option<String>,
}

/// The name of the platform for people and scripts.
pub(crate) fn name(config: &Config) -> &'static str {
    match config.openshift.platform {
        PlatformName::Local => "local",
        PlatformName::Kubernetes => "kubernetes",
        PlatformName::Git => "git",
        PlatformName::OpenShift2 => "openshift2",
    }
}

/// The platform of a vendor. With `create`, it may make the project that it needs.
///
/// # Errors
/// The configuration does not suffice, or a login fails. Nothing is made yet.
pub(crate) fn choose<'a>(
    home: &Home,
    config: &'a Config,
    vendor: &'a VendorName,
    create: bool,
) -> Result<Chosen<'a>, Failure> {
    match config.openshift.platform {
        PlatformName::Local => {
            let registry = config.vendor(vendor).registry_addresses.first().map(ToString::to_string);
            let local = Local::new(home.servers()).with_registry(registry);
            Ok(Chosen { platform: Box::new(local), place: None })
        }
        PlatformName::Kubernetes => kubernetes::open(config, Some(vendor), create),
        PlatformName::Git => {
            let git = git(home, config, vendor)?;
            let place = Some(git.display_name());
            Ok(Chosen { platform: Box::new(git), place })
        }
        PlatformName::OpenShift2 => {
            let openshift = openshift2(home, config, vendor, create)?;
            let place = Some(openshift.display_name());
            Ok(Chosen { platform: Box::new(openshift), place })
        }
    }
}

/// The repository that a vendor is deployed from.
fn git(home: &Home, config: &Config, vendor: &VendorName) -> Result<Git, Failure> {
    let settings = config.vendor(vendor);
    let Some(address) = settings.git_url else {
        return Err(Failure::new(
            Kind::Usage,
            format!("the repository that {vendor} is deployed from is not known"),
        )
        .hint(format!("set `git_url` in [{vendor}] of raas.cfg")));
    };
    let remote = |address: String| Remote { address, timeout: config.git_timeout };
    let deployed = DeployedRepository {
        remote: remote(address),
        branch: settings.git_branch,
        application: config.openshift.app_git_url.clone().map(remote),
    };
    let url = settings.registry_addresses.first().map(|address| format!("https://{address}"));
    Ok(Git::new(deployed, home.deployed_clones(), url))
}

/// The application of a vendor on OpenShift 2.
fn openshift2(
    home: &Home,
    config: &Config,
    vendor: &VendorName,
    create: bool,
) -> Result<OpenShift2, Failure> {
    let openshift = &config.openshift;
    let missing = |what: &str, key: &str| {
        Failure::new(Kind::Usage, format!("{what} of {vendor} on OpenShift 2 is not known"))
            .hint(format!("set {key} in [openshift] of raas.cfg"))
    };
    let domain = config.vendor(vendor).openshift_domain.or_else(|| openshift.domain.clone());
    let login = openshift.username.clone().zip(openshift.password.clone());
    let credentials = match (&openshift.auth_token, login) {
        (Some(token), _) => Credentials::Token(token.clone()),
        (None, Some((user, password))) => Credentials::Password(user, password),
        (None, None) => return Err(missing("the login", "`auth_token`, or `username` and `password`")),
    };
    let settings = OpenShift2Settings {
        server_url: openshift.server_url.clone().ok_or_else(|| missing("the broker", "`server_url`"))?,
        credentials,
        domain: domain.ok_or_else(|| missing("the domain", "`domain`"))?,
        cartridge: openshift.cartridge.clone().unwrap_or_else(|| "python-2.7".to_owned()),
        app_git_url: openshift.app_git_url.clone(),
        git_timeout: config.git_timeout,
        create,
    };
    Ok(OpenShift2::new(settings, home.deployed_clones()))
}

/// The names of what a setup has made for a vendor.
///
/// # Errors
/// The platform does not answer, or refuses.
pub(crate) fn made(home: &Home, config: &Config, vendor: &VendorName) -> Result<Vec<String>, Failure> {
    match config.openshift.platform {
        PlatformName::OpenShift2 => openshift2(home, config, vendor, false)?.made(),
        PlatformName::Kubernetes => kubernetes::made(config, Some(vendor)),
        PlatformName::Local | PlatformName::Git => Ok(Vec::new()),
    }
}

/// Brings the last publication to the platform, if its servers follow no bucket.
///
/// # Errors
/// The platform refuses. The publication is made already, and the next push delivers it.
pub(crate) fn deliver(
    home: &Home,
    config: &Config,
    vendor: &Vendor,
    say: &dyn Fn(&str),
) -> Result<(), Failure> {
    let name = vendor.name();
    let platform: Box<dyn Platform> = match config.openshift.platform {
        PlatformName::Local | PlatformName::Kubernetes => return Ok(()),
        PlatformName::Git => Box::new(git(home, config, name)?),
        PlatformName::OpenShift2 => Box::new(openshift2(home, config, name, false)?),
    };
    let delivered = platform.deliver(name, &vendor.record(), say);
    delivered.map(drop).map_err(|failure| {
        failure.preceded_by(
            "the image is published, but not delivered; the next push, or `raas setup`, delivers it",
        )
    })
}

/// Whether the vendors' servers run on this machine.
pub(crate) fn is_local(config: &Config) -> bool {
    config.openshift.platform == PlatformName::Local
}

/// Checks that the configuration suffices for a setup, as far as it shows without asking the platform.
///
/// # Errors
/// A setting is missing, or contradicts another.
pub(crate) fn check(config: &Config, vendor: &VendorName) -> Result<(), Failure> {
    match config.openshift.platform {
        PlatformName::Kubernetes => kubernetes::check_settings(config, Some(vendor)),
        _ => Ok(()),
    }
}

/// Checks that a command for clusters has a cluster.
///
/// # Errors
/// The platform is this machine.
pub(crate) fn expect_cluster(config: &Config, what: &str) -> Result<(), Failure> {
    if config.openshift.platform == PlatformName::Kubernetes {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Usage,
        format!("{what} is for registries in a cluster, and `platform` is {}", name(config)),
    )
    .hint("set `platform = kubernetes` in [openshift] of raas.cfg"))
}

/// A note for an operator whose configuration names a cluster that nothing is deployed to.
pub(crate) fn unused_cluster(config: &Config) -> Option<String> {
    let openshift = &config.openshift;
    let named = openshift.server_url.as_ref().filter(|_| openshift.platform == PlatformName::Local)?;
    Some(format!(
        "Note: [openshift] names {named}, and nothing is deployed there, since `platform` is local\n\
         hint: set `platform` in [openshift] to run the servers there: kubernetes, or openshift2 for a broker"
    ))
}

/// The fleet, which serves all vendors in a cluster. With `create`, its setup may make the project.
///
/// # Errors
/// The configuration has no fleet or does not suffice, or a login fails. Nothing is made yet.
pub(crate) fn fleet(config: &Config, create: bool) -> Result<Chosen<'_>, Failure> {
    expect_fleet(config)?;
    kubernetes::check_settings(config, None)?;
    kubernetes::open(config, None, create)
}

/// The names of what a setup has made for the fleet.
///
/// # Errors
/// The platform does not answer, or refuses.
pub(crate) fn made_for_fleet(config: &Config) -> Result<Vec<String>, Failure> {
    kubernetes::made(config, None)
}

/// Checks that the configuration has a fleet: otherwise other commands would look for servers of each vendor.
///
/// # Errors
/// It has none.
pub(crate) fn expect_fleet(config: &Config) -> Result<(), Failure> {
    expect_cluster(config, "--fleet")?;
    if config.openshift.fleet {
        return Ok(());
    }
    Err(Failure::new(Kind::Usage, "--fleet, but each vendor has servers of its own by the configuration")
        .hint("set `fleet = yes` in [openshift] of raas.cfg, so that every command knows of the fleet"))
}

/// A server elsewhere, and the revision that it serves.
pub(crate) struct Replica {
    pub(crate) server: Server,
    /// `None` for a Crane, which does not say it.
    pub(crate) revision: Result<Option<String>, Failure>,
}

/// What a platform says of a vendor's servers.
#[derive(Default)]
pub(crate) struct Looked {
    /// What the platform itself says.
    pub(crate) facts: Vec<Fact>,
    pub(crate) replicas: Vec<Replica>,
    /// The hosts by which clients come in, as far as the platform knows them.
    pub(crate) hosts: Vec<String>,
}

/// One thing that a platform says.
pub(crate) struct Fact {
    /// In one word.
    pub(crate) name: &'static str,
    pub(crate) state: FactState,
    pub(crate) found: String,
    /// What to do, if it is not good.
    pub(crate) fix: String,
}

/// Whether a fact is as it should be.
#[cfg_attr(not(any(test, feature = "kubernetes")), expect(dead_code, reason = "only clusters have facts"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FactState {
    Good,
    Waiting,
    Bad,
}

/// Looks at the servers of a vendor elsewhere, and asks each for its revision.
///
/// # Errors
/// The platform does not answer, or refuses.
pub(crate) fn look(home: &Home, config: &Config, vendor: &VendorName) -> Result<Looked, Failure> {
    match config.openshift.platform {
        PlatformName::Git => {
            let git = git(home, config, vendor)?;
            let replica = |server| Replica { server, revision: git.revision() };
            let replicas = git.observe(vendor)?.into_iter().map(replica).collect();
            Ok(Looked { replicas, ..Looked::default() })
        }
        PlatformName::OpenShift2 => {
            let openshift = openshift2(home, config, vendor, false)?;
            let replica = |server| Replica { server, revision: openshift.revision() };
            let replicas = openshift.observe(vendor)?.into_iter().map(replica).collect();
            Ok(Looked { replicas, ..Looked::default() })
        }
        PlatformName::Kubernetes | PlatformName::Local => kubernetes::look(config, vendor),
    }
}
