//! Notifications of pulls and of publications, in the format of CNCF distribution.
//!
//! Source: CNCF distribution, "Work with notifications".

mod event;
mod publication;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{StatusCode, Uri};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::http_client::HttpClient;
pub(crate) use event::PullEvent;
use event::Source;
pub(crate) use publication::{PublicationEvent, announce};
use serde::Serialize;

/// What an endpoint is notified of.
pub(crate) trait Notification: Serialize + Send + Sync + 'static {
    /// For the log.
    const NAME: &'static str;
    /// The counters of events that were sent and dropped, and of attempts that failed: the name and the help text.
    const COUNTERS: [(&'static str, &'static str); 3];
}

/// The endpoint that receives notifications.
#[derive(Debug, Clone)]
pub struct Notify {
    url: String,
    authorization: Option<HeaderValue>,
    /// The first pause after a failure.
    pause: Duration,
}

/// Why an endpoint cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// Not a URL of a web server, or a URL with a user name or password.
    #[error("expected a URL that begins with http:// or https:// and has no user name or password")]
    Url,
    /// The value cannot be a header.
    #[error("the value for `Authorization` has characters that a header cannot have")]
    Authorization,
}

impl Notify {
    /// An endpoint at this URL. `authorization` is the value of the `Authorization` header, such as `Bearer …`.
    ///
    /// # Errors
    /// The URL is not an http or https URL or has a user name, or the authorization cannot be a header.
    pub fn new(url: &str, authorization: Option<&str>) -> Result<Self, NotifyError> {
        let parsed: Uri = url.parse().map_err(|_| NotifyError::Url)?;
        let web = matches!(parsed.scheme_str(), Some("http" | "https"));
        let authority = parsed.authority().ok_or(NotifyError::Url)?;
        if !web || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(NotifyError::Url);
        }
        let header = |text: &str| {
            let mut value = HeaderValue::from_str(text).map_err(|_| NotifyError::Authorization)?;
            value.set_sensitive(true);
            Ok(value)
        };
        let authorization = authorization.map(header).transpose()?;
        Ok(Self { url: url.to_owned(), authorization, pause: Duration::from_secs(1) })
    }

    /// Sets the first pause after a failure. For tests.
    #[must_use]
    pub fn pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// The URL without its query, which may be secret.
    fn display_name(&self) -> &str {
        self.url.split(['?', '#']).next().unwrap_or_default()
    }
}

