//! The client of the service: timeouts, retries, and what its answers show.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef, InterceptorContext,
};
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction, RetryPartition, TokenBucket};
use aws_sdk_s3::config::{
    Builder, ConfigBag, Intercept, RequestChecksumCalculation, ResponseChecksumValidation, RuntimeComponents,
    SharedAsyncSleep, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata};
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::operation::upload_part::UploadPartError;

use super::bucket_location::BucketLocation;
use super::errors;
use super::patience::{LONGEST_BACKOFF, Patience, PatientClient, SayingSleep, Stalled, Waits};
use crate::settings::S3Settings;
use raas_base::Say;

/// How long the client waits and how often it tries.
#[derive(Debug, Clone)]
pub(super) struct RetryPolicy {
    /// How many attempts a request has.
    pub(super) attempts: u32,
    /// The longest wait before the second attempt. It doubles with each attempt; the client waits a random part of it.
    pub(super) first_backoff: Duration,
    /// The longest pause between two attempts.
    pub(super) longest_backoff: Duration,
    /// How long a request may stand still.
    pub(super) patience: Patience,
    /// How long all requests together may stand still, if that is limited.
    pub(super) budget: Option<Duration>,
}

/// How long a request may stand still if nothing else is set.
pub(super) const STALL: Duration = Duration::from_secs(60);

impl RetryPolicy {
    /// For commands that need the service.
    pub(super) fn many(settings: &S3Settings) -> Self {
        // To the SDK, no pause at all is no setting.
        let pause = settings.longest_pause.map_or(Duration::MAX, |pause| pause.max(Duration::from_millis(1)));
        let patience = Patience::of(settings.stall_timeout.unwrap_or(STALL));
        Self {
            attempts: 7,
            first_backoff: Duration::from_millis(500).min(pause),
            longest_backoff: LONGEST_BACKOFF.min(pause),
            patience: Patience { pause: patience.pause.min(pause), ..patience },
            budget: None,
        }
    }

    /// For commands that can go on without the service. A check of `raas status` makes a few requests: together they stand
    /// still for 12 s at most.
    pub(super) fn few(settings: &S3Settings) -> Self {
        let many = Self::many(settings);
        Self { attempts: 2, patience: many.patience.quick(), budget: Some(Duration::from_secs(12)), ..many }
    }

    /// The attempts of an operation. `first` is the longest pause before the second of them.
    fn retries(&self, attempts: u32, first: Duration) -> RetryConfig {
        RetryConfig::standard()
            .with_max_attempts(attempts)
            .with_initial_backoff(first.min(self.longest_backoff))
            .with_max_backoff(self.longest_backoff)
    }
}

/// What the answers of the service show.
#[derive(Debug, Default)]
pub(super) struct ServiceObservations {
    requests: AtomicU64,
    /// How many seconds the service's clock was ahead of this machine's, at its last answer.
    ahead: AtomicI64,
}

impl ServiceObservations {
    /// How many requests were sent, with all repetitions.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many seconds the service's clock is ahead of this machine's; negative if it is behind.
    pub(super) fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }
}

/// The client, and what the settings of single requests are made of.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) client: Client,
    http: PatientClient,
    retry_policy: RetryPolicy,
}

impl Requests {
    pub(super) fn new(
        config: &SdkConfig,
        location: &BucketLocation,
        retry_policy: &RetryPolicy,
        observations: &Arc<ServiceObservations>,
        say: &Say,
    ) -> Self {
        let waits = Arc::new(Waits::new(
            say.clone(),
            location.service(),
            retry_policy.patience.quiet,
            retry_policy.budget,
        ));
        let http = PatientClient {
            inner: config.http_client().expect("`aws::load` sets a client"),
            patience: retry_policy.patience,
            waits: waits.clone(),
        };
        let retry = retry_policy.retries(retry_policy.attempts, retry_policy.first_backoff);
        let timeouts = TimeoutConfig::builder().connect_timeout(Duration::from_secs(5)).build();
        let mut builder = Builder::from(config)
            .force_path_style(location.path_style())
            .retry_config(retry)
            // The attempts of each request are bounded. The SDK's quota is shared by all clients of the process: one
            // bucket that hangs would use up the attempts of the others.
            .retry_partition(RetryPartition::custom("raas").token_bucket(TokenBucket::unlimited()).build())
            .timeout_config(timeouts)
            .http_client(http.clone())
            .sleep_impl(SharedAsyncSleep::new(SayingSleep(waits)))
            // `PatientClient` does this for requests and answers alike.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // raas sends a checksum of its own: the SHA-256, as a header.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .retry_classifier(DamagedOnTheWay)
            .retry_classifier(Refused)
            .retry_classifier(StandsStill)
            .interceptor(Watch(observations.clone()));
        if let Some(endpoint) = &location.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        Self { client: Client::from_conf(builder.build()), http, retry_policy: retry_policy.clone() }
    }

    /// The settings for requests that are neither timely nor quick.
    pub(super) fn patient(&self) -> Builder {
        self.with(self.http.patience)
    }

    /// The settings for requests that are useless if they come late: writes of a lease or of the pointer.
    pub(super) fn timely(&self) -> Builder {
        self.with(self.http.patience.timely())
            .retry_config(self.retry_policy.retries(4, Duration::from_secs(1)))
    }

    /// The settings for requests of an interrupted run, and for finding out whether the service answers: at most two
    /// attempts.
    pub(super) fn quick(&self) -> Builder {
        let retry = self.retry_policy.retries(2, Duration::from_millis(200));
        self.with(self.http.patience.quick()).retry_config(retry)
    }

    fn with(&self, patience: Patience) -> Builder {
        Builder::new().http_client(PatientClient { patience, ..self.http.clone() })
    }
}

#[derive(Debug)]
struct Watch(Arc<ServiceObservations>);

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "Watch"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(theirs) = context.response().headers().get("date").and_then(errors::date) {
            let seconds = |time: SystemTime| {
                time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
            };
            self.0.ahead.store(seconds(theirs) - seconds(SystemTime::now()), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Retries a request if the service received other bytes than were sent.
#[derive(Debug)]
struct DamagedOnTheWay;

impl ClassifyRetry for DamagedOnTheWay {
    fn name(&self) -> &'static str {
        "DamagedOnTheWay"
    }

    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error =
            context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        let code = error.and_then(|error| {
            let put = || error.downcast_ref::<PutObjectError>()?.code();
            error.downcast_ref::<UploadPartError>().map_or_else(put, ProvideErrorMetadata::code)
        });
        match code {
            Some(code) if errors::DAMAGED.contains(&code) => RetryAction::transient_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }
}

/// Retries a request that the service had no time for. The SDK retries 500, 502, 503 and 504 itself, and 429 only with
/// an error code, which an answer to HEAD never has.
#[derive(Debug)]
struct Refused;

impl ClassifyRetry for Refused {
    fn name(&self) -> &'static str {
        "Refused"
    }

    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response().map(|response| response.status().as_u16()) {
            Some(429) => RetryAction::throttling_error(),
            Some(408) => RetryAction::transient_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }
}

/// Ends the attempts of an operation that has stood still for too long.
#[derive(Debug)]
struct StandsStill;

impl ClassifyRetry for StandsStill {
    fn name(&self) -> &'static str {
        "StandsStill"
    }

    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(Result::err);
        let is_over = error.and_then(|error| Stalled::among(error)).is_some_and(|stalled| stalled.is_over());
        if is_over { RetryAction::RetryForbidden } else { RetryAction::NoActionIndicated }
    }
}
