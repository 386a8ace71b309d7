//! The platform `git`: each push of an image commits the documents to the git repository of the deployed application,
//! and a tool that follows that repository (Argo CD, Flux, Dokku, OpenShift 2) brings them to the servers.
//!
//! A server serves the checked-out folder: `raas serve ISV --metadata FOLDER`.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::redact;
use raas_base::scratch::Scratch;
use raas_git::{Change, CommitId, CommittedFile, GitErrorKind, Remote, Repository};
use raas_http::{Agent, AgentOptions, ClientOptions};
use raas_types::VendorName;
use raas_types::crane::tree;

use crate::client::AskError;
use crate::{Delivery, Ensured, Platform, Revision, Server};

/// How many times a push is tried when other pushes come first.
const TRIES: usize = 5;

/// How long the tool that follows the repository may take to bring a publication to the servers.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The pause between two questions to a server.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest answer of a server that is read, in bytes.
const MAX_SIZE: u64 = 64 * 1024;

/// The repository of the deployed application.
#[derive(Debug, Clone)]
pub struct DeployedRepository {
    /// The repository.
    pub remote: Remote,
    /// The branch that is deployed. Without it, the repository's default branch.
    pub branch: Option<String>,
    /// The application that a repository without commits starts from.
    pub application: Option<Remote>,
}

/// A repository that is deployed from.
#[derive(Debug)]
pub struct Git {
    deployed: DeployedRepository,
    /// The folder of private clones, which need not exist yet.
    private: PathBuf,
    /// The base URL of the vendor's registry, if it is known.
    url: Option<String>,
    timeout: Duration,
    poll: Duration,
}

/// A private clone of the repository. It is removed with this value.
struct Clone {
    repository: Repository,
    branch: String,
    _scratch: Scratch,
}

impl Git {
    /// Deploys by this repository. `url` is the base URL of the vendor's registry.
    pub fn new(deployed: DeployedRepository, private: PathBuf, url: Option<String>) -> Self {
        Self { deployed, private, url, timeout: TIMEOUT, poll: POLL_INTERVAL }
    }

    /// The repository for people.
    pub fn display_name(&self) -> String {
        redact::text(&self.deployed.remote.address)
    }

    fn clone(&self, remote: &Remote, branch: Option<&str>) -> Result<Clone, Failure> {
        let scratch = Scratch::new(&self.private)
            .context(|| format!("cannot make a private folder in {}", self.private.display()))?;
        let folder = scratch.folder().join("clone");
        remote.clone_into(&folder, branch)?;
        let git_folder = folder.join(".git");
        let named = Repository::at_head(git_folder.clone());
        let branch = named.git().run(&["symbolic-ref", "--short", "HEAD"])?.trim().to_owned();
        Ok(Clone { repository: Repository::of_branch(git_folder, &branch), branch, _scratch: scratch })
    }

    fn deployed(&self) -> Result<Clone, Failure> {
        self.clone(&self.deployed.remote, self.deployed.branch.as_deref())
    }

    /// Gives a repository without commits the files of the application.
    fn begin(&self, deployed: &Clone, application: &Remote, say: &dyn Fn(&str)) -> Result<(), Failure> {
        let source = self.clone(application, None)?;
        let Some(head) = source.repository.head()? else {
            let message = format!("{} has no commits", redact::text(&application.address));
            return Err(Failure::new(Kind::Usage, message)
                .hint("correct `app_git_url` in [openshift]: the application starts from it"));
        };
        let files = source.repository.files(&head, "")?;
        let mut changes: Vec<Change> = Vec::new();
        source.repository.read_each(&files, |file, bytes| {
            changes.push((file.path.clone(), Some(bytes)));
            Ok(())
        })?;
        let message = format!("Start from {}", redact::text(&application.address));
        let commit = deployed.repository.commit(None, &changes, &message)?;
        self.deployed.remote.push(deployed.repository.git(), commit.as_str(), &deployed.branch)?;
        say(&format!("{} starts from {}", self.display_name(), redact::text(&application.address)));
        Ok(())
    }

