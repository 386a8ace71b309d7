//! Work that Pulp 2 does in the background.

use std::thread;
use std::time::Duration;

use raas_base::failure::{Failure, Kind};
use raas_base::interrupt::CleanUp;
use raas_http::http::Method;
use raas_types::null_as_default;
use serde::Deserialize;

use super::super::api::parsed;
use super::{MAX_ANSWER, Pulp2, ROOT};
use crate::registry::{JSON, RegistryError, Repeat, Request, escaped};
use crate::registry_error::legible;

/// The answer to a request that begins tasks.
#[derive(Deserialize)]
pub(super) struct CallReport {
    #[serde(default)]
    error: Option<TaskError>,
    #[serde(default, deserialize_with = "null_as_default")]
    spawned_tasks: Vec<Spawned>,
}

#[derive(Deserialize)]
struct Spawned {
    task_id: String,
}

#[derive(Deserialize)]
struct Task {
    state: String,
    #[serde(default)]
    error: Option<TaskError>,
    #[serde(default, deserialize_with = "null_as_default")]
    spawned_tasks: Vec<Spawned>,
}

#[derive(Deserialize)]
struct TaskError {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    description: Option<String>,
}

/// The pauses between two questions.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The most tasks of one request.
const MAX_TASKS: usize = 1000;

/// Waits until the tasks of a request, and the tasks that they begin, have ended.
pub(super) fn follow(server: &Pulp2, report: CallReport, what: &str) -> Result<(), Failure> {
    if let Some(error) = &report.error {
        return Err(failed(server, what, Some(error)));
    }
    let mut left: Vec<String> = report.spawned_tasks.into_iter().map(|spawned| spawned.task_id).collect();
    let mut seen = 0;
    while let Some(id) = left.pop() {
        seen += 1;
        if seen > MAX_TASKS {
            let why = format!("it has begun more than {MAX_TASKS} tasks");
            return Err(RegistryError::Content { what: what.to_owned(), why }.into());
        }
        let (canceler, canceled) = (server.clone(), id.clone());
        let interrupted = CleanUp::new(move || {
            cancel(&canceler, &canceled).ok().map(|()| "the task at the Pulp server is canceled".into())
        });
        left.extend(wait(server, &id, what)?);
        drop(interrupted);
    }
    Ok(())
}

/// Waits for one task. Returns the ids of the tasks that it has begun.
fn wait(server: &Pulp2, id: &str, what: &str) -> Result<Vec<String>, Failure> {
    let (mut pause, mut shown) = (PAUSES.0, String::new());
    let named = format!("the task of {what}");
    let path = format!("{ROOT}/tasks/{}/", escaped(id));
    loop {
        let found = server.connection.read(&Request::get(&path, JSON, &named), MAX_ANSWER)?;
        let missing = || RegistryError::NotFound { what: named.clone(), said: String::new() };
        let task: Task = parsed(&found.ok_or_else(missing)?, &named)?;
        match task.state.as_str() {
            "finished" | "skipped" => {
                return Ok(task.spawned_tasks.into_iter().map(|spawned| spawned.task_id).collect());
            }
            "error" => return Err(failed(server, what, task.error.as_ref())),
            "canceled" => {
                let message = format!("{what} was canceled at the Pulp server {}", server.host());
                return Err(Failure::new(Kind::Environment, message).hint("run the command again"));
            }
            "waiting" if !server.has_worker()? => {
                let done = match cancel(server, id) {
                    Ok(()) => "raas has canceled it",
                    Err(_) => "and it is still queued",
                };
                let message = format!(
                    "the Pulp server {} has no worker, so {what} would wait for ever: {done}",
                    server.host()
                );
                return Err(Failure::new(Kind::Environment, message)
                    .hint("start the workers on the server: `systemctl start pulp_workers`"));
            }
            state if state != shown => {
                server.say.line(&format!("Pulp: {what} is {}", legible(state)));
                shown = state.to_owned();
            }
            _ => {}
        }
        thread::sleep(pause);
        pause = (pause * 3 / 2).min(PAUSES.1);
    }
}

fn cancel(server: &Pulp2, id: &str) -> Result<(), RegistryError> {
    let path = format!("{ROOT}/tasks/{}/", escaped(id));
    let what = "the cancellation of a task";
    let request = Request { method: &Method::DELETE, ..Request::get(&path, JSON, what) };
    server.connection.change(&request, Repeat::Safe).map(drop)
}

fn failed(server: &Pulp2, what: &str, error: Option<&TaskError>) -> Failure {
    let words = error.and_then(|error| error.description.as_deref()).unwrap_or_default();
    let code = error.and_then(|error| error.code.as_deref()).unwrap_or_default();
    let said = match (code, words) {
        ("", "") => String::new(),
        (code, words) => format!(": it says {}", legible(format!("{code} {words}").trim())),
    };
    let message = format!("{what} failed at the Pulp server {}{said}", server.host());
    Failure::new(Kind::Environment, message)
        .hint("look at the task on the server: `pulp-admin tasks list --all`")
}
