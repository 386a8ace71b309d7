//! The check that the servers of a vendor on another platform run, and serve what is published.

use raas_publish::home::{Home, Vendor};

use super::Check;
use crate::config::Config;
use crate::platform::{self, Replica};

/// Checks each server of the vendor on its platform.
pub(super) fn check(home: &Home, config: &Config, vendor: &Vendor) -> Vec<Check> {
    let name = vendor.name();
    let replicas = match platform::replicas(home, config, name) {
        Ok(replicas) => replicas,
        Err(failure) => return vec![Check::unable("server", &failure)],
    };
    if replicas.is_empty() {
        let found = format!("no server of {name} runs on the platform {}", platform::name(config));
        return vec![Check::failed("server", found, format!("run `raas setup {name}`"))];
    }
    let published = vendor.checkout().revision().to_replace().map(|revision| revision.to_string());
    replicas.iter().map(|replica| check_replica(replica, published.as_deref().unwrap_or_default())).collect()
}

fn check_replica(replica: &Replica, published: &str) -> Check {
    let pod = &replica.server.name;
    let look = format!("look into the log of {pod}, or at what deploys it");
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
    use crate::status::Outcome;

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
    }
}
