//! What a refusal of the service means, and what to do about it.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::ProvideCredentials as _;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

use super::Shared;
use super::bucket_location::BucketLocation;
use super::patience::{Stalled, Waited};
use raas_publish::storage::StorageError;

/// An operation that needs a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Action {
    /// The permission's name in policies.
    permission: &'static str,
    /// Whether it is granted on objects. Otherwise it is granted on the bucket.
    objects: bool,
}

impl Action {
    pub(super) const PUT: Self = Self::on_objects("s3:PutObject");
    pub(super) const GET: Self = Self::on_objects("s3:GetObject");
    pub(super) const DELETE: Self = Self::on_objects("s3:DeleteObject");
    pub(super) const LIST_PARTS: Self = Self::on_objects("s3:ListMultipartUploadParts");
    pub(super) const LIST: Self = Self::on_bucket("s3:ListBucket");
    pub(super) const LIST_UPLOADS: Self = Self::on_bucket("s3:ListBucketMultipartUploads");

    const fn on_objects(permission: &'static str) -> Self {
        Self { permission, objects: true }
    }

    pub(super) const fn on_bucket(permission: &'static str) -> Self {
        Self { permission, objects: false }
    }

    /// The permission's name in policies.
    pub(super) fn permission(self) -> &'static str {
        self.permission
    }
}

/// The error codes for other bytes than were sent.
pub(super) const DAMAGED: [&str; 4] =
    ["BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"];

/// What is known of a failed request.
#[derive(Debug, Clone, Default)]
pub(super) struct FailedRequest {
    /// The HTTP status, if the service has answered.
    pub(super) status: Option<u16>,
    /// The service's error code.
    pub(super) code: Option<String>,
    /// The service's message, or why the connection failed.
    said: String,
    /// The bucket's region, if the service says it.
    region: Option<String>,
    /// The time of the answer by the service's clock and by this machine's.
    dates: Option<(SystemTime, SystemTime)>,
    /// Why there are no credentials, if that is the reason.
    no_credentials: Option<String>,
    /// How long the operation stood still, if that ended it.
    waited: Option<Waited>,
}

impl FailedRequest {
    pub(super) fn of<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E, HttpResponse>) -> Self {
        let response = error.raw_response();
        let header = |name: &str| response.and_then(|response| response.headers().get(name));
        let service = error.as_service_error();
        let mut failed = FailedRequest {
            status: response.map(|response| response.status().as_u16()),
            code: service.and_then(|error| error.code()).map(str::to_owned),
            region: header("x-amz-bucket-region").map(str::to_owned),
            dates: header("date").and_then(date).map(|theirs| (theirs, SystemTime::now())),
            waited: Stalled::among(error).map(|stalled| stalled.waited),
            ..FailedRequest::default()
        };
        if let Some(body) = response.and_then(|response| response.body().bytes()) {
            failed.region = failed.region.or_else(|| element(&String::from_utf8_lossy(body), "Region"));
        }
        failed.said = match (service, failed.status) {
            (Some(error), Some(status)) => match error.message() {
                Some(message) => message.to_owned(),
                None => format!("the service answered with status {status}{}", begun(response)),
            },
            // No answer, or an answer that cannot be parsed.
            _ => causes(error),
        };
        failed
    }

    /// Whether the service said that all is well, in words that are not those of the operation.
    pub(super) fn succeeded_unreadably(&self) -> bool {
        self.code.is_none() && self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether the object or upload does not exist.
    pub(super) fn absent(&self) -> bool {
        match self.code.as_deref() {
            Some(code) => matches!(code, "NoSuchKey" | "NotFound" | "NoSuchUpload"),
            None => self.status == Some(404),
        }
    }

    /// Whether the reason may be the checksum of the request. Other bytes than were sent are another reason.
    pub(super) fn may_refuse_checksum(&self) -> bool {
        let code = self.code.as_deref();
        match self.status {
            Some(501) => true,
            Some(400) if code.is_some_and(|code| DAMAGED.contains(&code)) => false,
            Some(400) => {
                matches!(
                    code,
                    None | Some("InvalidArgument" | "InvalidRequest" | "NotImplemented" | "BadRequest")
                ) || self.names_checksum()
            }
            _ => false,
        }
    }

    /// Whether the service's message is about checksums.
    pub(super) fn names_checksum(&self) -> bool {
        self.said.to_ascii_lowercase().contains("checksum")
    }

    /// Whether the service does not have this operation.
    pub(super) fn unsupported(&self) -> bool {
        matches!(self.code.as_deref(), Some("NotImplemented" | "MethodNotAllowed" | "XNotImplemented"))
            || matches!(self.status, Some(405 | 501))
    }

    /// Whether the credentials lack the permission.
    pub(super) fn denied(&self) -> bool {
        matches!(self.code.as_deref(), Some("AccessDenied" | "AllAccessDisabled"))
            || (self.code.is_none() && self.status == Some(403))
    }

    /// The error code that AWS would use.
    fn known_code(&self) -> &str {
        match self.code.as_deref().unwrap_or_default() {
            // Garage has other messages for wrong credentials.
            "AccessDenied" if self.said.contains("No such key") => "InvalidAccessKeyId",
            "AccessDenied" if self.said.contains("Invalid signature") => "SignatureDoesNotMatch",
            code => code,
        }
    }

    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

/// An HTTP date.
pub(super) fn date(text: &str) -> Option<SystemTime> {
    DateTime::from_str(text, DateTimeFormat::HttpDate).ok()?.try_into().ok()
}

/// The text of an XML element.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once("</")?;
    Some(text.to_owned())
}

