//! Whether the servers of this home answer, and with what is published.
//!
//! They are asked as a stranger would be: what is protected must not be among what they show, and whether they would show
//! it to those who may see it is not to be seen from here.

use std::collections::BTreeSet;
use std::error::Error;

use raas_types::crane::{Content, Document};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Check;
use raas_platform::{Local, Platform as _, ServerRegistration, client};
use raas_publish::home::{Home, Vendor};

/// The repositories of what is published.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// Those of today's clients that everybody sees.
    v2: BTreeSet<String>,
    /// Those of Docker v1 that everybody sees.
    v1: BTreeSet<String>,
    /// Those that one document at least calls protected.
    protected: BTreeSet<String>,
}

impl Published {
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
}

/// Checks each server of the vendor that runs on this machine.
pub(super) fn check(home: &Home, vendor: &Vendor, published: &Published) -> Vec<Check> {
    let name = vendor.name();
    let serving = match Local::new(home.servers()).observe(name) {
        Ok(serving) => serving,
        Err(failure) => {
            let failure = failure.hint("give the user of raas access to that folder");
            return vec![Check::unable("server", &failure)];
        }
    };
    if serving.is_empty() {
        return vec![Check::failed(
            "server",
            format!("no server of {name} runs"),
            format!("raas serve {name}"),
        )];
    }
    serving.iter().map(|note| check_server(note, vendor, published)).collect()
}

fn check_server(note: &ServerRegistration, vendor: &Vendor, published: &Published) -> Check {
    let address = note.reachable();
    let restart = format!("look into the log of the server (process {}), or restart it", note.pid);
    for (path, expected) in [("/v1/_ping", "true"), ("/v2/", "{}")] {
        let found = match client::ask(note, vendor.name(), path) {
            Ok(answer) if answer.trim() == expected => continue,
            // A registry with users asks for a token first.
            Err(ureq::Error::StatusCode(401)) => continue,
            Ok(answer) => format!("answers {path} with `{}`", answer.chars().take(80).collect::<String>()),
            Err(error) => format!("does not answer {path}: {error}"),
        };
        return Check::failed("server", format!("the server on {address} {found}"), restart);
    }
    let shown =
        vendor.checkout().revision().ok().flatten().map(|revision| revision.to_string()).unwrap_or_default();
    let failed =
        |found: String| Check::failed("server", format!("the server on {address} {found}"), restart.as_str());
    match client::revision(note, vendor.name()) {
        Ok(revision) if revision == shown => {}
        Ok(revision) => return failed(format!("serves revision `{revision}`, published is `{shown}`")),
        Err(error) => return failed(format!("tells no revision: {error}")),
    }
    match unserved(note, vendor, published) {
        Ok(unserved) if unserved.is_empty() => {}
        Ok(unserved) => {
            return failed("does not serve all that is published; its log says why".into()).details(unserved);
        }
        Err(error) => return failed(format!("does not tell what it serves: {error}")),
    }
    match protected(note, vendor, published) {
        Ok(Protected { open, .. }) if !open.is_empty() => {
            failed("shows to everybody what is protected".into()).details(open)
        }
        Ok(found) => Check::ok(
            "server",
            format!("{address} answers /v1/_ping and /v2/ and serves the last publication"),
        )
        .details(found.told()),
        Err(error) => failed(format!("does not answer for what is protected: {error}")),
    }
}

/// The repositories that a server should show to everybody and does not.
fn unserved(
    note: &ServerRegistration,
    vendor: &Vendor,
    published: &Published,
) -> Result<Vec<String>, Box<dyn Error>> {
    #[derive(Deserialize)]
    struct Catalog {
        repositories: BTreeSet<String>,
    }
    #[derive(Deserialize)]
    struct Search {
        results: Vec<Found>,
    }
    #[derive(Deserialize)]
    struct Found {
        name: String,
    }
    let Catalog { repositories } = read(note, vendor, "/v2/_catalog?n=1000000")?;
    let mut missing: BTreeSet<String> = published.v2.difference(&repositories).cloned().collect();
    // Of Docker v1 there is no other list; this one is of both.
    if !published.v1.is_subset(&repositories) {
        let Search { results } = read(note, vendor, "/v1/search")?;
        let found = results.into_iter().map(|found| found.name).collect();
        missing.extend(published.v1.difference(&found).cloned());
    }
    Ok(missing.into_iter().collect())
}

