//! Makes the plan of servers in a cluster of what the operator has set. No vendor stands for the fleet.

use std::fs;

use raas_base::Secret;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_kubernetes::{
    Access, Certificate, Change, Entrance, Entry, Facts, Instance, Kubernetes, Namespace, Observed, Plan,
    Registry, RolloutHealth, Scale, manifests as manifests_of, yaml,
};
use raas_platform::Platform as _;
use raas_types::{BucketAccess, ImageReference, VendorName};

use super::{Chosen, Fact, FactState, Looked, Replica};
use crate::config::{Config, Openshift, VendorSettings};

/// The number of servers without a setting: one may be away while the other serves.
const SERVERS: Scale = Scale::Fixed(2);

/// The file of the secret that all servers of a vendor sign tokens with.
const TOKEN_KEY: &str = "token-key";

/// How much memory a server may take without a setting, in MiB: one of a vendor, and one of the fleet.
const MEMORY: u32 = 512;
const FLEET_MEMORY: u32 = 2048;

pub(super) fn open<'a>(
    config: &'a Config,
    vendor: Option<&VendorName>,
    create: bool,
) -> Result<Chosen<'a>, Failure> {
    let platform = kubernetes(config, vendor)?.creating(create);
    let place = Some(platform.display_name());
    Ok(Chosen { platform: Box::new(platform), place })
}

/// What a setup would change, line by line.
pub(crate) fn preview(
    config: &Config,
    vendor: Option<&VendorName>,
    create: bool,
) -> Result<Vec<String>, Failure> {
    let platform = kubernetes(config, vendor)?.creating(create);
    let preview = platform.preview()?;
    let mut lines = Vec::new();
    if preview.needs_namespace {
        lines.push(format!("+ {}", platform.display_name()));
    }
    lines.extend(preview.changes.iter().flat_map(Change::lines));
    if lines.is_empty() {
        lines.push(format!("Nothing would change in {}", platform.display_name()));
    }
    Ok(lines)
}

/// The manifests for people, with placeholders in place of secrets. No cluster is asked.
pub(crate) fn manifests(config: &Config, vendor: Option<&VendorName>) -> Result<String, Failure> {
    let facts = Facts { has_routes: true, ..Facts::default() };
    let plan = plan(config, &instance(config, vendor), &facts, Secrets::Placeholders)?;
    Ok(yaml::documents(&manifests_of::for_people(&plan)))
}

/// Checks the settings. Whether the cluster has routes shows later.
pub(super) fn check_settings(config: &Config, vendor: Option<&VendorName>) -> Result<(), Failure> {
    let facts = Facts { has_routes: true, ..Facts::default() };
    let instance = instance(config, vendor);
    if let Some(vendor) = vendor {
        // A fleet leaves out the vendors without a bucket.
        check(vendor, &instance, config, &entry(&config.openshift, &facts))?;
    }
    plan(config, &instance, &facts, Secrets::Real).map(drop)
}

/// The names of what a setup has made.
pub(super) fn made(config: &Config, vendor: Option<&VendorName>) -> Result<Vec<String>, Failure> {
    kubernetes(config, vendor)?.made()
}

/// What the cluster says of a vendor's servers, and what each of them serves of the vendor.
pub(super) fn look(config: &Config, vendor: &VendorName) -> Result<Looked, Failure> {
    let platform = kubernetes(config, Some(vendor))?;
    let observed = platform.look()?;
    let servers = if observed.has_namespace { platform.observe(vendor)? } else { Vec::new() };
    let replica = |server| {
        let revision = platform.site(&server, vendor).map(|site| Some(site.revision.unwrap_or_default()));
        Replica { server, revision }
    };
    let own = config.vendor(vendor).registry_hosts;
    let is_own =
        |entrance: &&Entrance| own.is_empty() || own.iter().any(|host| host.as_str() == entrance.host);
    let entrances: Vec<&Entrance> = observed.entrances.iter().filter(is_own).collect();
    let setup = format!("raas setup {vendor}");
    Ok(Looked {
        facts: facts_of(&observed, &entrances, &setup),
        replicas: servers.into_iter().map(replica).collect(),
        hosts: entrances.iter().map(|entrance| entrance.host.clone()).collect(),
    })
}

