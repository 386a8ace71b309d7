//! Opening a repository where `registries.conf` says that it is: at a mirror that has the image, or at its own location.

use std::sync::Arc;

use raas_http::http::Method;

use super::address::RegistryAddress;
use super::authorization::LoginSource;
use super::connection::{RemoteOptions, Request, Transport};
use super::patience::Patience;
use super::registries::{Endpoint, Registries, usual_files};
use super::remote::{MANIFESTS, Remote};
use crate::registry_error::RegistryError;

impl Remote {
    /// Opens a repository as podman and skopeo would find it. An image that the address names by its tag or digest may come
    /// from a mirror; the list of all tags never does, since a mirror may lack some.
    ///
    /// # Errors
    /// A file is damaged, the registry is blocked, or the insecure registry cannot be reached.
    pub fn find(address: &RegistryAddress, options: RemoteOptions) -> Result<Arc<Self>, RegistryError> {
        let files = options.registries_files.clone().unwrap_or_else(usual_files);
        let Some(mut places) = Registries::read(&files)?.endpoints(address)? else {
            return Ok(Arc::new(Self::open(address, options)?));
        };
        let own = places.pop().unwrap_or(Endpoint { address: address.clone(), insecure: false });
        for mirror in places {
            // The login of the command line is for the registry that the command line names.
            let login = match &options.login {
                LoginSource::Files => LoginSource::Files,
                _ => LoginSource::None("log in at the mirror, or leave it out of registries.conf".into()),
            };
            let patience = Patience { attempts: 1, ..options.patience };
            let hasty = RemoteOptions { login: login.clone(), patience, ..options.clone() };
            let has_image = Self::at(&mirror, hasty).and_then(|remote| remote.has_image(&mirror.address));
            match has_image {
                Ok(true) => {
                    let line = format!("Note: {address} is read from its mirror {}", mirror.address);
                    options.say.line(&line);
                    return Self::at(&mirror, RemoteOptions { login, ..options });
                }
                Ok(false) => {}
                Err(error) => {
                    options.say.line(&format!("Note: the mirror {} is left out: {error}", mirror.address));
                }
            }
        }
        Self::at(&own, options)
    }

    fn at(place: &Endpoint, mut options: RemoteOptions) -> Result<Arc<Self>, RegistryError> {
        if !place.insecure || options.transport == Transport::Plain {
            return Ok(Arc::new(Self::open(&place.address, options)?));
        }
        options.any_certificate = true;
        if options.transport == Transport::Usual && place.address.is_local() {
            return Ok(Arc::new(Self::open(&place.address, options)?));
        }
        let with_tls =
            Self::open(&place.address, RemoteOptions { transport: Transport::Tls, ..options.clone() })?;
        if with_tls.connection.speaks().is_ok() {
            return Ok(Arc::new(with_tls));
        }
        // As podman does: some servers without TLS answer the beginning of TLS, and others close the connection.
        let plain = RemoteOptions { transport: Transport::Plain, ..options };
        Ok(Arc::new(Self::open(&place.address, plain)?))
    }

    /// Whether the repository has the image that an address names.
    fn has_image(&self, address: &RegistryAddress) -> Result<bool, RegistryError> {
        let reference = match (&address.digest, &address.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_string(),
            (None, None) => return Ok(false),
        };
        let path = format!("/v2/{}/manifests/{reference}", self.name());
        let what = address.to_string();
        let head = Request { method: &Method::HEAD, ..Request::get(&path, MANIFESTS, &what) };
        Ok(self.connection.read(&head, 0)?.is_some())
    }
}
