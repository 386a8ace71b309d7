//! How raas connects to a cluster and logs in: by the settings in `[openshift]`, or by the kubeconfig of the user.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use raas_base::Secret;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_http::http::Uri;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::runtime::Builder;

use crate::api::Api;
use crate::login;

/// How long a connection to the API server may take to be made, and how long it may be silent.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);

/// How raas connects to a cluster and logs in.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The API server. Without it, the kubeconfig of the user says which cluster.
    pub server_url: Option<String>,
    /// A bearer token for that server.
    pub token: Option<Secret>,
    /// A user of OpenShift and the password, in place of a token.
    pub login: Option<(String, Secret)>,
    /// The context of the kubeconfig, in place of its current one.
    pub context: Option<String>,
    /// The authorities of the API server's certificate, in PEM.
    pub ca: Option<PathBuf>,
    /// Whether the certificate of the API server is not verified.
    pub insecure: bool,
}

/// An open cluster.
pub struct Cluster {
    pub(crate) api: Api,
    /// The cluster for people: its URL, and the context of the kubeconfig if that named it.
    pub display_name: String,
}

impl Access {
    /// Opens the cluster. Only a login with a password sends requests: a wrong token makes a later request fail.
    ///
    /// # Errors
    /// The settings contradict themselves, a file cannot be read, or the login fails.
    pub fn open(&self) -> Result<Cluster, Failure> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context(|| "cannot start the threads of the cluster's client".into())?;
        let (mut config, display_name) = match &self.server_url {
            Some(url) => (self.config_of_server(url)?, url.clone()),
            None => {
                let (config, context) = runtime.block_on(self.config_of_kubeconfig())?;
                let name = format!("{} (context {context} of the kubeconfig)", config.cluster_url);
                (config, name)
            }
        };
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(SILENCE);
        config.write_timeout = Some(SILENCE);
        // `Api` tries again itself, a bounded number of times.
        config.default_retry = false;
        let client = runtime
            .block_on(async { Client::try_from(config) })
            .map_err(|error| usage("the access to the cluster cannot be used").caused_by(error))?;
        Ok(Cluster { api: Api::new(runtime, client), display_name })
    }

    fn config_of_server(&self, url: &str) -> Result<Config, Failure> {
        let wrong = |why: &str| usage(&format!("`server_url` of [openshift] cannot be used: {why}"));
        let uri: Uri = url.parse().map_err(|_| wrong("it is no URL"))?;
        let is_loopback = uri.host().is_some_and(|host| host == "localhost" || host.starts_with("127."));
        if uri.scheme_str() != Some("https") && !is_loopback {
            return Err(
                wrong("a token must not go over plain http").hint("give the https URL of the API server")
            );
        }
        let mut config = Config::new(uri);
        config.accept_invalid_certs = self.insecure;
        config.root_cert = self.authorities()?;
        let token = match (&self.token, &self.login) {
            (Some(token), _) => token.clone(),
            (None, Some((user, password))) => login::token(url, user, password, &self.trust()?)?,
            (None, None) => {
                return Err(usage("[openshift] names a `server_url` and no way to log in")
                    .hint("set `auth_token`, or `username` and `password`; or leave `server_url` out to use the kubeconfig"));
            }
        };
        config.auth_info.token = Some(token.expose().to_owned().into());
        Ok(config)
    }

    async fn config_of_kubeconfig(&self) -> Result<(Config, String), Failure> {
        let wrong = |error| {
            usage("[openshift] names no `server_url`, and the kubeconfig cannot be used")
                .caused_by(error)
                .hint("set `server_url` and `auth_token` in [openshift], or log in with `oc login` or `kubectl config`")
        };
        let read = Kubeconfig::read().map_err(wrong)?;
        let context = self.context.clone().or_else(|| read.current_context.clone()).unwrap_or_default();
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(read, &options).await.map_err(wrong)?;
        Ok((config, context))
    }

    /// The certificates of the configured file, in DER.
    fn authorities(&self) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        let Some(file) = &self.ca else { return Ok(None) };
        let wrong = || format!("cannot read `ca_file` of [openshift], {}", file.display());
        let certificates = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| usage(&wrong()).caused_by(error))?;
        if certificates.is_empty() {
            return Err(usage(&wrong()).caused_by("it has no certificate"));
        }
        Ok(Some(certificates.into_iter().map(|one| one.as_ref().to_vec()).collect()))
    }

    fn trust(&self) -> Result<login::Trust, Failure> {
        Ok(login::Trust { insecure: self.insecure, authorities: self.authorities()? })
    }
}

fn usage(message: &str) -> Failure {
    Failure::new(Kind::Usage, message)
}