/// Counters of events.
#[derive(Debug, Default)]
struct Numbers {
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// Queues events without waiting.
#[derive(Debug)]
pub(crate) struct Notifier<E> {
    queue: mpsc::Sender<E>,
    numbers: Arc<Numbers>,
}

/// The maximal number of queued events: some megabytes.
const MAX: usize = 4096;

/// The maximal number of events in one request.
const BATCH: usize = 100;

/// How long events are gathered before they are sent.
const GATHER: Duration = Duration::from_millis(500);

/// The most attempts to send a batch, and the longest pause between two of them. All attempts take about a quarter of
/// an hour.
const TIMES: u32 = 20;
const LONGEST: Duration = Duration::from_secs(60);

/// For how long the server still sends queued events when it ends.
const LAST: Duration = Duration::from_secs(5);

impl<E: Notification> Notifier<E> {
    pub(crate) fn send(&self, event: E) {
        if self.queue.try_send(event).is_err() {
            self.numbers.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Name, help text and value of each counter.
    pub(crate) fn numbers(&self) -> [(&'static str, &'static str, u64); 3] {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let Numbers { sent, dropped, failed } = &*self.numbers;
        let [(sent_name, sent_help), (dropped_name, dropped_help), (failed_name, failed_help)] = E::COUNTERS;
        [
            (sent_name, sent_help, of(sent)),
            (dropped_name, dropped_help, of(dropped)),
            (failed_name, failed_help, of(failed)),
        ]
    }
}

/// The task that sends events.
pub(crate) struct NotificationTask {
    task: JoinHandle<()>,
    end: watch::Sender<bool>,
}

/// Starts to send events. `address` is the server's own address, for the events.
pub(crate) fn start<E: Notification>(
    notify: Notify,
    client: Arc<HttpClient>,
    address: String,
) -> (Notifier<E>, NotificationTask) {
    let (queue, waiting) = mpsc::channel(MAX);
    let numbers = Arc::new(Numbers::default());
    let (end, ending) = watch::channel(false);
    let source = Source::new(address);
    let delivery = Delivery { notify, client, source, numbers: Arc::clone(&numbers), ending };
    (Notifier { queue, numbers }, NotificationTask { task: tokio::spawn(delivery.run(waiting)), end })
}

impl NotificationTask {
    /// Sends the queued events, for a limited time.
    pub(crate) async fn finish(mut self) {
        self.end.send_replace(true);
        if timeout(LAST, &mut self.task).await.is_err() {
            tracing::warn!("some notifications were not sent before the end");
        }
    }
}

impl Drop for NotificationTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Delivery {
    notify: Notify,
    client: Arc<HttpClient>,
    source: Source,
    numbers: Arc<Numbers>,
    ending: watch::Receiver<bool>,
}

impl Delivery {
    async fn run<E: Notification>(mut self, mut waiting: mpsc::Receiver<E>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let ending = *self.ending.borrow();
            if ending {
                waiting.close();
            }
            tokio::select! {
                biased;
                got = waiting.recv_many(&mut batch, BATCH) => if got == 0 { return },
                _ = self.ending.changed(), if !ending => continue,
            }
            if batch.len() < BATCH && !ending {
                self.pause(GATHER).await;
                while batch.len() < BATCH
                    && let Ok(event) = waiting.try_recv()
                {
                    batch.push(event);
                }
            }
            self.deliver(&batch).await;
            batch.clear();
        }
    }

    /// Sleeps, but not beyond the server's end.
    async fn pause(&mut self, pause: Duration) {
        if !*self.ending.borrow() {
            tokio::select! {
                () = sleep(pause) => {}
                _ = self.ending.changed() => {}
            }
        }
    }

    async fn deliver<E: Notification>(&mut self, batch: &[E]) {
        let body = event::envelope(batch, &self.source);
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static(event::MEDIA_TYPE))];
        headers.extend(self.notify.authorization.clone().map(|value| (AUTHORIZATION, value)));
        let mut pause = self.notify.pause;
        for time in 1..=TIMES {
            let why = match self.client.post(&self.notify.url, &headers, body.clone()).await {
                Ok(status) if is_taken(status) => {
                    self.numbers.sent.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    return;
                }
                Ok(status) => io::Error::other(format!("the endpoint answers {status}")),
                Err(error) => io::Error::other(error.to_string()),
            };
            self.numbers.failed.fetch_add(1, Ordering::Relaxed);
            if time == 1 {
                let (of, url) = (E::NAME, self.notify.display_name());
                tracing::warn!(of, url, error = %why, "cannot send notifications; they stay queued");
            }
            if *self.ending.borrow() {
                break;
            }
            // A random time from half the pause to all of it, so that many servers do not send at the same moment.
            self.pause(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(LONGEST);
        }
        self.numbers.dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let (of, url, events) = (E::NAME, self.notify.display_name(), batch.len());
        tracing::error!(of, url, events, "gave up sending notifications");
    }
}

/// As in distribution: a redirect, which is not followed, counts as success.
fn is_taken(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_web_url_without_a_password() {
        for good in ["https://hooks.example.com/pulls?key=x", "http://127.0.0.1:9"] {
            assert!(Notify::new(good, None).is_ok(), "{good}");
        }
        for bad in ["", "hooks.example.com", "ftp://x/y", "https://u:secret@x/", "https:///x"] {
            assert_eq!(Notify::new(bad, None).err(), Some(NotifyError::Url), "{bad}");
        }
        assert_eq!(Notify::new("http://x", Some("a\nb")).err(), Some(NotifyError::Authorization));
        let notify = Notify::new("http://x/y?key=hunter1", Some("Bearer hunter2")).unwrap();
        assert!(!format!("{notify:?}").contains("hunter2"));
        assert_eq!(notify.display_name(), "http://x/y");
    }
}
