//! Requests that stand still. A request without a byte for a while fails and is tried again, and one operation waits a
//! bounded time in all. Every wait of some seconds says what it waits for.

mod body;

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::config::{
    AsyncSleep, ConfigBag, HttpClient, RuntimeComponents, RuntimeComponentsBuilder, SharedHttpClient, Sleep,
};
use aws_sdk_s3::error::{BoxError, ConnectorError};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use raas_base::Say;

use super::errors;

/// The longest pause between two attempts.
pub(super) const LONGEST_BACKOFF: Duration = Duration::from_secs(20);

/// The most operations whose waits are remembered. They are few: only an operation that stood still is among them.
const REMEMBERED: usize = 1000;

/// How long a request may stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// How long an attempt waits without a byte in either direction.
    pub(super) stall: Duration,
    /// After how many such waits the operation fails.
    pub(super) stalls: u32,
    /// How long all attempts of one operation wait together.
    pub(super) total: Duration,
    /// The longest pause that the service may ask for with `Retry-After`.
    pub(super) pause: Duration,
    /// A longer wait says what it waits for.
    pub(super) quiet: Duration,
}

impl Patience {
    /// For operations that the command needs: the last of five waits is shorter, so that an operation with its pauses
    /// ends within five times the wait.
    pub(super) fn of(stall: Duration) -> Self {
        Self {
            stall,
            stalls: 5,
            total: stall * 5 - stall / 6,
            pause: Duration::from_secs(30),
            quiet: Duration::from_secs(5),
        }
    }

    /// For writes that are useless if they come late: of a lease and of the pointer.
    pub(super) fn timely(self) -> Self {
        let stall = self.stall.min(Duration::from_secs(10));
        let (total, pause) = (self.total.min(stall * 4), self.pause.min(Duration::from_secs(5)));
        Self { stall, stalls: 4, total, pause, ..self }
    }

    /// For an interrupted run, and for finding out whether the service answers.
    pub(super) fn quick(self) -> Self {
        let stall = self.stall.min(Duration::from_secs(5));
        let (total, pause) = (self.total.min(stall * 2), self.pause.min(Duration::from_secs(2)));
        Self { stall, stalls: 2, total, pause, ..self }
    }

    /// How long an attempt of a copy, or of the end of a multipart upload, waits for its answer. The service copies or
    /// assembles bytes meanwhile.
    fn long(self) -> Duration {
        self.stall.max(self.total / 2)
    }
}

/// The waits of one storage.
#[derive(Debug)]
pub(super) struct Waits {
    say: Say,
    /// The service, for people.
    service: String,
    /// How long each operation in flight has waited in vain, by the id that all its attempts have.
    operations: Mutex<HashMap<String, Waited>>,
    /// How long all operations of this storage may wait together, and how long they have waited; for a command that can
    /// do without the service.
    budget: Option<(Duration, Mutex<Duration>)>,
    quiet: Duration,
    last_line: Mutex<Option<Instant>>,
    /// Whether an operation has waited to its end, and the service has answered nothing since.
    silent: AtomicBool,
}

/// How long an operation has waited in vain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Waited {
    /// In how many attempts.
    pub(super) attempts: u32,
    /// All of them together.
    pub(super) time: Duration,
    /// Whether the operation must not be tried again.
    over: bool,
    /// Whether the operation waits only briefly.
    brief: bool,
}

/// The error of an attempt that stood still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stalled {
    /// The waits of the operation so far.
    pub(super) waited: Waited,
    now: Duration,
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no byte for {}", shown(self.now))
    }
}

impl Error for Stalled {}

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = if self.attempts == 1 { "" } else { "s" };
        write!(f, "waited for {} in {} attempt{ending}", shown(self.time), self.attempts)
    }
}

