//! Work that Pulp 3 does in the background.

use std::thread;
use std::time::{Duration, Instant};

use raas_base::Say;
use raas_base::failure::{Failure, Kind};
use raas_http::http::Method;
use raas_types::null_as_default;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::Api;
use crate::registry::RegistryError;
use crate::registry_error::legible;

/// The answer to a request that begins a task.
#[derive(Deserialize)]
pub(super) struct TaskStarted {
    pub(super) task: String,
}

/// A task.
#[derive(Deserialize)]
pub(super) struct Task {
    state: String,
    #[serde(default)]
    error: Option<TaskError>,
    #[serde(default, deserialize_with = "null_as_default")]
    progress_reports: Vec<Report>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) created_resources: Vec<Option<String>>,
}

#[derive(Deserialize)]
struct TaskError {
    #[serde(default, deserialize_with = "null_as_default")]
    description: String,
}

#[derive(Deserialize)]
struct Report {
    #[serde(default, deserialize_with = "null_as_default")]
    message: String,
    #[serde(default, deserialize_with = "null_as_default")]
    state: String,
    #[serde(default)]
    total: Option<u64>,
    #[serde(default)]
    done: Option<u64>,
}

/// The pauses between two questions.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How often the user sees a line about the same work.
const LINES: Duration = Duration::from_secs(10);

/// Waits until a task is completed. `what` is the work for messages: "the export of x".
///
/// # Errors
/// The task fails or is canceled, or no worker takes it.
pub(super) fn follow(api: &Api, href: &str, what: &str, say: &Say) -> Result<Task, Failure> {
    let named = format!("the task of {what}");
    let mut pause = PAUSES.0;
    let mut shown = Shown::default();
    loop {
        let task: Task = api.get(href, &named)?;
        match task.state.as_str() {
            "completed" => return Ok(task),
            "failed" => return Err(failed(api, what, &task)),
            "canceled" | "canceling" => {
                let message = format!("{what} was canceled at the Pulp server {}", api.host());
                return Err(Failure::new(Kind::Environment, message).hint("run the command again"));
            }
            "waiting" if !api.has_worker()? => {
                let canceled = cancel(api, href);
                let done = if canceled.is_ok() { "raas has canceled it" } else { "and it is still queued" };
                return Err(no_worker(api, what, &format!(" would wait for ever: {done}")));
            }
            _ => shown.line(&task, what, say),
        }
        thread::sleep(pause);
        pause = (pause * 3 / 2).min(PAUSES.1);
    }
}

/// The failure for a server without workers.
pub(super) fn no_worker(api: &Api, what: &str, more: &str) -> Failure {
    let message = format!("the Pulp server {} has no worker online, so {what}{more}", api.host());
    Failure::new(Kind::Environment, message).hint(
        "start a worker on the server (`systemctl start pulpcore-worker@1`), or leave --via out: the registry needs none",
    )
}

/// Asks Pulp to cancel a task.
pub(super) fn cancel(api: &Api, href: &str) -> Result<(), RegistryError> {
    let canceled = json!({"state": "canceled"});
    api.send::<Value>(&Method::PATCH, href, &canceled, "the cancellation of a task").map(drop)
}

fn failed(api: &Api, what: &str, task: &Task) -> Failure {
    let words = task.error.as_ref().map_or("", |error| error.description.trim());
    let said = if words.is_empty() { String::new() } else { format!(": it says {}", legible(words)) };
    let message = format!("{what} failed at the Pulp server {}{said}", api.host());
    let hint = if words.contains("Remote artifacts") || words.contains("on_demand") {
        "set the policy of the repository's remote to `immediate` and sync it, or leave --via out: Pulp's registry fetches \
         what is missing"
    } else if words.contains("Errno") {
        "correct `export_path` in [pulpserver], or the folder on the server"
    } else {
        "look at the task on the server: `pulp task list --state failed --limit 1`"
    };
    Failure::new(Kind::Environment, message).hint(hint)
}

/// What the user was told last.
#[derive(Default)]
struct Shown {
    work: String,
    at: Option<Instant>,
}

impl Shown {
    fn line(&mut self, task: &Task, what: &str, say: &Say) {
        let report = task.progress_reports.iter().rev().find(|report| report.state == "running");
        let (work, count) = match report {
            Some(Report { message, total, done, .. }) => {
                let done = done.map(|done| format!(" {done}")).unwrap_or_default();
                let total = total.map(|total| format!(" of {total}")).unwrap_or_default();
                (legible(message), format!("{done}{total}"))
            }
            None => (format!("{what} is {}", legible(&task.state)), String::new()),
        };
        if work != self.work || self.at.is_none_or(|at| at.elapsed() >= LINES) {
            say.line(&format!("Pulp: {work}{count}"));
            (self.work, self.at) = (work, Some(Instant::now()));
        }
    }
}