    /// Sets how long a server may take to serve a publication, and how often it is asked.
    pub(crate) fn with_patience(self, timeout: Duration, poll: Duration) -> Self {
        Self { timeout, poll, ..self }
    }

    /// Whether a server answers Crane's ping.
    pub(crate) fn ping(&self) -> Result<(), AskError> {
        self.ask("/v1/_ping").map(drop)
    }

    /// The revision that the servers serve; `None` for a Crane, which does not say it.
    ///
    /// # Errors
    /// No server answers, or the host is not known.
    pub fn revision(&self) -> Result<Option<String>, Failure> {
        let url = self.url.clone().unwrap_or_default();
        match self.ask("/-/revision") {
            Ok(revision) => Ok(Some(revision)),
            Err(AskError::Status(404)) if self.ping().is_ok() => Ok(None),
            Err(error) => {
                let message = format!("the server at {url} does not return its revision");
                Err(Failure::new(Kind::Environment, message)
                    .caused_by(error)
                    .hint("look at what deploys from the repository"))
            }
        }
    }

    fn ask(&self, path: &str) -> Result<String, AskError> {
        let Some(url) = &self.url else {
            return Err(io::Error::other("the host of the registry is not known").into());
        };
        let answer = agent().get(&format!("{url}{path}")).call()?;
        match answer.status().as_u16() {
            200 => {
                let body = answer.into_body().read_all(MAX_SIZE)?;
                Ok(String::from_utf8_lossy(&body).trim().to_owned())
            }
            code => Err(AskError::Status(code)),
        }
    }
}

impl Platform for Git {
    fn name(&self) -> &'static str {
        "git"
    }

    fn ensure(&self, vendor: &VendorName, say: &dyn Fn(&str)) -> Result<Ensured, Failure> {
        let deployed = self.deployed()?;
        let mut changed = false;
        match (deployed.repository.head()?, &self.deployed.application) {
            (None, Some(application)) => {
                self.begin(&deployed, application, say)?;
                changed = true;
            }
            _ => say(&format!("{} can be read, branch {}", self.display_name(), deployed.branch)),
        }
        let servers = self.observe(vendor)?;
        match (&self.url, servers.as_slice()) {
            (Some(url), []) => say(&format!("No server answers /v1/_ping at {url} yet")),
            (Some(url), _) => say(&format!("The server at {url} answers /v1/_ping")),
            (None, _) => say(&format!("Set `registry_host` in [{vendor}], so that raas can ask the servers")),
        }
        Ok(Ensured { servers, changed })
    }

    fn observe(&self, _: &VendorName) -> Result<Vec<Server>, Failure> {
        let answers = self.ask("/v1/_ping").is_ok();
        let server = |url: &String| Server { name: url.clone(), url: Some(url.clone()), is_ready: true };
        Ok(self.url.iter().filter(|_| answers).map(server).collect())
    }

    fn deliver(
        &self,
        vendor: &VendorName,
        record: &Repository,
        say: &dyn Fn(&str),
    ) -> Result<Delivery, Failure> {
        for _ in 0..TRIES {
            let deployed = self.deployed()?;
            let head = deployed.repository.head()?;
            // The record is read after the clone, so it has every publication of this home that the clone has.
            let Some(published) = record.head()? else { return Ok(Delivery::Unchanged) };
            let changes = match head {
                Some(ref head) if is_ahead(&deployed.repository, head, record, &published)? => Vec::new(),
                ref head => changes(&deployed.repository, head.as_ref(), record, &published)?,
            };
            if changes.is_empty() {
                say(&format!("{} has the publication already", self.display_name()));
                return Ok(Delivery::Unchanged);
            }
            let message = format!("Publish {vendor} {}", published.short());
            let commit = deployed.repository.commit(head.as_ref(), &changes, &message)?;
            match self.deployed.remote.push(deployed.repository.git(), commit.as_str(), &deployed.branch) {
                Ok(()) => {
                    say(&format!("Delivered to {}", self.display_name()));
                    return Ok(Delivery::Delivered);
                }
                // Somebody else has pushed. The next try is made on top of that.
                Err(error) if error.kind == GitErrorKind::Rejected => {}
                Err(error) => return Err(error.into()),
            }
        }
        let message = format!("other pushes to {} came first {TRIES} times in a row", self.display_name());
        Err(Failure::new(Kind::Environment, message)
            .hint("run the push again; its image is published already"))
    }

    fn await_revision(
        &self,
        _: &VendorName,
        servers: &[Server],
        revision: &Revision<'_>,
        say: &dyn Fn(&str),
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        for server in servers {
            loop {
                let last = match self.ask("/-/revision") {
                    Ok(served) if (revision.is_served_by)(&served) => break,
                    Ok(served) => format!("it serves revision `{served}`"),
                    // A Crane does not say what it serves. It reads its folder once a minute.
                    Err(AskError::Status(404)) if self.ping().is_ok() => break,
                    Err(error) => error.to_string(),
                };
                if begun.elapsed() > self.timeout {
                    let message = format!(
                        "commit {} is in the repository, but after {} s {} does not serve it",
                        revision.short,
                        self.timeout.as_secs(),
                        server.name
                    );
                    return Err(Failure::new(Kind::Environment, message)
                        .caused_by(last)
                        .hint("look at what deploys from the repository: it may be off, or slow"));
                }
                thread::sleep(self.poll);
            }
            say(&format!("Served at {}", server.name));
        }
        Ok(())
    }

    fn remove(&self, _: &VendorName, say: &dyn Fn(&str)) -> Result<Vec<String>, Failure> {
        say(&format!("{} stays as it is; it is yours", self.display_name()));
        Ok(Vec::new())
    }
}