/// A time for people: whole seconds from ten on.
fn shown(time: Duration) -> String {
    if time >= Duration::from_secs(10) {
        format!("{} s", time.as_secs())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

impl Stalled {
    /// Whether the operation has waited long enough and must not be tried again.
    pub(super) fn is_over(&self) -> bool {
        self.waited.over
    }

    /// The stall among the causes of an error.
    pub(super) fn among(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(stalled) = error.downcast_ref::<Self>() {
                return Some(*stalled);
            }
            next = error.source();
        }
        None
    }
}

impl Waits {
    pub(super) fn new(say: Say, service: String, quiet: Duration, budget: Option<Duration>) -> Self {
        Self {
            say,
            service,
            operations: Mutex::default(),
            budget: budget.map(|budget| (budget, Mutex::default())),
            quiet,
            last_line: Mutex::default(),
            silent: AtomicBool::default(),
        }
    }

    /// How long an operation may stand still. Once another one has waited to its end, the command is about to fail: what
    /// it still asks for, to clean up, waits only briefly for a service that is silent.
    fn patience(&self, operation: &str, patience: Patience) -> Patience {
        let earlier = self.operations().get(operation).map(|waited| waited.brief);
        let brief = earlier.unwrap_or_else(|| self.silent.load(Ordering::Relaxed));
        if brief { patience.quick() } else { patience }
    }

    /// The service has answered.
    fn answered(&self) {
        self.silent.store(false, Ordering::Relaxed);
    }

    /// Says what is waited for. Of several requests that wait at once, one line is enough.
    fn say(&self, line: &str) {
        let mut last = lock(&self.last_line);
        if last.is_none_or(|last| last.elapsed() >= self.quiet) {
            *last = Some(Instant::now());
            self.say.line(line);
        }
    }

    fn operations(&self) -> MutexGuard<'_, HashMap<String, Waited>> {
        lock(&self.operations)
    }

    /// How much longer an operation may wait without a byte.
    fn left(&self, operation: &str, patience: &Patience) -> Duration {
        let waited = self.operations().get(operation).copied().unwrap_or_default();
        let left = patience.total.saturating_sub(waited.time);
        match &self.budget {
            // Even when the budget is used up, a service that answers quickly is heard.
            Some((budget, used)) => left.min(budget.saturating_sub(*lock(used)).max(Duration::from_secs(1))),
            None => left,
        }
    }

    /// Adds a wait of an operation.
    fn stalled(&self, operation: &str, patience: &Patience, now: Duration) -> Stalled {
        let spent = self.budget.as_ref().is_some_and(|(budget, used)| {
            let mut used = lock(used);
            *used += now;
            *used >= *budget
        });
        let mut operations = self.operations();
        if operations.len() >= REMEMBERED {
            operations.clear();
        }
        let waited = operations.entry(operation.to_owned()).or_default();
        waited.attempts += 1;
        waited.time += now;
        waited.brief = *patience == patience.quick();
        // What is left would be too short for another attempt.
        let short = patience.total.saturating_sub(waited.time) < patience.stall / 8;
        waited.over = waited.attempts >= patience.stalls || short || spent;
        self.silent.fetch_or(waited.over, Ordering::Relaxed);
        Stalled { waited: *waited, now }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The id that all attempts of an operation have. The SDK sends it as a header.
fn operation(request: &HttpRequest) -> Option<String> {
    request.headers().get("amz-sdk-invocation-id").map(str::to_owned)
}

/// Which attempt a request is, and how many there are at most. The SDK sends them as a header.
fn attempt(request: &HttpRequest) -> Option<(u32, u32)> {
    let header = request.headers().get("amz-sdk-request")?;
    let number = |name: &str| {
        let value = header.split("; ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok())
    };
    Some((number("attempt")?, number("max")?))
}

/// The path of a URL, without the query.
fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("/", |begin| &rest[begin..]);
    path.split('?').next().unwrap_or(path)
}

/// Whether the service copies or assembles bytes before it answers.
fn is_long(request: &HttpRequest) -> bool {
    request.headers().get("x-amz-copy-source").is_some()
        || (request.method() == "POST" && request.uri().contains("uploadId="))
}

/// A client whose requests end if they stand still.
#[derive(Debug, Clone)]
pub(super) struct PatientClient {
    pub(super) inner: SharedHttpClient,
    pub(super) patience: Patience,
    pub(super) waits: Arc<Waits>,
}

impl HttpClient for PatientClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(PatientConnector {
            inner,
            patience: self.patience,
            waits: self.waits.clone(),
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.inner.connector_metadata()
    }
}

#[derive(Debug, Clone)]
struct PatientConnector {
    inner: SharedHttpConnector,
    patience: Patience,
    waits: Arc<Waits>,
}

impl HttpConnector for PatientConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        HttpConnectorFuture::new(async move { this.exchange(request).await })
    }
}