/// The beginning of an answer that cannot be parsed.
fn begun(response: Option<&HttpResponse>) -> String {
    /// Enough characters to see what kind of answer it is.
    const MOST: usize = 200;
    let body = response.and_then(|response| response.body().bytes()).unwrap_or_default();
    let text: String = String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(MOST).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

/// An error and its causes, without repetitions.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        next = error.source();
    }
    text
}

/// The service's message, as the cause of an error.
#[derive(Debug)]
struct Said(String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Said {}

impl Shared {
    /// The error of a failed request. `what` says what failed: `cannot store x`.
    pub(super) async fn explain<E: ProvideErrorMetadata + Error + 'static>(
        &self,
        what: impl Into<String>,
        action: Action,
        error: &SdkError<E, HttpResponse>,
    ) -> StorageError {
        self.leftovers.hold_if_interrupted().await;
        let mut failed = FailedRequest::of(error);
        if failed.status.is_none() {
            // No answer: perhaps no request was sent, since there are no credentials.
            failed.no_credentials =
                self.credentials.provide_credentials().await.err().map(|error| causes(&error));
        }
        explain(&self.location, what.into(), action, &failed)
    }
}

/// The difference of the clocks that a service accepts.
const SKEW: Duration = Duration::from_secs(15 * 60);

fn explain(location: &BucketLocation, what: String, action: Action, failed: &FailedRequest) -> StorageError {
    let bucket = &location.bucket;
    let (found, hint) = meaning(location, action, failed);
    let code = failed.code.as_deref().map(|code| format!("{code}: ")).unwrap_or_default();
    let said = Said(format!("{code}{}", failed.said));
    let error = StorageError::new(format!("{what} in bucket {bucket}: {found}"), said).hint(hint);
    if failed.status.is_none() && failed.no_credentials.is_none() { error.unanswered() } else { error }
}

