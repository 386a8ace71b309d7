//! The check that the servers of a vendor on another platform run, and serve what is published.

use raas_publish::home::{Home, Vendor};

use super::certificate;
use super::server::{PublishedRepositories, check_registry};
use super::{Check, Outcome};
use crate::check::timed;
use crate::config::{Config, RegistryAddress};
use crate::platform::{self, Fact, FactState, Replica};

/// Checks what the platform says, each server of the vendor on it, and the registry as clients reach it.
pub(super) fn check(
    home: &Home,
    config: &Config,
    vendor: &Vendor,
    published: &PublishedRepositories,
) -> Vec<Check> {
    let name = vendor.name();
    let revision = vendor.checkout().revision().to_replace().map(|revision| revision.to_string());
    let revision = revision.unwrap_or_default();
    let mut hosts = Vec::new();
    let mut checks = timed(|| {
        let looked = match platform::look(home, config, name) {
            Ok(looked) => looked,
            Err(failure) => return vec![Check::unable("server", &failure)],
        };
        hosts = looked.hosts;
        let waits = |replica: &Replica| waits_for_publication(replica, &revision);
        let all_wait = !looked.replicas.is_empty() && looked.replicas.iter().all(waits);
        let mut checks: Vec<Check> = looked.facts.iter().map(|fact| check_fact(fact, all_wait)).collect();
        if looked.replicas.is_empty() {
            let found = format!("no server of {name} runs on the platform {}", platform::name(config));
            checks.push(Check::failed("server", found, format!("run `raas setup {name}`")));
        }
        checks.extend(looked.replicas.iter().map(|replica| check_replica(replica, &revision)));
        checks
    });
    let is_reachable = checks.iter().all(|check| check.outcome != Outcome::Failed || check.name == "server");
    // Before the first publication, no router sends clients on to the servers.
    if !revision.is_empty() && is_reachable {
        for registry in addresses(config, vendor, &hosts) {
            checks.extend(timed(|| certificate::check(&registry).into_iter().collect()));
            checks.extend(timed(|| check_registry(&registry, vendor, published)));
        }
    }
    checks
}

/// The addresses that people pull from: those of the configuration, or else those that the platform has made.
fn addresses(config: &Config, vendor: &Vendor, hosts: &[String]) -> Vec<RegistryAddress> {
    let configured = config.vendor(vendor.name()).registry_addresses;
    match (hosts, configured.is_empty()) {
        ([], _) => Vec::new(),
        (_, false) => configured,
        (made, true) => made.iter().filter_map(|host| host.parse().ok()).collect(),
    }
}

/// Whether a server runs, and only waits for the vendor's first publication.
fn waits_for_publication(replica: &Replica, published: &str) -> bool {
    published.is_empty() && matches!(&replica.revision, Ok(Some(revision)) if revision.is_empty())
}

fn check_fact(fact: &Fact, all_wait: bool) -> Check {
    let Fact { name, state, found, fix } = fact;
    match state {
        FactState::Good => Check::ok(name, found.as_str()),
        _ if all_wait && *name == "rollout" => {
            Check::warning(name, "the servers run, and wait for the first publication")
        }
        FactState::Waiting => Check::warning(name, found.as_str()).fix(fix.as_str()),
        FactState::Bad => Check::failed(name, found.as_str(), fix.as_str()),
    }
}

fn check_replica(replica: &Replica, published: &str) -> Check {
    let pod = &replica.server.name;
    let look = format!("look into the log of {pod}, or at what deploys it");
    if !replica.server.is_ready && waits_for_publication(replica, published) {
        return Check::warning("server", format!("{pod} runs, and waits for the first publication"));
    }
    if !replica.server.is_ready {
        return Check::failed("server", format!("{pod} is not ready"), look);
    }
    match &replica.revision {
        Ok(None) => {
            Check::ok("server", format!("{pod} answers /v1/_ping; a Crane does not say what it serves"))
        }
        Ok(Some(revision)) if revision == published => {
            Check::ok("server", format!("{pod} is ready and serves the last publication"))
        }
        Ok(Some(revision)) => {
            let found = format!("{pod} serves revision `{revision}`, but `{published}` is published");
            Check::failed("server", found, look)
        }
        Err(failure) => Check::unable("server", failure),
    }
}

#[cfg(test)]
mod tests {
    use raas_base::failure::{Failure, Kind};
    use raas_platform::Server;

    use super::*;

    #[test]
    fn a_server_must_be_ready_and_serve_the_last_publication() {
        let replica = |is_ready: bool, revision: Result<Option<&str>, &str>| Replica {
            server: Server { name: "raas-acme-0".into(), url: None, is_ready },
            revision: revision
                .map(|one| one.map(str::to_owned))
                .map_err(|why| Failure::new(Kind::Environment, why)),
        };
        let table = [
            (replica(true, Ok(None)), Outcome::Ok, "answers /v1/_ping"),
            (replica(true, Ok(Some("new"))), Outcome::Ok, "serves the last publication"),
            (replica(false, Ok(Some("new"))), Outcome::Failed, "is not ready"),
            (
                replica(true, Ok(Some("old"))),
                Outcome::Failed,
                "serves revision `old`, but `new` is published",
            ),
            (replica(true, Err("forbidden")), Outcome::Failed, "forbidden"),
        ];
        for (replica, outcome, found) in table {
            let check = check_replica(&replica, "new");
            assert!(check.outcome == outcome && check.found.contains(found), "{check:?}");
        }
        // Before the first publication no server is ready, and that is no fault.
        let check = check_replica(&replica(false, Ok(Some(""))), "");
        assert!(
            check.outcome == Outcome::Warning && check.found.contains("waits for the first"),
            "{check:?}"
        );
        assert_eq!(check_replica(&replica(false, Ok(None)), "").outcome, Outcome::Failed);
    }

    #[test]
    fn a_rollout_that_waits_for_the_first_publication_is_no_failure() {
        let fact = |name, state| Fact { name, state, found: "found".into(), fix: "fix".into() };
        let table = [
            (fact("rollout", FactState::Good), false, Outcome::Ok),
            (fact("rollout", FactState::Waiting), false, Outcome::Warning),
            (fact("rollout", FactState::Bad), false, Outcome::Failed),
            (fact("rollout", FactState::Bad), true, Outcome::Warning),
            (fact("route", FactState::Bad), true, Outcome::Failed),
        ];
        for (fact, all_wait, outcome) in table {
            assert_eq!(check_fact(&fact, all_wait).outcome, outcome, "{} {all_wait}", fact.name);
        }
    }
}