impl PatientConnector {
    async fn exchange(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let operation = operation(&request).unwrap_or_default();
        let patience = self.waits.patience(&operation, self.patience);
        let exchange = Arc::new(Exchange {
            operation,
            what: format!("{} {}", request.method(), path(request.uri())),
            attempt: attempt(&request).unwrap_or((1, 1)),
            patience,
            waits: self.waits,
        });
        let allowed = if is_long(&request) { patience.long() } else { patience.stall };
        let progress = Arc::new(Progress::new());
        let request = request.map(|sent| body::sent(sent, &progress));
        let mut answer = std::pin::pin!(self.inner.call(request));
        let mut said = false;
        let response = loop {
            let left = exchange.waits.left(&exchange.operation, &patience);
            let last = progress.last();
            // The bytes that were handed over last may be on their way for as long as all bytes before them took. A
            // slow line must not count as standing still.
            let limit = last + allowed.max(progress.pace()).min(left);
            let quiet = last + patience.quiet;
            let next = if said || quiet > limit { limit } else { quiet };
            tokio::select! {
                answer = &mut answer => break answer?,
                () = tokio::time::sleep_until(next.into()) => {}
            }
            if progress.last() > last {
                said = false;
            } else if next == limit {
                return Err(ConnectorError::timeout(exchange.stalled(limit.duration_since(last)).into()));
            } else {
                said = true;
                exchange.say_waiting(last.elapsed());
            }
        };
        exchange.waits.answered();
        exchange.pause(&response).await;
        Ok(response.map(|received| body::received(received, &exchange)))
    }
}

/// One attempt of an operation.
#[derive(Debug)]
struct Exchange {
    operation: String,
    /// Method and path, for people. The path has no secret.
    what: String,
    attempt: (u32, u32),
    patience: Patience,
    waits: Arc<Waits>,
}

impl Exchange {
    fn stalled(&self, now: Duration) -> Stalled {
        self.waits.stalled(&self.operation, &self.patience, now)
    }

    fn say_waiting(&self, now: Duration) {
        let again = match self.attempt.0 {
            1 => String::new(),
            number => format!(", attempt {number}"),
        };
        let service = &self.waits.service;
        self.waits.say(&format!(
            "Waiting for {service}: no byte for {} s ({}{again})",
            now.as_secs(),
            self.what
        ));
    }

    /// Waits as long as the service asks to.
    async fn pause(&self, response: &HttpResponse) {
        if response.status().as_u16() < 400 || self.attempt.0 >= self.attempt.1 {
            return;
        }
        let Some(asked) = response.headers().get("retry-after").and_then(retry_after) else { return };
        let pause = asked.min(self.patience.pause);
        if pause >= self.patience.quiet {
            let service = &self.waits.service;
            self.waits.say(&format!(
                "Waiting {} s: {service} asks for a pause with status {} ({})",
                pause.as_secs(),
                response.status().as_u16(),
                self.what
            ));
        }
        tokio::time::sleep(pause).await;
    }
}

