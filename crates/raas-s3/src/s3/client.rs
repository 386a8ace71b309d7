//! The client of the service: patience, retries, and a count of what it asks.

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

use super::errors;
use super::place::Place;

/// How patient the client is.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// How often it asks before it gives up.
    pub(super) attempts: u32,
    /// The wait before the second time, at most; it doubles each time, and a random part of it is waited.
    pub(super) first_wait: Duration,
    /// For an answer to a small request.
    pub(super) answer: Duration,
    /// For a transfer that stands still.
    pub(super) standstill: Duration,
}

impl Patience {
    /// For commands that can do without the service.
    pub(super) const HASTY: Self = Self {
        attempts: 2,
        first_wait: Duration::from_millis(500),
        answer: Duration::from_secs(10),
        standstill: Duration::from_secs(10),
    };
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 7,
            first_wait: Duration::from_millis(500),
            answer: Duration::from_secs(60),
            standstill: Duration::from_secs(20),
        }
    }
}

/// For a request that carries a part or makes the service move bytes: a slow line takes its time, and one that
/// stands still is found out sooner.
const TRANSFER: Duration = Duration::from_secs(15 * 60);

/// What all requests together show.
#[derive(Debug, Default)]
pub(super) struct Seen {
    requests: AtomicU64,
    /// By how many seconds the service's clock was ahead of ours when it last answered.
    ahead: AtomicI64,
}

impl Seen {
    /// How many requests were made, repeated ones each time.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// By how many seconds the service's clock is ahead of ours; behind, if it is negative.
    pub(super) fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }
}

pub(super) fn client(config: &SdkConfig, place: &Place, patience: &Patience, seen: &Arc<Seen>) -> Client {
    let retry = RetryConfig::standard()
        .with_max_attempts(patience.attempts)
        .with_initial_backoff(patience.first_wait)
        .with_max_backoff(Duration::from_secs(20).max(patience.first_wait));
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(patience.answer)
        .build();
    let mut builder = Builder::from(config)
        .force_path_style(place.path_style())
        .retry_config(retry)
        .timeout_config(timeouts)
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().grace_period(patience.standstill).build(),
        )
        // raas sends its own: SHA-256, in the request's head.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_classifier(DamagedOnTheWay)
        .interceptor(Watch(seen.clone()));
    if let Some(endpoint) = &place.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    Client::from_conf(builder.build())
}

/// For requests that carry bytes, or make the service move some.
pub(super) fn patient() -> Builder {
    Builder::new().timeout_config(TimeoutConfig::builder().operation_attempt_timeout(TRANSFER).build())
}

/// For what is worth nothing if it comes late: see `snapshot/turn.rs`.
pub(super) fn prompt() -> Builder {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(20)).build();
    Builder::new().timeout_config(timeouts).retry_config(RetryConfig::standard().with_max_attempts(4))
}

/// For what is done on the way out, and for seeing whether the service is there: once again at most, and soon.
pub(super) fn hasty() -> Builder {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(5)).build();
    let retry = RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(200));
    Builder::new().timeout_config(timeouts).retry_config(retry)
}

#[derive(Debug)]
struct Watch(Arc<Seen>);

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

/// The service got other bytes than were sent: the same request again gets them through.
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
            Some("BadDigest" | "XAmzContentChecksumMismatch" | "InvalidDigest") => {
                RetryAction::transient_error()
            }
            _ => RetryAction::NoActionIndicated,
        }
    }
}