fn facts_of(observed: &Observed, entrances: &[&Entrance], setup: &str) -> Vec<Fact> {
    let fact = |name, state, found: String, fix: &str| Fact { name, state, found, fix: fix.to_owned() };
    let place = &observed.place;
    if !observed.has_namespace {
        let found = format!("{place} is not there, or you may not read it");
        return vec![fact("project", FactState::Bad, found, &format!("{setup} --create"))];
    }
    let mut facts = vec![fact("project", FactState::Good, format!("{place} is there"), "")];
    facts.push(match &observed.rollout {
        RolloutHealth::Done(servers) => {
            let found = format!("{servers} servers run what was set up, and are ready");
            fact("rollout", FactState::Good, found, "")
        }
        RolloutHealth::Going(line) => {
            fact("rollout", FactState::Waiting, line.clone(), "wait, and ask again")
        }
        RolloutHealth::Failed(reason) => {
            let fix = format!("run `{setup}`, which says why");
            fact("rollout", FactState::Bad, format!("the rollout has failed: {reason}"), &fix)
        }
        RolloutHealth::Missing => fact("rollout", FactState::Bad, "no deployment is there".to_owned(), setup),
    });
    for Entrance { name, host, refusal } in entrances {
        facts.push(match refusal {
            None => fact("route", FactState::Good, format!("{name} brings clients of {host} in"), ""),
            Some(reason) => {
                let fix = format!("run `{setup}`, which says what to do");
                fact("route", FactState::Bad, format!("{name} brings no client of {host} in: {reason}"), &fix)
            }
        });
    }
    facts
}

/// The servers of a vendor, or the fleet.
fn instance(config: &Config, vendor: Option<&VendorName>) -> Instance {
    match vendor {
        Some(vendor) if !config.openshift.fleet => Instance::Vendor(vendor.clone()),
        _ => Instance::Fleet,
    }
}

fn kubernetes<'a>(config: &'a Config, vendor: Option<&VendorName>) -> Result<Kubernetes<'a>, Failure> {
    let instance = instance(config, vendor);
    // What is missing is found before a password is sent.
    let namespace = namespace(config, &instance)?;
    let cluster = access(&config.openshift).open()?;
    let of = instance.clone();
    let planner = move |facts: &Facts| plan(config, &of, facts, Secrets::Real);
    Ok(Kubernetes::new(cluster, namespace, instance, Box::new(planner)))
}

fn access(openshift: &Openshift) -> Access {
    let login = openshift.username.clone().zip(openshift.password.clone());
    Access {
        server_url: openshift.server_url.clone(),
        token: openshift.auth_token.clone(),
        login,
        context: openshift.context.clone(),
        ca: openshift.ca_file.clone(),
        insecure: openshift.insecure,
    }
}

/// Whether a plan holds the real secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Secrets {
    Real,
    Placeholders,
}

fn plan(config: &Config, instance: &Instance, facts: &Facts, secrets: Secrets) -> Result<Plan, Failure> {
    let openshift = &config.openshift;
    let vendors: Vec<VendorName> = match instance {
        Instance::Vendor(vendor) => vec![vendor.clone()],
        Instance::Fleet => config.with_buckets().map(|(vendor, _)| vendor.clone()).collect(),
    };
    if vendors.is_empty() {
        return Err(Failure::new(
            Kind::Usage,
            "no vendor of the configuration has a bucket that a fleet could follow",
        )
        .hint("set `s3_bucket` in the sections of the vendors in raas.cfg"));
    }
    let entry = entry(openshift, facts);
    for vendor in &vendors {
        check(vendor, instance, config, &entry)?;
    }
    let mut files = config.excerpt(&vendors, secrets == Secrets::Placeholders)?.files;
    let token_key = match secrets {
        Secrets::Placeholders => Secret::new("REPLACE-ME-WITH-64-RANDOM-HEX-DIGITS"),
        Secrets::Real => facts.files.get(TOKEN_KEY).cloned().unwrap_or_else(raas_kubernetes::random_key),
    };
    files.insert(TOKEN_KEY.to_owned(), token_key);
    let scale = match &openshift.servers {
        None => SERVERS,
        Some(text) => text.parse().map_err(|error: String| wrong("servers", &error))?,
    };
    let ingress_namespace = openshift.ingress_namespace.as_deref().map(Namespace::of_others).transpose();
    let ingress_namespace = ingress_namespace.map_err(|error| wrong("ingress_namespace", &error))?;
    let registry = |vendor: &VendorName| {
        let settings = config.vendor(vendor);
        let certificate = certificate(vendor, &settings, secrets)?;
        Ok(Registry { vendor: vendor.clone(), hosts: settings.registry_hosts, certificate })
    };
    let registries = vendors.iter().map(registry).collect::<Result<_, Failure>>()?;
    let memory = if *instance == Instance::Fleet { FLEET_MEMORY } else { MEMORY };
    Ok(Plan {
        instance: instance.clone(),
        namespace: namespace(config, instance)?,
        image: image(openshift)?,
        pull_secrets: openshift.pull_secrets.clone(),
        scale,
        files,
        environment_secret: openshift.server_secret.clone(),
        service_account: openshift.service_account.clone(),
        memory: openshift.server_memory.unwrap_or(memory),
        registries,
        entry,
        ingress_namespace,
        monitored: facts.has_monitors,
    })
}