/// Whether the repository has a later publication already.
///
/// # Errors
/// It has a publication that the record does not know: another home has published it.
fn is_ahead(
    deployed: &Repository,
    head: &CommitId,
    record: &Repository,
    published: &CommitId,
) -> Result<bool, Failure> {
    let Some(revision) = deployed.read(head, tree::REVISION)? else { return Ok(false) };
    let revision = CommitId::parse(String::from_utf8_lossy(&revision).trim())?;
    if !record.has(&revision)? {
        let message = format!("the repository has commit {} of another home", revision.short());
        return Err(Failure::new(Kind::Environment, message)
            .caused_by("a delivery would take that publication back")
            .hint("push from the home that published it, or share the vendor's bucket so that homes know each other")
            .hint("remove the file `revision` from the repository, if that home is gone"));
    }
    Ok(revision != *published && record.is_ancestor(published, &revision)?)
}

/// Made once: reading the certificates that the machine trusts takes its time.
fn agent() -> &'static Agent {
    static AGENT: OnceLock<Agent> = OnceLock::new();
    AGENT.get_or_init(|| {
        let client = ClientOptions { answer: PATIENCE, ..ClientOptions::default() };
        Agent::new(AgentOptions { client, silence: PATIENCE, redirects: 0 })
    })
}

