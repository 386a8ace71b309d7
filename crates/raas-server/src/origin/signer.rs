//! Signs URLs of S3 objects, without a request.
//!
//! Source: AWS, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)". The SDK's signer would add
//! the SDK's types of requests, times and identities. A URL with one method, one signed header and no body needs only
//! this file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use hmac::{Hmac, KeyInit, Mac};
use hyper::Method;
use raas_types::{ObjectKey, Sha256, Utc};

use super::SIGNED_PATH;
use super::address::{AddressError, BaseUrl, S3Location};
use super::credentials::{CredentialError, CredentialSource, Credentials};
use super::recent::{self, RECENT};
use crate::http::query::{QUERY_VALUE, encode_into};

type HmacSha256 = Hmac<sha2::Sha256>;

/// Signs the URLs of a bucket's objects.
#[derive(Debug)]
pub struct Signer {
    /// Its number among the signers of this process.
    number: u64,
    address: BaseUrl,
    region: String,
    credentials: Arc<dyn CredentialSource>,
    /// The parts that all URLs of one day and key share.
    day: ArcSwapOption<Day>,
}

/// Equal if the bucket and the source of credentials are the same. A site whose configuration is unchanged keeps its
/// signer.
impl PartialEq for Signer {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
            && self.region == other.region
            && Arc::ptr_eq(&self.credentials, &other.credentials)
    }
}

impl Eq for Signer {}

/// The signing key for one day, region and service.
struct Day {
    number: u64,
    credentials: Arc<Credentials>,
    key: HmacSha256,
    /// `<day>/<region>/s3/aws4_request`
    scope: String,
    /// The query before the date.
    before_date: String,
    /// The query after the lifetime.
    after_lifetime: String,
}

impl std::fmt::Debug for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Day").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Signer {
    /// Signs for a bucket with these credentials.
    ///
    /// # Errors
    /// The location is invalid.
    pub fn new(location: &S3Location, credentials: Arc<dyn CredentialSource>) -> Result<Self, AddressError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = location.base_url()?;
        Ok(Self {
            number,
            address,
            region: location.region.clone(),
            credentials,
            day: ArcSwapOption::empty(),
        })
    }

    /// The URL of the bucket. It opens nothing without a signature.
    pub fn address(&self) -> &BaseUrl {
        &self.address
    }

    /// A URL for one object and one method. It is valid long enough for a slow client to download `size` bytes.
    ///
    /// # Errors
    /// There are no credentials, or they have expired.
    pub fn url(
        &self,
        method: &Method,
        key: &ObjectKey,
        size: u64,
        now: SystemTime,
    ) -> Result<String, CredentialError> {
        let credentials = self.credentials.current()?;
        let lifetime = lifetime(size, credentials.expires, now)?;
        let now = Utc::of(now);
        let request = recent::Request {
            signer: self.number,
            credentials: &credentials,
            method,
            key,
            lifetime: lifetime.as_secs(),
            second: now.unix(),
        };
        let resource = |url: &mut String| self.address.write(url, key, SIGNED_PATH);
        Ok(RECENT.url(request, || self.sign(method, resource, &credentials, lifetime, now)))
    }

    fn sign(
        &self,
        method: &Method,
        resource: impl FnOnce(&mut String),
        credentials: &Arc<Credentials>,
        lifetime: Duration,
        now: Utc,
    ) -> String {
        let day = self.day(credentials, now);
        let date = now.basic();
        let mut url = String::with_capacity(512 + day.before_date.len() + day.after_lifetime.len());
        resource(&mut url);
        let path_end = url.len();
        url.push('?');
        // In the order of the parameter names, as the signature requires.
        url.push_str(&day.before_date);
        url.push_str(&date);
        url.push_str("&X-Amz-Expires=");
        url.push_str(&lifetime.as_secs().to_string());
        url.push_str(&day.after_lifetime);

        let mut request = Sha256::default();
        for part in [
            method.as_str(),
            "\n",
            &url[self.address.path_at()..path_end],
            "\n",
            &url[path_end + 1..],
            "\nhost:",
            self.address.host(),
            "\n\nhost\nUNSIGNED-PAYLOAD",
        ] {
            request.update(part.as_bytes());
        }
        let mut mac = day.key.clone();
        for part in
            ["AWS4-HMAC-SHA256\n", &date, "\n", &day.scope, "\n", digits(&request.finish().bytes()).as_str()]
        {
            mac.update(part.as_bytes());
        }
        url.push_str("&X-Amz-Signature=");
        url.push_str(digits(&mac.finalize().into_bytes().into()).as_str());
        url
    }

    fn day(&self, credentials: &Arc<Credentials>, now: Utc) -> Arc<Day> {
        if let Some(day) = self.day.load_full()
            && day.number == now.day()
            && Arc::ptr_eq(&day.credentials, credentials)
        {
            return day;
        }
        let day = Arc::new(Day::new(Arc::clone(credentials), &self.region, now));
        self.day.store(Some(Arc::clone(&day)));
        day
    }
}