/// Finds contradictions before anything is made.
fn check(vendor: &VendorName, instance: &Instance, config: &Config, entry: &Entry) -> Result<(), Failure> {
    let (openshift, settings) = (&config.openshift, config.vendor(vendor));
    if settings.s3_bucket.is_none() {
        return Err(Failure::new(
            Kind::Usage,
            format!("{vendor} has no bucket, so servers in a cluster cannot follow it"),
        )
        .caused_by("the servers have no disk that lasts; a push reaches them through the bucket")
        .hint(format!(
            "set `s3_bucket` in [{vendor}] of raas.cfg, or run: raas setup {vendor} --s3bucket NAME"
        )));
    }
    if settings.registry_hosts.is_empty() && *instance == Instance::Fleet {
        return Err(Failure::new(
            Kind::Usage,
            format!("{vendor} has no host, by which a fleet could know it"),
        )
        .hint(format!(
            "set `registry_host` in [{vendor}]; the servers of a fleet choose the vendor by the host"
        )));
    }
    if settings.registry_hosts.is_empty() && *entry != Entry::Route {
        return Err(Failure::new(Kind::Usage, format!("{vendor} has no host for an ingress or a gateway"))
            .hint(format!("set `registry_host` in [{vendor}]; only OpenShift makes a host by itself")));
    }
    let signs = matches!(settings.access, BucketAccess::Presigned | BucketAccess::Proxy);
    let has_keys = config.aws.access_key_id.is_some()
        || openshift.server_secret.is_some()
        || openshift.service_account.is_some();
    if signs && !has_keys {
        let message = format!(
            "the servers of {vendor} would have no keys for the bucket {}",
            settings.s3_bucket.as_deref().unwrap_or_default()
        );
        return Err(Failure::new(Kind::Usage, message)
            .caused_by("your own keys, of the environment or of ~/.aws, stay on this machine")
            .hint("set `aws_access_key_id` and `aws_secret_access_key` in [aws], for a user who may only read the bucket")
            .hint("or name a secret of the project as `server_secret`, or a service account as `service_account`"));
    }
    Ok(())
}

/// The vendor's project, or that of all vendors.
fn namespace(config: &Config, instance: &Instance) -> Result<Namespace, Failure> {
    let own = match instance {
        Instance::Vendor(vendor) => config.vendor(vendor).openshift_domain,
        Instance::Fleet => None,
    };
    let hint = match instance {
        Instance::Vendor(vendor) => {
            format!("set `domain` in [openshift], or run: raas setup {vendor} --oodomain NAME")
        }
        Instance::Fleet => "set `domain` in [openshift]".to_owned(),
    };
    let named = own.or_else(|| config.openshift.domain.clone()).ok_or_else(|| {
        Failure::new(Kind::Usage, format!("the project of {instance} in the cluster is not known")).hint(hint)
    })?;
    named.parse().map_err(|error: String| wrong("domain", &error))
}

fn image(openshift: &Openshift) -> Result<String, Failure> {
    let Some(image) = &openshift.cartridge else {
        return Err(Failure::new(Kind::Usage, "the image of the server is not known")
            .hint("set `cartridge` in [openshift] to an image of raas, built with deploy/Containerfile"));
    };
    match image.parse::<ImageReference>() {
        Ok(_) => Ok(image.clone()),
        Err(error) => Err(wrong("cartridge", &error.to_string())),
    }
}

fn entry(openshift: &Openshift, facts: &Facts) -> Entry {
    match (&openshift.gateway, &openshift.ingress_class) {
        (Some(gateway), _) => match gateway.split_once('/') {
            Some((namespace, name)) => {
                Entry::Gateway { namespace: Some(namespace.into()), name: name.into() }
            }
            None => Entry::Gateway { namespace: None, name: gateway.clone() },
        },
        (None, Some(class)) => Entry::Ingress(Some(class.clone())),
        (None, None) if facts.has_routes => Entry::Route,
        (None, None) => Entry::Ingress(None),
    }
}

fn certificate(
    vendor: &VendorName,
    settings: &VendorSettings,
    secrets: Secrets,
) -> Result<Option<Certificate>, Failure> {
    let (chain, key) = match (&settings.tls_certificate, &settings.tls_key) {
        (None, None) => return Ok(None),
        (Some(chain), Some(key)) => (chain, key),
        _ => {
            return Err(Failure::new(
                Kind::Usage,
                format!("[{vendor}] has only one of `tls_certificate` and `tls_key`"),
            )
            .hint("set both, or none to use the router's certificate"));
        }
    };
    if settings.registry_hosts.is_empty() {
        return Err(Failure::new(
            Kind::Usage,
            format!("[{vendor}] has a `tls_certificate` and no `registry_host`"),
        )
        .hint("set `registry_host` to the host of the certificate"));
    }
    let read = |file: &std::path::Path| {
        fs::read_to_string(file).context(|| format!("cannot read {}", file.display()))
    };
    let key = match secrets {
        Secrets::Real => read(key)?,
        Secrets::Placeholders => "REPLACE-ME".to_owned(),
    };
    Ok(Some(Certificate { chain: read(chain)?, key: Secret::new(key) }))
}

fn wrong(key: &str, error: &str) -> Failure {
    Failure::new(Kind::Usage, format!("`{key}` of [openshift] cannot be used")).caused_by(error.to_owned())
}