/// The reason, and the hint.
fn meaning(location: &BucketLocation, action: Action, failed: &FailedRequest) -> (String, String) {
    let vendor = &location.vendor;
    let bucket = &location.bucket;
    if let Some(reason) = &failed.no_credentials {
        return (
            format!("there are no credentials to ask with ({reason})"),
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or section [aws] of raas.cfg"
                .into(),
        );
    }
    let Some(status) = failed.status else {
        let waited = failed.waited.map(|waited| format!(" ({waited})")).unwrap_or_default();
        return (
            format!("{} does not answer{waited}", location.service()),
            format!(
                "check the network, the proxy, and `s3_endpoint` in section [{vendor}] of raas.cfg; then do the same again"
            ),
        );
    };
    match failed.known_code() {
        "NoSuchBucket" => (
            format!("there is no such bucket at {}", location.service()),
            format!(
                "make it with `raas setup {vendor} --create`, or correct `s3_bucket` in section [{vendor}] of raas.cfg"
            ),
        ),
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired" => (
            "the credentials have expired".into(),
            "get new ones (`aws sso login`, or a new session token) and do the same again".into(),
        ),
        "InvalidAccessKeyId" | "InvalidToken" | "InvalidClientTokenId" => (
            "the service does not know the access key".into(),
            "check AWS_ACCESS_KEY_ID, AWS_PROFILE, or section [aws] of raas.cfg".into(),
        ),
        "SignatureDoesNotMatch" => (
            "the secret key is not the one of the access key".into(),
            "check AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or section [aws] of raas.cfg".into(),
        ),
        "RequestTimeTooSkewed" => {
            (skew(failed), "set this machine's clock: `timedatectl set-ntp true`".into())
        }
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
            moved(location, failed)
        }
        _ if status < 300 && failed.waited.is_some() => {
            let waited = failed.waited.unwrap_or_default();
            (
                format!("{} began to answer and then stood still ({waited})", location.service()),
                "check the network and the proxy; then do the same again".into(),
            )
        }
        code if status < 300 && !code.is_empty() => (
            format!("{} began to answer as if all were well, and then failed with {code}", location.service()),
            "do the same again later: what is stored is not sent again. If it goes on, look into the service's own log"
                .into(),
        ),
        "SlowDown" | "Throttling" | "ThrottlingException" | "TooManyRequests" | "TooManyRequestsException"
        | "ServiceUnavailable" | "RequestLimitExceeded" => slower(),
        code if DAMAGED.contains(&code) => (
            "the service got other bytes than were sent, again and again".into(),
            "look for a proxy, a line or memory that damages what passes".into(),
        ),
        "NoSuchUpload" => (
            "the upload has gone: another run may have removed it".into(),
            "do the same again: what is stored is not sent again".into(),
        ),
        "InvalidBucketName" => (
            "that is no name for a bucket".into(),
            format!(
                "correct `s3_bucket` in section [{vendor}] of raas.cfg: 3 to 63 lower-case letters, digits and hyphens"
            ),
        ),
        "NoSuchKey" => ("there is no such object".into(), "push the image again".into()),
        _ if matches!(status, 301 | 307 | 308) => moved(location, failed),
        _ if failed.denied() => (
            format!("the credentials lack the permission {}", action.permission),
            format!(
                "grant {} on {} to the user or role whose credentials raas uses",
                action.permission,
                if action.objects { location.objects_arn() } else { location.arn() }
            ),
        ),
        _ if failed.may_refuse_checksum() && failed.names_checksum() => (
            format!("{} refuses the checksum of the request", location.service()),
            format!(
                "set `s3_checksums = auto` in section [{vendor}] of raas.cfg: then the signature covers the bytes instead"
            ),
        ),
        _ if failed.unsupported() => (
            format!("{} does not have this operation ({})", location.service(), action.permission),
            "use a service that has it".into(),
        ),
        _ if matches!(status, 408 | 429) => slower(),
        _ if status >= 500 => (
            format!("the service failed with status {status}, again and again"),
            "do the same again later: what is stored is not sent again".into(),
        ),
        _ if status < 300 => (
            "the service's answer cannot be read".into(),
            format!("check what answers at {}: it may be no S3 service", location.service()),
        ),
        _ => (
            format!("the service refuses with status {status}"),
            format!("check the settings of bucket {bucket} in section [{vendor}] of raas.cfg"),
        ),
    }
}

fn slower() -> (String, String) {
    (
        "the service asks for a slower pace, again and again".into(),
        "do the same again later: what is stored is not sent again".into(),
    )
}

fn moved(location: &BucketLocation, failed: &FailedRequest) -> (String, String) {
    let vendor = &location.vendor;
    match &failed.region {
        Some(region) => (
            format!("the bucket is in region {region}, and not in {}", location.region),
            format!("set `s3_region = {region}` in section [{vendor}] of raas.cfg"),
        ),
        None => (
            format!("the bucket is not in region {}", location.region),
            format!("set `s3_region` in section [{vendor}] of raas.cfg to the region of the bucket"),
        ),
    }
}