impl Day {
    fn new(credentials: Arc<Credentials>, region: &str, now: Utc) -> Self {
        let date = &now.basic()[..8];
        let first = format!("AWS4{}", credentials.secret_access_key);
        let key =
            [date, region, "s3", "aws4_request"].into_iter().fold(keyed(first.as_bytes()), |key, part| {
                keyed(&key.chain_update(part).finalize().into_bytes())
            });
        let scope = format!("{date}/{region}/s3/aws4_request");
        let mut before_date = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=".to_owned();
        encode_into(&mut before_date, &format!("{}/{scope}", credentials.access_key_id), QUERY_VALUE);
        before_date.push_str("&X-Amz-Date=");
        let mut after_lifetime = String::new();
        if let Some(token) = &credentials.session_token {
            after_lifetime.push_str("&X-Amz-Security-Token=");
            encode_into(&mut after_lifetime, token, QUERY_VALUE);
        }
        after_lifetime.push_str("&X-Amz-SignedHeaders=host");
        Self { number: now.day(), credentials, key, scope, before_date, after_lifetime }
    }
}

/// Bytes in hex, without an allocation.
fn digits(bytes: &[u8; 32]) -> hex::Buffer<32> {
    hex::Buffer::new().const_format(bytes)
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// The shortest lifetime of a URL.
pub(super) const MIN_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// The slowest client that URLs last for, in bytes per second.
const SLOWEST: u64 = 256 * 1024;

/// The size of the objects whose URLs last this much longer than the shortest lifetime.
pub(super) fn size_for(longer: Duration) -> u64 {
    longer.as_secs() * SLOWEST
}

/// The lifetime of a URL: `least`, and the time that a slow client needs for `size` bytes. At most 12 hours.
pub(super) fn lasting(least: Duration, size: u64) -> Duration {
    const MAX: Duration = Duration::from_secs(12 * 60 * 60);
    (least + Duration::from_secs(size / SLOWEST)).min(MAX.max(least))
}

/// The lifetime of a URL that a key signs. A client may have to request the end of a large object again, so the
/// lifetime grows with the size. It ends with the key, because a URL expires with the key that signed it.
fn lifetime(size: u64, expires: Option<SystemTime>, now: SystemTime) -> Result<Duration, CredentialError> {
    let by_size = lasting(MIN_LIFETIME, size);
    let Some(expires) = expires else { return Ok(by_size) };
    match expires.duration_since(now) {
        Ok(left) if left >= Duration::from_secs(1) => Ok(by_size.min(left)),
        _ => Err(CredentialError("the credentials that sign URLs have expired".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn credentials(token: Option<&str>, expires: Option<SystemTime>) -> Arc<Credentials> {
        Arc::new(Credentials {
            access_key_id: KEY.into(),
            secret_access_key: SECRET.into(),
            session_token: token.map(str::to_owned),
            expires,
        })
    }

    fn signer(endpoint: &str, credentials: Arc<Credentials>) -> Signer {
        let location = S3Location {
            endpoint: Some(endpoint.into()),
            region: "us-east-1".into(),
            bucket: "examplebucket".into(),
            prefix: None,
            path_style: false,
        };
        Signer::new(&location, Arc::new(credentials)).unwrap()
    }

    /// The example of AWS's document: `GET /test.txt`, valid for a day from 2013-05-24.
    #[test]
    fn the_signature_equals_that_of_awss_example() {
        let credentials = credentials(None, None);
        let signer = signer("https://s3.amazonaws.com", Arc::clone(&credentials));
        let url = signer.sign(
            &Method::GET,
            |url| {
                url.push_str(signer.address.as_str());
                url.push_str("/test.txt");
            },
            &credentials,
            Duration::from_secs(86_400),
            Utc::from_unix(1_369_353_600),
        );
        assert_eq!(
            url,
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=\
             AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z\
             &X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=\
             aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn a_url_has_the_key_id_and_the_token_but_not_the_secret() {
        let signer = signer("http://127.0.0.1:9000", credentials(Some("to/ken=="), None));
        let key = ObjectKey::Blob("tools/app".parse().unwrap(), raas_types::Digest::of(b""));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let url = signer.url(&Method::GET, &key, 0, now).unwrap();
        assert!(
            url.starts_with("http://127.0.0.1:9000/examplebucket/tools/app/_v2/blobs/sha256%3A"),
            "{url}"
        );
        assert!(
            url.contains("&X-Amz-Expires=300&X-Amz-Security-Token=to%2Fken%3D%3D&X-Amz-SignedHeaders=host&")
        );
        assert_ne!(url, signer.url(&Method::HEAD, &key, 0, now).unwrap());
        let next_day = signer.url(&Method::GET, &key, 0, now + Duration::from_secs(86_400)).unwrap();
        assert!(next_day.contains("%2F20130525%2F"), "{next_day}");
        let shown = format!("{signer:?}");
        assert!(
            shown.contains("127.0.0.1") && !shown.contains(SECRET) && !shown.contains("to/ken"),
            "{shown}"
        );
    }

    #[test]
    fn a_url_lasts_for_the_download_but_not_longer_than_its_key() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let seconds = |size, left: Option<u64>| {
            lifetime(size, left.map(|left| now + Duration::from_secs(left)), now).map(|l| l.as_secs()).ok()
        };
        let gib = 1 << 30;
        let table = [
            (0, None, Some(300)),
            (gib, None, Some(300 + 4096)),
            (100 * gib, None, Some(43_200)),
            (gib, Some(10_000), Some(4396)),
            (gib, Some(600), Some(600)),
            (0, Some(7), Some(7)),
            (0, Some(0), None),
        ];
        for (size, left, expected) in table {
            assert_eq!(seconds(size, left), expected, "{size} {left:?}");
        }
        assert!(lifetime(0, Some(now - Duration::from_secs(5)), now).is_err());
    }
}
