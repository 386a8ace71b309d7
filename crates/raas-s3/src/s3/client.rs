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
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_s3::config::{
    Builder, ConfigBag, Intercept, RequestChecksumCalculation, ResponseChecksumValidation, RuntimeComponents,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata};
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::operation::upload_part::UploadPartError;

use super::bucket_location::BucketLocation;
use super::errors;

/// How long the client waits and how often it tries.
#[derive(Debug, Clone)]
pub(super) struct RetryPolicy {
    /// How many attempts a request has.
    pub(super) attempts: u32,
    /// The longest wait before the second attempt. It doubles with each attempt; the client waits a random part of it.
    pub(super) first_backoff: Duration,
    /// How long a small request may take.
    pub(super) response_timeout: Duration,
    /// How long a transfer may stand still.
    pub(super) stall_timeout: Duration,
}

impl RetryPolicy {
    /// For commands that can go on without the service.
    pub(super) const QUICK: Self = Self {
        attempts: 2,
        first_backoff: Duration::from_millis(500),
        response_timeout: Duration::from_secs(10),
        stall_timeout: Duration::from_secs(10),
    };
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 7,
            first_backoff: Duration::from_millis(500),
            response_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(20),
        }
    }
}

/// How long a request may take that carries bytes, or makes the service copy bytes. A transfer that stands still fails
/// sooner.
const TRANSFER: Duration = Duration::from_secs(15 * 60);

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

pub(super) fn client(
    config: &SdkConfig,
    location: &BucketLocation,
    retry_policy: &RetryPolicy,
    observations: &Arc<ServiceObservations>,
) -> Client {
    let retry = RetryConfig::standard()
        .with_max_attempts(retry_policy.attempts)
        .with_initial_backoff(retry_policy.first_backoff)
        .with_max_backoff(Duration::from_secs(20).max(retry_policy.first_backoff));
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(retry_policy.response_timeout)
        .build();
    let mut builder = Builder::from(config)
        .force_path_style(location.path_style())
        .retry_config(retry)
        .timeout_config(timeouts)
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().grace_period(retry_policy.stall_timeout).build(),
        )
        // raas sends a checksum of its own: the SHA-256, as a header.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_classifier(DamagedOnTheWay)
        .interceptor(Watch(observations.clone()));
    if let Some(endpoint) = &location.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    Client::from_conf(builder.build())
}

/// The settings for requests that carry bytes, or make the service copy bytes.
pub(super) fn transfer() -> Builder {
    Builder::new().timeout_config(TimeoutConfig::builder().operation_attempt_timeout(TRANSFER).build())
}

/// The settings for requests that are useless if they come late: writes of a lease or of the pointer.
pub(super) fn timely() -> Builder {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(20)).build();
    Builder::new().timeout_config(timeouts).retry_config(RetryConfig::standard().with_max_attempts(4))
}

/// The settings for requests of an interrupted run, and for finding out whether the service answers: at most two attempts.
pub(super) fn quick() -> Builder {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(5)).build();
    let retry = RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(200));
    Builder::new().timeout_config(timeouts).retry_config(retry)
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