/// What differs between the publication and the repository: documents and manifests, and the revision. Other files of the
/// application stay as they are.
fn changes(
    deployed: &Repository,
    head: Option<&CommitId>,
    record: &Repository,
    commit: &CommitId,
) -> Result<Vec<Change>, Failure> {
    let wanted = record.files(commit, tree::DATA)?;
    let present = head.map_or(Ok(Vec::new()), |head| deployed.files(head, tree::DATA))?;
    // Both repositories name content by the same hash, so equal ids are equal content.
    let new: Vec<CommittedFile> = wanted.iter().filter(|file| !present.contains(file)).cloned().collect();
    let mut changes: Vec<Change> = Vec::new();
    record.read_each(&new, |file, bytes| {
        changes.push((file.path.clone(), Some(bytes)));
        Ok(())
    })?;
    let is_wanted = |path: &str| wanted.binary_search_by(|file| file.path.as_str().cmp(path)).is_ok();
    changes.extend(present.into_iter().filter(|file| !is_wanted(&file.path)).map(|file| (file.path, None)));
    let revision = format!("{commit}\n").into_bytes();
    let before = head.map_or(Ok(None), |head| deployed.read(head, tree::REVISION))?;
    if before.as_deref() != Some(&revision) {
        changes.push((tree::REVISION.to_owned(), Some(revision)));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use raas_testkit::http::{Reply, Server as HttpServer};

    use super::*;
    use crate::suite;

    fn remote(folder: &std::path::Path) -> Remote {
        Remote { address: format!("file://{}", folder.display()), timeout: Duration::from_secs(60) }
    }

    /// A repository on this machine with these files.
    fn hosted(folder: PathBuf, files: &[(&str, &str)]) -> Repository {
        let hosted = Repository::of_branch(folder, "main");
        hosted.create().unwrap();
        let file = |(path, text): &(&str, &str)| ((*path).to_owned(), Some(text.as_bytes().to_vec()));
        if !files.is_empty() {
            let changes: Vec<Change> = files.iter().map(file).collect();
            hosted.commit(None, &changes, "Begin").unwrap();
        }
        hosted
    }

    fn read(repository: &Repository, path: &str) -> Option<String> {
        let head = repository.head().unwrap()?;
        repository.read(&head, path).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// The record of another home.
    fn hosted_elsewhere(fixture: &Fixture) -> Repository {
        hosted(fixture.folder.path().join("other.git"), &[("crane/data/other.json", "{}")])
    }

    struct Fixture {
        folder: tempfile::TempDir,
        hosted: Repository,
    }

    impl Fixture {
        fn new(files: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let hosted = hosted(folder.path().join("deployed.git"), files);
            Self { folder, hosted }
        }

        fn git(&self, application: Option<Remote>, url: Option<String>) -> Git {
            let remote = remote(self.hosted.git().folder());
            let deployed = DeployedRepository { remote, branch: None, application };
            let git = Git::new(deployed, self.folder.path().join("private"), url);
            Git { timeout: Duration::from_millis(50), poll: Duration::from_millis(5), ..git }
        }
    }

    struct GitStage {
        platform: Git,
        revision: Arc<Mutex<Option<String>>>,
        _server: HttpServer,
        _fixture: Fixture,
    }

    impl suite::Stage for GitStage {
        fn platform(&self) -> &dyn Platform {
            &self.platform
        }

        fn start_servers(&self) {
            *self.revision.lock().unwrap() = Some("old".into());
        }

        fn serve(&self, revision: &str) {
            *self.revision.lock().unwrap() = Some(revision.into());
        }

        fn makes_things(&self) -> bool {
            false
        }

        fn is_one_for_all_vendors(&self) -> bool {
            true
        }
    }

    #[test]
    fn the_git_platform_keeps_the_promises() {
        suite::run(|| {
            let fixture = Fixture::new(&[("wsgi.py", "app")]);
            let revision = Arc::new(Mutex::new(None::<String>));
            let served = Arc::clone(&revision);
            let server =
                HttpServer::scripted(move |asked| match (asked.target.as_str(), &*served.lock().unwrap()) {
                    ("/v1/_ping", Some(_)) => Reply::new(200, "true"),
                    ("/-/revision", Some(revision)) => Reply::new(200, revision.clone()),
                    _ => Reply::new(503, ""),
                });
            let platform = fixture.git(None, Some(server.url("")));
            GitStage { platform, revision, _server: server, _fixture: fixture }
        });
    }

    #[test]
    fn documents_come_and_go_and_the_application_stays() {
        let fixture = Fixture::new(&[
            ("wsgi.py", "app"),
            ("crane/config.py", "mine"),
            ("crane/data/gone.json", "{}"),
            ("crane/data/same.json", "{\"same\": 1}"),
        ]);
        let record = hosted(
            fixture.folder.path().join("record.git"),
            &[
                ("crane/data/same.json", "{\"same\": 1}"),
                ("crane/data/app.json", "{\"app\": 1}"),
                ("other", "not Crane's"),
            ],
        );
        let commit = record.head().unwrap().unwrap();
        let git = fixture.git(None, None);
        let vendor: VendorName = "bigdatainc".parse().unwrap();
        assert_eq!(git.deliver(&vendor, &record, &|_| {}).unwrap(), Delivery::Delivered);
        let hosted = &fixture.hosted;
        assert_eq!(read(hosted, "wsgi.py").as_deref(), Some("app"));
        assert_eq!(read(hosted, "crane/config.py").as_deref(), Some("mine"));
        assert_eq!(read(hosted, "crane/data/app.json").as_deref(), Some("{\"app\": 1}"));
        assert_eq!(read(hosted, "crane/data/gone.json"), None);
        assert_eq!(read(hosted, "other"), None);
        assert_eq!(read(hosted, "revision"), Some(format!("{commit}\n")));
        assert_eq!(hosted.depth(&hosted.head().unwrap().unwrap()).unwrap(), 2);
        // An earlier publication never replaces a later one, and one of another home is not taken back.
        let later = record
            .commit(Some(&commit), &[("crane/data/b.json".into(), Some(b"{}".to_vec()))], "Later")
            .unwrap();
        assert_eq!(git.deliver(&vendor, &record, &|_| {}).unwrap(), Delivery::Delivered);
        record.git().run(&["update-ref", "refs/heads/main", commit.as_str()]).unwrap();
        assert_eq!(git.deliver(&vendor, &record, &|_| {}).unwrap(), Delivery::Unchanged);
        assert_eq!(read(hosted, "revision"), Some(format!("{later}\n")));
        let other = hosted_elsewhere(&fixture);
        let failure = git.deliver(&vendor, &other, &|_| {}).unwrap_err();
        assert!(failure.message().contains("of another home"), "{failure}");
        // Nothing of the private clones stays.
        let left = std::fs::read_dir(fixture.folder.path().join("private")).unwrap();
        assert!(left.flatten().all(|entry| !entry.path().is_dir()), "a clone stayed");
    }

    #[test]
    fn an_empty_repository_starts_from_the_application() {
        let fixture = Fixture::new(&[]);
        let crane = hosted(
            fixture.folder.path().join("crane.git"),
            &[("wsgi.py", "crane"), ("crane/__init__.py", "")],
        );
        let git = fixture.git(Some(remote(crane.git().folder())), None);
        let vendor: VendorName = "bigdatainc".parse().unwrap();
        assert!(git.ensure(&vendor, &|_| {}).unwrap().changed);
        assert_eq!(read(&fixture.hosted, "wsgi.py").as_deref(), Some("crane"));
        assert!(!git.ensure(&vendor, &|_| {}).unwrap().changed);
        let empty = Fixture::new(&[]);
        let nothing = hosted(empty.folder.path().join("nothing.git"), &[]);
        let failure =
            empty.git(Some(remote(nothing.git().folder())), None).ensure(&vendor, &|_| {}).unwrap_err();
        assert!(failure.hints()[0].contains("`app_git_url`"), "{failure}");
    }

    #[test]
    fn a_missing_repository_is_an_error_without_its_password() {
        let fixture = Fixture::new(&[]);
        let mut git = fixture.git(None, None);
        git.deployed.remote.address = "https://user:hunter2@127.0.0.1:1/r.git".into();
        let failure = git.ensure(&"bigdatainc".parse().unwrap(), &|_| {}).unwrap_err();
        assert!(!format!("{failure}{failure:?}{}", git.display_name()).contains("hunter2"), "{failure}");
    }
}