fn skew(failed: &FailedRequest) -> String {
    let Some((theirs, ours)) = failed.dates else {
        return "this machine's clock and the service's are too far apart".into();
    };
    let (apart, way) = match theirs.duration_since(ours) {
        Ok(behind) => (behind, "behind"),
        Err(error) => (error.duration(), "ahead of"),
    };
    if apart < SKEW / 3 {
        // The clock of the answer's header agrees, so another clock of the service differs.
        return "the service's clocks are apart, or the request took too long to arrive".into();
    }
    format!("this machine's clock is {} minutes {way} the service's", apart.as_secs() / 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::S3Settings;

    fn told(failed: FailedRequest) -> String {
        let settings =
            S3Settings { bucket: "bytes".into(), prefix: Some("reg".into()), ..S3Settings::default() };
        let location = BucketLocation::new(&"acme".parse().unwrap(), &settings, "us-east-1");
        let (message, cause, hint) =
            explain(&location, "cannot store x".into(), Action::PUT, &failed).into_parts();
        format!("{message} | {cause} | {}", hint.unwrap())
    }

    fn coded(status: u16, code: &str) -> FailedRequest {
        FailedRequest {
            status: Some(status),
            code: Some(code.into()),
            said: "words".into(),
            ..FailedRequest::default()
        }
    }

    #[test]
    fn the_beginning_of_an_unknown_answer_is_shown() {
        let answer = |body: String| HttpResponse::new(200.try_into().unwrap(), body.into());
        assert_eq!(begun(Some(&answer("<Odd>\u{1b}[1m\n</Odd>".into()))), ": <Odd>[1m</Odd>");
        assert_eq!(begun(Some(&answer("ä".repeat(1000)))).chars().count(), 202);
        assert_eq!((begun(Some(&answer(String::new()))), begun(None)), (String::new(), String::new()));
    }

    #[test]
    fn each_refusal_has_a_hint() {
        let now = SystemTime::now();
        let skewed = FailedRequest {
            dates: Some((now + Duration::from_secs(3600), now)),
            ..coded(403, "RequestTimeTooSkewed")
        };
        let table = [
            (coded(403, "AccessDenied"), "lack the permission s3:PutObject"),
            (coded(403, "AccessDenied"), "grant s3:PutObject on arn:aws:s3:::bytes/reg/*"),
            (coded(404, "NoSuchBucket"), "raas setup acme --create"),
            (coded(400, "ExpiredToken"), "credentials have expired"),
            (skewed, "clock is 60 minutes behind the service's"),
            (
                FailedRequest { region: Some("eu-west-1".into()), ..coded(301, "PermanentRedirect") },
                "set `s3_region = eu-west-1` in section [acme]",
            ),
            (FailedRequest { status: Some(301), ..FailedRequest::default() }, "not in region us-east-1"),
            (coded(503, "SlowDown"), "slower pace"),
            (
                FailedRequest { said: "Forbidden: No such key: GK1".into(), ..coded(403, "AccessDenied") },
                "does not know the access key",
            ),
            (
                FailedRequest { said: "Forbidden: Invalid signature".into(), ..coded(403, "AccessDenied") },
                "secret key is not the one",
            ),
            (coded(500, "InternalError"), "failed with status 500"),
            (FailedRequest::default(), "https://s3.us-east-1.amazonaws.com does not answer"),
            (
                FailedRequest { no_credentials: Some("nothing found".into()), ..FailedRequest::default() },
                "no credentials to ask with (nothing found)",
            ),
            (coded(501, "NotImplemented"), "does not have this operation"),
            (coded(200, "InternalError"), "as if all were well, and then failed with InternalError"),
            (coded(200, "SlowDown"), "look into the service's own log"),
            (FailedRequest { status: Some(200), ..FailedRequest::default() }, "may be no S3 service"),
            (coded(429, "TooManyRequests"), "slower pace"),
            (FailedRequest { status: Some(429), ..FailedRequest::default() }, "slower pace"),
            (FailedRequest { status: Some(403), ..FailedRequest::default() }, "lack the permission"),
        ];
        for (failed, part) in table {
            let told = told(failed);
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn absent_denied_and_unsupported_are_distinguished() {
        assert!(coded(404, "NoSuchKey").absent() && !coded(404, "NoSuchBucket").absent());
        assert!(FailedRequest { status: Some(404), ..FailedRequest::default() }.absent());
        assert!(coded(403, "AccessDenied").denied() && !coded(503, "SlowDown").denied());
        assert!(coded(501, "NotImplemented").unsupported() && !coded(403, "AccessDenied").unsupported());
    }
}