/// The value of `Retry-After`: seconds, or a date. Source: RFC 9110, section 10.2.3.
fn retry_after(text: &str) -> Option<Duration> {
    match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => errors::date(text)?.duration_since(SystemTime::now()).ok(),
    }
}

/// How far the body of a request has gone.
#[derive(Debug)]
struct Progress {
    begun: Instant,
    /// When the last bytes went, in milliseconds since then.
    last: AtomicU64,
}

impl Progress {
    fn new() -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(0) }
    }

    fn advance(&self) {
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.begun + self.pace()
    }

    /// How long the bytes so far took.
    fn pace(&self) -> Duration {
        Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

/// The pauses between attempts. A longer one says why.
#[derive(Debug)]
pub(super) struct SayingSleep(pub(super) Arc<Waits>);

impl AsyncSleep for SayingSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        // Timers of the SDK that wait for something else sleep here too, and longer than any pause.
        if duration > self.0.quiet && duration <= LONGEST_BACKOFF {
            let (service, seconds) = (&self.0.service, duration.as_secs());
            self.0.say(&format!("Waiting {seconds} s before the next attempt: {service} has failed"));
        }
        Sleep::new(tokio::time::sleep(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_an_operation_has_given_up_others_wait_briefly_until_the_service_answers() {
        let patience = Patience::of(Duration::from_secs(60));
        let waits = Waits::new(Say::nothing(), "s".into(), patience.quiet, None);
        assert!(!waits.stalled("other", &patience, Duration::from_secs(60)).is_over());
        assert_eq!(waits.patience("new", patience), patience);
        while !waits.stalled("one", &patience, Duration::from_secs(60)).is_over() {}
        assert_eq!(waits.patience("new", patience), patience.quick());
        assert!(!waits.stalled("new", &patience.quick(), Duration::from_secs(5)).is_over());
        assert_eq!(waits.patience("new", patience), patience.quick(), "its second attempt");
        assert_eq!(waits.patience("other", patience), patience, "it waits already");
        waits.answered();
        assert_eq!(waits.patience("third", patience), patience);
    }

    #[test]
    fn an_operation_gives_up_within_five_minutes_and_a_check_within_fifteen_seconds() {
        let patience = Patience::of(Duration::from_secs(60));
        let waits = |patience: &Patience, budget: Option<Duration>| {
            let waits = Waits::new(Say::nothing(), "s".into(), patience.quiet, budget);
            let mut total = Duration::ZERO;
            loop {
                let now = patience.stall.min(waits.left("one", patience));
                total += now;
                let stalled = waits.stalled("one", patience, now);
                if stalled.waited.over {
                    return (stalled.waited.attempts, total, waits);
                }
            }
        };
        let (attempts, total, _) = waits(&patience, None);
        assert_eq!((attempts, total), (5, Duration::from_secs(290)));
        assert_eq!(patience.long() * 2, total, "the service may copy for half of that");
        assert_eq!(waits(&patience.timely(), None).1, Duration::from_secs(40));
        let (attempts, total, spent) = waits(&patience.quick(), Some(Duration::from_secs(12)));
        assert_eq!((attempts, total), (2, Duration::from_secs(10)));
        // The next operations of the same storage wait for the rest of the budget only.
        assert_eq!(spent.left("two", &patience.quick()), Duration::from_secs(2));
        assert!(spent.stalled("two", &patience.quick(), Duration::from_secs(2)).waited.over);
        assert_eq!(spent.left("three", &patience.quick()), Duration::from_secs(1));
    }

    #[test]
    fn a_line_has_the_path_without_the_query() {
        assert_eq!(path("https://s3.example.com/b/reg/app?uploadId=secret"), "/b/reg/app");
        assert_eq!((path("http://b.example.com"), path("/b?x")), ("/", "/b"));
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), None, "it is over");
        assert!(retry_after("Sun, 06 Nov 2094 08:49:37 GMT").unwrap() > Duration::from_secs(1000));
        assert_eq!(retry_after("soon"), None);
    }
}
