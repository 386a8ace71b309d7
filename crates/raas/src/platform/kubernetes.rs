//! Makes the plan of a vendor's servers in a cluster of what the operator has set.

use std::fs;

use raas_base::Secret;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_kubernetes::{
    Access, Certificate, Change, Entry, Facts, Kubernetes, Namespace, Plan, Scale, manifests as manifests_of,
    yaml,
};
use raas_platform::Platform as _;
use raas_types::{BucketAccess, ImageReference, VendorName};

use super::{Chosen, Replica};
use crate::config::{Config, Openshift, VendorSettings};

/// The number of servers without a setting: one may be away while the other serves.
const SERVERS: Scale = Scale::Fixed(2);

/// The file of the secret that all servers of a vendor sign tokens with.
const TOKEN_KEY: &str = "token-key";

pub(super) fn open<'a>(
    config: &'a Config,
    vendor: &'a VendorName,
    create: bool,
) -> Result<Chosen<'a>, Failure> {
    let platform = kubernetes(config, vendor, create)?;
    let place = Some(platform.display_name());
    Ok(Chosen { platform: Box::new(platform), place })
}

/// What a setup would change, line by line.
pub(crate) fn preview(config: &Config, vendor: &VendorName, create: bool) -> Result<Vec<String>, Failure> {
    let platform = kubernetes(config, vendor, create)?;
    let preview = platform.preview(vendor)?;
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

/// The manifests of a vendor for people, with placeholders in place of secrets. No cluster is asked.
pub(crate) fn manifests(config: &Config, vendor: &VendorName) -> Result<String, Failure> {
    let facts = Facts { has_routes: true, ..Facts::default() };
    let plan = plan(config, vendor, &facts, Secrets::Placeholders)?;
    Ok(yaml::documents(&manifests_of::for_people(&plan)))
}

/// Checks the settings of a vendor. Whether the cluster has routes shows later.
pub(super) fn check_settings(config: &Config, vendor: &VendorName) -> Result<(), Failure> {
    let facts = Facts { has_routes: true, ..Facts::default() };
    plan(config, vendor, &facts, Secrets::Real).map(drop)
}

/// The names of what a setup has made for a vendor.
pub(crate) fn made(config: &Config, vendor: &VendorName) -> Result<Vec<String>, Failure> {
    kubernetes(config, vendor, false)?.made(vendor)
}

pub(super) fn replicas(config: &Config, vendor: &VendorName) -> Result<Vec<Replica>, Failure> {
    let platform = kubernetes(config, vendor, false)?;
    let servers = platform.observe(vendor)?;
    let replica = |server| Replica { revision: platform.revision(&server).map(Some), server };
    Ok(servers.into_iter().map(replica).collect())
}

fn kubernetes<'a>(
    config: &'a Config,
    vendor: &'a VendorName,
    create: bool,
) -> Result<Kubernetes<'a>, Failure> {
    // What is missing is found before a password is sent.
    let namespace = namespace(config, vendor)?;
    let cluster = access(&config.openshift).open()?;
    let planner = move |facts: &Facts| plan(config, vendor, facts, Secrets::Real);
    Ok(Kubernetes::new(cluster, namespace, create, Box::new(planner)))
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

fn plan(config: &Config, vendor: &VendorName, facts: &Facts, secrets: Secrets) -> Result<Plan, Failure> {
    let (openshift, settings) = (&config.openshift, config.vendor(vendor));
    let entry = entry(openshift, facts);
    check(vendor, &settings, openshift, config, &entry)?;
    let mut files = config.excerpt(vendor, secrets == Secrets::Placeholders)?.files;
    let token_key = match secrets {
        Secrets::Placeholders => Secret::new("REPLACE-ME-WITH-64-RANDOM-HEX-DIGITS"),
        Secrets::Real => facts.files.get(TOKEN_KEY).cloned().unwrap_or_else(raas_kubernetes::random_key),
    };
    files.insert(TOKEN_KEY.to_owned(), token_key);
    let scale = match &openshift.servers {
        None => SERVERS,
        Some(text) => text.parse().map_err(|error: String| wrong("servers", &error))?,
    };
    Ok(Plan {
        vendor: vendor.clone(),
        namespace: namespace(config, vendor)?,
        image: image(openshift)?,
        pull_secrets: openshift.pull_secrets.clone(),
        scale,
        files,
        environment_secret: openshift.server_secret.clone(),
        service_account: openshift.service_account.clone(),
        hosts: settings.registry_hosts.clone(),
        certificate: certificate(vendor, &settings, secrets)?,
        entry,
        monitored: facts.has_monitors,
    })
}

/// Finds contradictions before anything is made.
fn check(
    vendor: &VendorName,
    settings: &VendorSettings,
    openshift: &Openshift,
    config: &Config,
    entry: &Entry,
) -> Result<(), Failure> {
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
fn namespace(config: &Config, vendor: &VendorName) -> Result<Namespace, Failure> {
    let named = config.vendor(vendor).openshift_domain.or_else(|| config.openshift.domain.clone());
    let named = named.ok_or_else(|| {
        Failure::new(Kind::Usage, format!("the project of {vendor} in the cluster is not known"))
            .hint(format!("set `domain` in [openshift], or run: raas setup {vendor} --oodomain NAME"))
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
