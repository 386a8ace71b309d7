//! The check that the servers of this home, and the registry at the address that people pull from, answer and serve
//! what is published.
//!
//! The check sends anonymous requests only. So it finds a protected repository that a server shows to everybody, but it
//! cannot tell whether a server shows it to the users who may see it.

use std::collections::BTreeSet;
use std::error::Error;

use raas_types::VendorName;
use raas_types::crane::{Content, Document};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Check, Outcome};
use crate::config::RegistryAddress;
use crate::registry::{self, Endpoint};
use crate::resolver;
use raas_platform::client::AskError;
use raas_platform::{Local, ServerRegistration, client};
use raas_publish::home::{Home, Vendor};

/// The published repositories.
#[derive(Debug, Default)]
pub(super) struct PublishedRepositories {
    /// Public repositories of v2 content.
    v2: BTreeSet<String>,
    /// Public repositories of Docker v1 content.
    v1: BTreeSet<String>,
    /// Repositories with a protected document.
    protected: BTreeSet<String>,
}

impl PublishedRepositories {
    pub(super) fn of(documents: impl IntoIterator<Item = Document>) -> Self {
        let mut published = Self::default();
        for Document { name, protected, content, .. } in documents {
            let name = name.to_string();
            if protected {
                published.protected.insert(name);
            } else if matches!(content, Content::V1(_)) {
                published.v1.insert(name);
            } else {
                published.v2.insert(name);
            }
        }
        let Self { v2, v1, protected } = &mut published;
        for names in [v2, v1] {
            names.retain(|name| !protected.contains(name));
        }
        published
    }

    fn is_empty(&self) -> bool {
        self.v2.is_empty() && self.v1.is_empty() && self.protected.is_empty()
    }
}

/// A server to check: one of this machine, or the registry's address.
trait CheckedServer {
    /// Asks for a path, and returns the body.
    fn ask(&self, path: &str) -> Result<String, AskError>;

    /// The name of the check.
    fn check(&self) -> &'static str;

    /// The server's name in messages.
    fn shown(&self) -> String;

    /// The fix for a failed check.
    fn fix(&self) -> String;

    /// The fix for an error, if it tells more.
    fn fix_of(&self, error: &AskError) -> Option<String>;
}

/// A server that runs on this machine.
struct LocalServer<'a> {
    server: &'a ServerRegistration,
    vendor: &'a VendorName,
}

impl CheckedServer for LocalServer<'_> {
    fn ask(&self, path: &str) -> Result<String, AskError> {
        client::ask(self.server, self.vendor, path)
    }

    fn check(&self) -> &'static str {
        "server"
    }

    fn shown(&self) -> String {
        format!("the server on {}", self.server.reachable())
    }

    fn fix(&self) -> String {
        format!("read the log of the server (process {}), or restart it", self.server.pid)
    }

    fn fix_of(&self, _: &AskError) -> Option<String> {
        None
    }
}

impl CheckedServer for Endpoint {
    fn ask(&self, path: &str) -> Result<String, AskError> {
        Endpoint::ask(self, path)
    }

    fn check(&self) -> &'static str {
        "registry"
    }

    fn shown(&self) -> String {
        Endpoint::shown(self)
    }

    fn fix(&self) -> String {
        "read the log of the servers there, and check the name, the firewalls and the proxies on the way"
            .to_owned()
    }

    fn fix_of(&self, error: &AskError) -> Option<String> {
        self.trust_fix(error)
    }
}

/// Checks each server of the vendor that runs on this machine, and each address of the vendor's registry.
pub(super) fn check(
    home: &Home,
    vendor: &Vendor,
    registry: &[RegistryAddress],
    published: &PublishedRepositories,
) -> Vec<Check> {
    let name = vendor.name();
    let serving = match Local::new(home.servers()).servers(name) {
        Ok(serving) => serving,
        Err(failure) => {
            let failure = failure.hint("give the user of raas access to that folder");
            return vec![Check::unable("server", &failure)];
        }
    };
    if serving.is_empty() && registry.is_empty() {
        return vec![Check::failed(
            "server",
            format!("no server of {name} runs on this machine, and no `registry_host` is set"),
            format!(
                "run `raas serve {name}`, or set `registry_host` in [{name}] of raas.cfg, if its servers run elsewhere"
            ),
        )];
    }
    let of_server = |server| check_server(&LocalServer { server, vendor: name }, vendor, published);
    let mut checks: Vec<Check> = serving.iter().map(of_server).collect();
    checks.extend(registry.iter().flat_map(|registry| check_registry(registry, vendor, published)));
    checks
}

