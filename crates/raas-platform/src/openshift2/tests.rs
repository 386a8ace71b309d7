//! OpenShift 2 against a scripted broker.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use raas_base::Secret;
use raas_git::Change;
use raas_testkit::http::{Reply, Server as HttpServer};
use raas_testkit::openshift2::Broker as Scripted;

use super::*;
use crate::suite;

struct Stage {
    broker: Scripted,
    platform: OpenShift2,
    revision: Arc<Mutex<String>>,
    _folder: tempfile::TempDir,
    _application: HttpServer,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::of_branch(folder.path().join("gear.git"), "master");
        repository.create().unwrap();
        let files: Vec<Change> = vec![("crane/wsgi.py".into(), Some(b"app".to_vec()))];
        repository.commit(None, &files, "Begin").unwrap();
        let git_url = format!("file://{}", repository.git().folder().display());
        let revision = Arc::new(Mutex::new("old".to_owned()));
        let served = Arc::clone(&revision);
        let application = HttpServer::scripted(move |asked| match asked.target.as_str() {
            "/v1/_ping" => Reply::new(200, "true"),
            "/-/revision" => Reply::new(200, served.lock().unwrap().clone()),
            _ => Reply::new(404, ""),
        });
        let broker = Scripted::new("hunter2", "mydomain", &git_url, &application.url("/"));
        let settings = settings(&broker, Credentials::Token(Secret::new("hunter2")), "mydomain");
        let platform = OpenShift2::new(settings, folder.path().join("private"));
        let (timeout, poll) = (Duration::from_millis(50), Duration::from_millis(5));
        let platform = OpenShift2 { timeout, poll, ..platform };
        Self { broker, platform, revision, _folder: folder, _application: application }
    }

    fn ensure(&self) -> Result<(bool, Vec<String>), Failure> {
        let said = RefCell::new(Vec::new());
        let say = |line: &str| said.borrow_mut().push(line.to_owned());
        let ensured = self.platform.ensure(&"bigdatainc".parse().unwrap(), &say)?;
        Ok((ensured.changed, said.take()))
    }
}

fn settings(broker: &Scripted, credentials: Credentials, domain: &str) -> OpenShift2Settings {
    OpenShift2Settings {
        server_url: broker.url(),
        credentials,
        domain: domain.into(),
        cartridge: "python-2.7".into(),
        app_git_url: Some("https://github.com/aweiteka/crane".into()),
        git_timeout: Duration::from_secs(60),
        create: false,
    }
}

impl suite::Stage for Stage {
    fn platform(&self) -> &dyn Platform {
        &self.platform
    }

    fn start_servers(&self) {}

    fn serve(&self, revision: &str) {
        revision.clone_into(&mut self.revision.lock().unwrap());
    }

    fn makes_things(&self) -> bool {
        true
    }

    fn is_one_for_all_vendors(&self) -> bool {
        true
    }
}

#[test]
fn openshift2_keeps_the_promises() {
    suite::run(Stage::new);
}

#[test]
fn a_setup_says_what_the_original_tool_said() {
    let stage = Stage::new();
    let (_, said) = stage.ensure().unwrap();
    let expected = [
        "Creating OpenShift application",
        "Created app registry",
        "Setting environment variable OPENSHIFT_PYTHON_WSGI_APPLICATION",
        "Setting environment variable OPENSHIFT_PYTHON_DOCUMENT_ROOT",
        "restarting application",
    ];
    assert_eq!(said[..5], expected);
    let created = stage.broker.created().unwrap();
    assert_eq!(created["cartridge"], "python-2.7");
    assert_eq!(created["initial_git_url"], "https://github.com/aweiteka/crane");
    assert_eq!(stage.broker.variable("OPENSHIFT_PYTHON_WSGI_APPLICATION").as_deref(), Some("crane/wsgi.py"));
    assert_eq!(stage.broker.variable("OPENSHIFT_PYTHON_DOCUMENT_ROOT").as_deref(), Some("crane/"));
    assert_eq!(stage.broker.restarts(), 1);
    let (changed, said) = stage.ensure().unwrap();
    assert!(!changed && said.len() == 1, "{said:?}");
    // What a killed run has left out is completed.
    stage.broker.set_variable("OPENSHIFT_PYTHON_DOCUMENT_ROOT", "wrong");
    let (changed, said) = stage.ensure().unwrap();
    assert!(changed && said[0].ends_with("OPENSHIFT_PYTHON_DOCUMENT_ROOT"), "{said:?}");
    assert_eq!(stage.broker.restarts(), 2);
}

#[test]
fn each_refusal_of_the_broker_is_explained() {
    let stage = Stage::new();
    let with = |credentials, domain: &str, create| {
        let settings = OpenShift2Settings { create, ..settings(&stage.broker, credentials, domain) };
        let platform = OpenShift2::new(settings, "/nonexistent".into());
        platform.ensure(&"bigdatainc".parse().unwrap(), &|_| {})
    };
    let token = || Credentials::Token(Secret::new("hunter2"));
    let wrong =
        with(Credentials::Password("me".into(), Secret::new("swordfish")), "mydomain", false).unwrap_err();
    assert!(wrong.hints()[0].contains("rhc authorization list"), "{wrong}");
    assert!(!format!("{wrong}{wrong:?}").contains("swordfish"));
    let missing = with(token(), "other", false).unwrap_err();
    assert!(missing.hints()[0].contains("--create"), "{missing}");
    let taken = with(token(), "taken", true).unwrap_err();
    assert!(taken.causes()[0].contains("answered 422: Namespace 'taken' is already in use"), "{taken}");
}