fn read<T: DeserializeOwned>(
    note: &ServerRegistration,
    vendor: &Vendor,
    path: &str,
) -> Result<T, Box<dyn Error>> {
    Ok(serde_json::from_str(&client::ask(note, vendor.name(), path)?)?)
}

/// What a stranger is told of what is protected.
#[derive(Debug, Default)]
struct Protected {
    /// These are there for everybody.
    open: Vec<String>,
    /// So many ask for a login.
    asking: usize,
    /// So many are as if they were not there.
    hidden: usize,
}

impl Protected {
    fn told(&self) -> Vec<String> {
        let asking = (self.asking > 0).then(|| {
            format!("protected repositories for which the server asks for a login: {}", self.asking)
        });
        let hidden = (self.hidden > 0).then(|| {
            format!(
                "protected repositories that are to a stranger as if not there, so that it is not to be seen from here \
                 whether they are served to others: {}",
                self.hidden
            )
        });
        asking.into_iter().chain(hidden).collect()
    }
}

fn protected(
    note: &ServerRegistration,
    vendor: &Vendor,
    published: &Published,
) -> Result<Protected, ureq::Error> {
    let mut found = Protected::default();
    for name in &published.protected {
        let mut statuses = BTreeSet::new();
        for path in [format!("/v2/{name}/tags/list?n=1"), format!("/v1/repositories/{name}/tags")] {
            statuses.insert(match client::ask(note, vendor.name(), &path) {
                Ok(_) => 200,
                Err(ureq::Error::StatusCode(status @ (401 | 404))) => status,
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
    use crate::status::Outcome;

    fn published() -> Published {
        let document = |name: &str, protected, content| Document {
            repository: name.to_owned(),
            name: name.parse().unwrap(),
            url: "https://x/".to_owned(),
            protected,
            content,
        };
        let (v1, v2) = (|| Content::V1(V1Content::default()), || Content::V2(V2Content::default()));
        Published::of([
            document("app", false, v2()),
            document("app", false, v1()),
            // Of Docker v1 alone, as Pulp 2 publishes it.
            document("old", false, v1()),
            document("secret", true, v2()),
            // One document is enough.
            document("half", false, v2()),
            document("half", true, v1()),
        ])
    }

    /// A server that shows these, and of all else says this.
    fn serving(v2: &'static str, all: &'static str, otherwise: u16) -> Check {
        let server = Server::scripted(move |asked: &Asked| match asked.target.split('?').next().unwrap() {
            "/v1/_ping" => Reply::new(200, "true"),
            "/v2/" if otherwise == 401 => Reply::new(401, ""),
            "/v2/" => Reply::new(200, "{}"),
            "/-/revision" => Reply::new(200, ""),
            "/v2/_catalog" => Reply::new(200, format!("{{\"repositories\":[{v2}]}}")),
            "/v1/search" => Reply::new(200, format!("{{\"results\":[{all}]}}")),
            "/v2/half/tags/list" | "/v1/repositories/secret/tags" => Reply::new(404, ""),
            _ => Reply::new(otherwise, "{}"),
        });
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(Some(folder.path().to_owned())).unwrap();
        let vendor = home.vendor(&"acme".parse().unwrap());
        let note =
            ServerRegistration { address: server.address(), pid: 1, vendors: Vec::new(), secure: false };
        check_server(&note, &vendor, &published())
    }

    #[test]
    fn what_is_protected_is_no_stranger_to_see_and_no_fault() {
        let (v2, all) = (r#""app""#, r#"{"name":"app"},{"name":"old"}"#);
        let asking = "protected repositories for which the server asks for a login: 2";
        let hidden =
            "as if not there, so that it is not to be seen from here whether they are served to others: 2";
        let table = [
            (v2, all, 401, Outcome::Ok, asking),
            (v2, all, 404, Outcome::Ok, hidden),
            // Whoever asks is shown them.
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
}