/// Checks each address of a registry.
pub(super) fn check_registry(
    registry: &RegistryAddress,
    vendor: &Vendor,
    published: &PublishedRepositories,
) -> Vec<Check> {
    let endpoints = match registry::endpoints(registry) {
        Ok(endpoints) => endpoints,
        Err(error) => return vec![Check::failed("registry", error, resolver::fix(registry.host.as_str()))],
    };
    let of_endpoint = |endpoint: &Endpoint| {
        let check = check_server(endpoint, vendor, published);
        if check.outcome == Outcome::Ok && endpoint.lacks_tls() {
            let found = format!("{}, but without TLS", check.found);
            return Check::warning("registry", found)
                .fix(format!("give {registry} a certificate: docker, podman and containerd require one"))
                .details(check.details);
        }
        check
    };
    endpoints.iter().map(of_endpoint).collect()
}

fn check_server(server: &dyn CheckedServer, vendor: &Vendor, published: &PublishedRepositories) -> Check {
    let (name, restart) = (server.check(), server.fix());
    for (path, expected) in [("/v1/_ping", "true"), ("/v2/", "{}")] {
        let (found, fix) = match server.ask(path) {
            Ok(answer) if answer.trim() == expected => continue,
            // A registry with users asks for a token before anything else.
            Err(AskError::Status(401)) => continue,
            Ok(answer) => {
                let begun: String = answer.chars().take(80).collect();
                (format!("answers {path} with `{begun}`"), None)
            }
            Err(error) => (format!("does not answer {path}: {error}"), server.fix_of(&error)),
        };
        return Check::failed(name, format!("{} {found}", server.shown()), fix.unwrap_or(restart));
    }
    // The check of the record reports a revision that cannot be read.
    let deployed = vendor.checkout().revision().to_replace();
    let deployed = deployed.map(|revision| revision.to_string()).unwrap_or_default();
    // An error counts as no problem here: the checks below report a server that does not answer.
    let problem = server.ask("/-/metadata").ok().and_then(|answer| client::problem_in(&answer));
    let because = problem.as_ref().map(|problem| format!("; it says: {problem}")).unwrap_or_default();
    let failed =
        |found: String| Check::failed(name, format!("{} {found}{because}", server.shown()), restart.as_str());
    let mut hides_revision = false;
    match server.ask("/-/revision").map(|revision| revision.trim().to_owned()) {
        Ok(revision) if revision == deployed => {}
        // A proxy before the server may let clients ask for images only.
        Err(AskError::Status(403 | 404)) => hides_revision = true,
        Ok(revision) => {
            return failed(format!("serves revision `{revision}`, but `{deployed}` is published"));
        }
        Err(error) => return failed(format!("does not return its revision: {error}")),
    }
    match unserved(server, published) {
        Ok(unserved) if unserved.is_empty() => {}
        Ok(unserved) => {
            return failed("does not serve all published repositories; its log says why".into())
                .details(unserved);
        }
        Err(error) => return failed(format!("does not list what it serves: {error}")),
    }
    match protected(server, published) {
        Ok(ProtectedRepositories { open, .. }) if !open.is_empty() => {
            failed("shows protected repositories to everybody".into()).details(open)
        }
        Ok(found) if hides_revision => {
            let found_text =
                format!("{} answers /v1/_ping and /v2/ and has all repositories", server.shown());
            let hidden = "it does not answer /-/revision, so this check cannot tell whether it serves the last publication";
            let details = [vec![hidden.to_owned()], found.details()].concat();
            Check::ok(name, found_text).details(details)
        }
        Ok(_) if problem.is_none() && deployed.is_empty() && published.is_empty() => {
            let found = format!("{} runs, and waits for the first publication", server.shown());
            Check::warning(name, found)
                .fix(format!("publish an image: raas push {} IMAGE --from FILE", vendor.name()))
        }
        Ok(found) if problem.is_some() => Check::warning(
            name,
            format!("{} answers /v1/_ping and /v2/ and serves the last publication{because}", server.shown()),
        )
        .details(found.details()),
        Ok(found) => Check::ok(
            name,
            format!("{} answers /v1/_ping and /v2/ and serves the last publication", server.shown()),
        )
        .details(found.details()),
        Err(error) => failed(format!("does not answer requests for protected repositories: {error}")),
    }
}

