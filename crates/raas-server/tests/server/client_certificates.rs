//! Client certificates: a client with an accepted certificate sees protected repositories.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use raas_server::{CertificateFiles, Options, SiteConfig};
use raas_types::crane::tree;
use raas_types::media_type::DOCKER_MANIFEST;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{Folders, Published, Server};
use crate::tls::{StatusAndBody, ask_with, issue};

/// A vendor's certification authority.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

pub(crate) type Identity = Option<(Vec<CertificateDer<'static>>, Arc<PrivateKeyDer<'static>>)>;

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["customer".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Some((vec![certificate.into()], Arc::new(PrivateKeyDer::try_from(key.serialize_der()).unwrap())))
    }
}

struct Site {
    server: Server,
    files: CertificateFiles,
    ca: std::path::PathBuf,
    _folders: [Folders; 2],
}

impl Site {
    /// `acme` accepts certificates of the authority, `other` accepts none.
    fn new(authority: &Authority, users: bool) -> Self {
        let folders = [Folders::new("acme"), Folders::new("other")];
        for folders in &folders {
            for (name, protected) in [("open", false), ("secret", true)] {
                let mut repository = Published::new(name);
                let digest = repository.image(DOCKER_MANIFEST, name, "");
                repository.tag("latest", digest);
                folders.publish(&repository);
                folders.write(&tree::document(&repository.name), &repository.document(protected));
            }
            folders.revision("one");
        }
        let folder = folders[0].bucket().parent().unwrap().to_owned();
        let ca = folder.join("ca.pem");
        fs::write(&ca, &authority.pem).unwrap();
        let htpasswd = folder.join("htpasswd");
        fs::write(&htpasswd, "").unwrap();
        let acme =
            SiteConfig { client_ca: Some(ca.clone()), users: users.then_some(htpasswd), ..folders[0].site() };
        let files = issue(&folder, "acme.localhost");
        let quick = Duration::from_millis(50);
        let options = Options {
            poll: quick,
            remote_poll: quick,
            certificates: vec![files.clone()],
            ..Options::default()
        };
        let server = Server::start_unready(vec![acme, folders[1].site()], options);
        Self { server, files, ca, _folders: folders }
    }

    /// Sends a request for `host` on a connection for `sni`.
    fn ask(&self, sni: &str, host: &str, identity: &Identity, path: &str) -> StatusAndBody {
        ask_with(&self.server, &self.files.certificate, true, sni, host, identity.clone(), path).unwrap()
    }

    fn pull(&self, identity: &Identity, name: &str) -> StatusAndBody {
        self.ask("acme.localhost", "acme.localhost", identity, &format!("/v2/{name}/manifests/latest"))
    }
}

#[test]
fn a_certificate_of_the_sites_authority_grants_everything() {
    let authority = Authority::new("acme");
    let site = Site::new(&authority, false);
    let own = authority.issue(|_| {});
    assert_eq!(site.pull(&own, "secret").0, 200);
    assert_eq!(site.pull(&own, "open").0, 200);
    assert_eq!(site.pull(&own, "nothing").0, 404);
    let names = site.ask("acme.localhost", "acme.localhost", &own, "/v2/_catalog");
    assert_eq!(names.1, r#"{"repositories":["open","secret"]}"#);
    // A certificate is optional, and the answer does not reveal whether a repository is hidden.
    assert_eq!(site.pull(&None, "open").0, 200);
    assert_eq!((site.pull(&None, "secret").0, site.pull(&None, "nothing").0), (404, 404));
    assert_eq!(site.ask("acme.localhost", "acme.localhost", &None, "/v2/").1, "{}");
}

#[test]
fn any_other_certificate_counts_as_anonymous() {
    let authority = Authority::new("acme");
    let site = Site::new(&authority, false);
    let another = Authority::new("another");
    let table: [(&str, Identity); 3] = [
        ("UnknownIssuer", another.issue(|_| {})),
        ("expired", authority.issue(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))),
        (
            "KeyUsage",
            authority.issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
    ];
    for (reason, identity) in table {
        assert_eq!(site.pull(&identity, "open").0, 200, "{reason}");
        for name in ["secret", "nothing"] {
            let (status, body) = site.pull(&identity, name);
            assert_eq!(status, 404, "{reason}");
            let said = body.to_lowercase().replace(' ', "");
            assert!(body.contains("client certificate") && said.contains(&reason.to_lowercase()), "{body}");
        }
    }
}

#[test]
fn one_vendors_authority_grants_nothing_of_another_vendor() {
    let authority = Authority::new("acme");
    let site = Site::new(&authority, false);
    let own = authority.issue(|_| {});
    let secret = "/v2/secret/manifests/latest";
    for sni in ["acme.localhost", "other.localhost"] {
        assert_eq!(site.ask(sni, "other.localhost", &own, secret).0, 404, "{sni}");
    }
    assert_eq!(site.ask("acme.localhost", "acme.localhost", &own, secret).0, 200);
    // The client is asked for a certificate only at a site that accepts some. Elsewhere it is anonymous.
    assert_eq!(site.ask("other.localhost", "acme.localhost", &own, secret).0, 404);
}

#[test]
fn with_users_a_client_without_a_certificate_gets_a_challenge() {
    let authority = Authority::new("acme");
    let site = Site::new(&authority, true);
    assert_eq!(site.pull(&None, "secret").0, 401);
    for name in ["secret", "nothing"] {
        let (status, body) = site.pull(&Authority::new("another").issue(|_| {}), name);
        assert_eq!(status, 401);
        assert!(body.contains("the client certificate is not accepted here: "), "{body}");
    }
    assert_eq!(site.pull(&authority.issue(|_| {}), "secret").0, 200);
}

#[test]
fn changed_authorities_are_read_again() {
    let (authority, next) = (Authority::new("acme"), Authority::new("next"));
    let site = Site::new(&authority, false);
    let (old, new) = (authority.issue(|_| {}), next.issue(|_| {}));
    assert_eq!(site.pull(&old, "secret").0, 200);
    fs::write(&site.ca, "nonsense").unwrap();
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(site.pull(&old, "secret").0, 200, "an invalid file changes nothing");
    fs::write(&site.ca, &next.pem).unwrap();
    assert!(crate::support::soon(|| site.pull(&new, "secret").0 == 200));
    assert_eq!(site.pull(&old, "secret").0, 404);
}