/// The public repositories that a server does not list.
fn unserved(
    server: &dyn CheckedServer,
    published: &PublishedRepositories,
) -> Result<Vec<String>, Box<dyn Error>> {
    #[derive(Deserialize)]
    struct Catalog {
        repositories: BTreeSet<String>,
    }
    #[derive(Deserialize)]
    struct Search {
        results: Vec<SearchResult>,
    }
    #[derive(Deserialize)]
    struct SearchResult {
        name: String,
    }
    let names = |results: Vec<SearchResult>| -> BTreeSet<String> {
        results.into_iter().map(|result| result.name).collect()
    };
    let search = || read(server, "/v1/search?n=1000000").map(|Search { results }| names(results));
    let names_of_v2 = match read(server, "/v2/_catalog?n=1000000") {
        Ok(Catalog { repositories }) => repositories,
        // A registry with protected repositories asks for a login here. The search needs none.
        Err(error) if matches!(error.downcast_ref(), Some(AskError::Status(401))) => search()?,
        Err(error) => return Err(error),
    };
    let mut missing: BTreeSet<String> = published.v2.difference(&names_of_v2).cloned().collect();
    // The search is the only list of Docker v1 repositories. It has the v2 repositories too.
    if !published.v1.is_subset(&names_of_v2) {
        missing.extend(published.v1.difference(&search()?).cloned());
    }
    Ok(missing.into_iter().collect())
}

fn read<T: DeserializeOwned>(server: &dyn CheckedServer, path: &str) -> Result<T, Box<dyn Error>> {
    Ok(serde_json::from_str(&server.ask(path)?)?)
}

/// How a server answers anonymous requests for protected repositories.
#[derive(Debug, Default)]
struct ProtectedRepositories {
    /// Repositories that the server shows to everybody.
    open: Vec<String>,
    /// The number of repositories for which the server asks for a login.
    asking: usize,
    /// The number of repositories that the server hides.
    hidden: usize,
}

impl ProtectedRepositories {
    fn details(&self) -> Vec<String> {
        let asking = (self.asking > 0).then(|| {
            format!("protected repositories for which the server asks for a login: {}", self.asking)
        });
        let hidden = (self.hidden > 0).then(|| {
            format!(
                "protected repositories that the server hides from anonymous requests, so this check cannot tell whether \
                 users get them: {}",
                self.hidden
            )
        });
        asking.into_iter().chain(hidden).collect()
    }
}

fn protected(
    server: &dyn CheckedServer,
    published: &PublishedRepositories,
) -> Result<ProtectedRepositories, AskError> {
    let mut found = ProtectedRepositories::default();
    for name in &published.protected {
        let mut statuses = BTreeSet::new();
        for path in [format!("/v2/{name}/tags/list?n=1"), format!("/v1/repositories/{name}/tags")] {
            statuses.insert(match server.ask(&path) {
                Ok(_) => 200,
                Err(AskError::Status(status @ (401 | 404))) => status,
                Err(error) => return Err(error),
            });
        }
        if statuses.contains(&200) {
            found.open.push(name.clone());
        } else if statuses.contains(&401) {
            found.asking += 1;
        } else {
            found.hidden += 1;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use raas_testkit::http::{Asked, Reply, Server};
    use raas_types::crane::{V1Content, V2Content};

    use super::*;

    fn published() -> PublishedRepositories {
        let document = |name: &str, protected, content| Document {
            repository: name.to_owned(),
            name: name.parse().unwrap(),
            url: "https://x/".to_owned(),
            protected,
            content,
        };
        let (v1, v2) = (|| Content::V1(V1Content::default()), || Content::V2(V2Content::default()));
        PublishedRepositories::of([
            document("app", false, v2()),
            document("app", false, v1()),
            // Docker v1 content only, as Pulp 2 publishes it.
            document("old", false, v1()),
            document("secret", true, v2()),
            // One protected document protects the repository.
            document("half", false, v2()),
            document("half", true, v1()),
        ])
    }

    /// Checks a server that answers with these lists, and answers all other requests with the status `otherwise`.
    fn serving(v2: &'static str, all: &'static str, otherwise: u16) -> Check {
        serving_with(v2, all, otherwise, "", "null")
    }

    fn serving_with(
        v2: &'static str,
        all: &'static str,
        otherwise: u16,
        revision: &'static str,
        problem: &'static str,
    ) -> Check {
        check_answers(&published(), v2, all, otherwise, (revision, problem))
    }

    fn check_answers(
        published: &PublishedRepositories,
        v2: &'static str,
        all: &'static str,
        otherwise: u16,
        (revision, problem): (&'static str, &'static str),
    ) -> Check {
        let server = Server::scripted(move |asked: &Asked| match asked.target.split('?').next().unwrap() {
            "/v1/_ping" => Reply::new(200, "true"),
            "/v2/" if otherwise == 401 => Reply::new(401, ""),
            "/v2/" => Reply::new(200, "{}"),
            "/-/revision" => Reply::new(200, revision),
            "/-/metadata" => Reply::new(200, format!("{{\"problem\":{problem}}}")),
            "/v2/_catalog" => Reply::new(200, format!("{{\"repositories\":[{v2}]}}")),
            "/v1/search" => Reply::new(200, format!("{{\"results\":[{all}]}}")),
            "/v2/half/tags/list" | "/v1/repositories/secret/tags" => Reply::new(404, ""),
            _ => Reply::new(otherwise, "{}"),
        });
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(Some(folder.path().to_owned())).unwrap();
        let vendor = home.vendor(&"acme".parse().unwrap());
        let registration =
            ServerRegistration { address: server.address(), pid: 1, vendors: Vec::new(), secure: false };
        check_server(&LocalServer { server: &registration, vendor: vendor.name() }, &vendor, published)
    }

    #[test]
    fn protected_repositories_must_not_be_public() {
        let (v2, all) = (r#""app""#, r#"{"name":"app"},{"name":"old"}"#);
        let asking = "protected repositories for which the server asks for a login: 2";
        let hidden = "hides from anonymous requests, so this check cannot tell whether users get them: 2";
        let table = [
            (v2, all, 401, Outcome::Ok, asking),
            (v2, all, 404, Outcome::Ok, hidden),
            // The server shows them to everybody.
            (v2, all, 200, Outcome::Failed, "half"),
            (v2, all, 503, Outcome::Failed, ""),
            (v2, r#"{"name":"app"}"#, 401, Outcome::Failed, "old"),
            ("", r#"{"name":"old"}"#, 401, Outcome::Failed, "app"),
        ];
        for (v2, all, otherwise, outcome, detail) in table {
            let found = serving(v2, all, otherwise);
            assert_eq!(found.outcome, outcome, "{found:?}");
            assert!(found.details.join("; ").contains(detail), "{found:?}");
        }
    }

    #[test]
    fn a_server_waits_for_the_first_publication() {
        let check = check_answers(&PublishedRepositories::default(), "", "", 404, ("", "null"));
        assert_eq!(check.outcome, Outcome::Warning, "{check:?}");
        assert!(check.found.ends_with("runs, and waits for the first publication"), "{check:?}");
    }

    #[test]
    fn the_reason_of_a_server_that_is_behind_is_told() {
        let (v2, all) = (r#""app""#, r#"{"name":"app"},{"name":"old"}"#);
        let reason =
            r#""the metadata would take more than 10 bytes of memory; the last good metadata is served""#;
        let table = [
            (
                "0ld",
                reason,
                Outcome::Failed,
                "serves revision `0ld`, but `` is published; it says: the metadata would",
            ),
            ("", reason, Outcome::Warning, "it says: the metadata would take more than 10 bytes of memory"),
            ("", "null", Outcome::Ok, "serves the last publication"),
        ];
        for (revision, problem, outcome, found) in table {
            let check = serving_with(v2, all, 404, revision, problem);
            assert_eq!(check.outcome, outcome, "{check:?}");
            assert!(check.found.contains(found), "{check:?}");
        }
    }
}
