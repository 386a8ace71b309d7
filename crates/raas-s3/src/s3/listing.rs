//! Listing the objects of a bucket, whatever version of listings the service knows.
//!
//! A listing that ends early would look as if objects were missing, and `gc` and pushes rely on it. So a page that says
//! that there are more is either followed by the next page, or is an error.

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::list_objects::ListObjectsOutput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::Object;
use raas_publish::storage::{ListedObject, StorageError};

use super::errors::{Action, FailedRequest};
use super::{Shared, etag_md5, time};

/// How the next page is asked for.
#[derive(Debug)]
enum Next {
    /// The first page.
    First,
    /// By the token of the last page, as version 2 defines it.
    Token(String),
    /// By the last key, as version 1 defines it: the service has answered as version 1.
    Marker(String),
    /// By the last key, with version 2: for a service without tokens and without version 1.
    StartAfter(String),
}

/// A page of either version.
#[derive(Debug)]
struct Page {
    objects: Vec<Object>,
    truncated: bool,
    token: Option<String>,
}

impl From<ListObjectsV2Output> for Page {
    fn from(page: ListObjectsV2Output) -> Self {
        let token = page.next_continuation_token.filter(|token| !token.is_empty());
        Self {
            objects: page.contents.unwrap_or_default(),
            truncated: page.is_truncated.unwrap_or(token.is_some()),
            token,
        }
    }
}

impl From<ListObjectsOutput> for Page {
    fn from(page: ListObjectsOutput) -> Self {
        let objects = page.contents.unwrap_or_default();
        Self { objects, truncated: page.is_truncated == Some(true), token: None }
    }
}

impl Shared {
    /// Calls `each` for every object below a prefix of the bucket, with its key in the bucket.
    ///
    /// # Errors
    /// A page cannot be had. The listing is never silently short.
    pub(super) async fn list_keys(
        &self,
        prefix: &str,
        each: &mut dyn FnMut(ListedObject),
    ) -> Result<(), StorageError> {
        let mut next = Next::First;
        loop {
            let page = self.page(prefix, &mut next).await?;
            let last = page.objects.last().and_then(|object| object.key.clone());
            next = match (page.truncated, page.token, last) {
                (false, ..) => Next::First,
                (true, Some(token), _) if !matches!(&next, Next::Token(before) if *before == token) => {
                    Next::Token(token)
                }
                (true, None, Some(last)) => match next {
                    Next::StartAfter(_) => Next::StartAfter(last),
                    Next::First | Next::Token(_) | Next::Marker(_) => Next::Marker(last),
                },
                (true, ..) => return Err(self.truncated(prefix)),
            };
            for object in page.objects {
                let Some(key) = object.key else { continue };
                each(ListedObject {
                    key,
                    size: object.size.and_then(|size| size.try_into().ok()).unwrap_or_default(),
                    modified: time(object.last_modified),
                    md5: object.e_tag.as_deref().and_then(etag_md5),
                });
            }
            if matches!(next, Next::First) {
                return Ok(());
            }
        }
    }

    /// The next page. If the service does not go on by a marker, this goes on by `start-after`.
    async fn page(&self, prefix: &str, next: &mut Next) -> Result<Page, StorageError> {
        let request = self.client().list_objects_v2().bucket(&self.location.bucket).prefix(prefix);
        let request = match &*next {
            Next::Marker(last) => {
                let last = last.clone();
                let page = self.page_of_version_1(prefix, &last).await?;
                if let Some(page) = page.filter(|page| goes_on(page, &last)) {
                    return Ok(page);
                }
                *next = Next::StartAfter(last.clone());
                request.start_after(last)
            }
            Next::StartAfter(last) => request.start_after(last),
            Next::Token(token) => request.continuation_token(token),
            Next::First => request,
        };
        let page = match request.send().await {
            Ok(page) => Page::from(page),
            Err(error) => {
                return Err(self.explain(format!("cannot list `{prefix}`"), Action::LIST, &error).await);
            }
        };
        match next {
            Next::StartAfter(last) if !goes_on(&page, last) => Err(self.truncated(prefix)),
            _ => Ok(page),
        }
    }

    /// The page after a key, by version 1; `None` if the service does not have version 1.
    async fn page_of_version_1(&self, prefix: &str, last: &str) -> Result<Option<Page>, StorageError> {
        let request = self.client().list_objects().bucket(&self.location.bucket).prefix(prefix).marker(last);
        match request.send().await {
            Ok(page) => Ok(Some(page.into())),
            Err(error) if is_lacking(&error) => Ok(None),
            Err(error) => Err(self.explain(format!("cannot list `{prefix}`"), Action::LIST, &error).await),
        }
    }

    fn truncated(&self, prefix: &str) -> StorageError {
        let service = self.location.service();
        let message =
            format!("cannot list `{prefix}` in bucket {}: the listing is truncated", self.location.bucket);
        let cause = format!("{service} says that there are more objects, and not how to ask for them");
        StorageError::new(message, std::io::Error::other(cause)).hint(format!(
            "check that {service} implements ListObjectsV2 with continuation tokens; raas also goes on by `marker` and \
             `start-after`, and the service ignores both"
        ))
    }
}

/// Whether all keys of a page are behind this key. Listings are in the order of the keys.
fn goes_on(page: &Page, last: &str) -> bool {
    page.objects.iter().filter_map(|object| object.key.as_deref()).all(|key| key > last)
}

fn is_lacking<E>(error: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>) -> bool
where
    E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + 'static,
{
    let failed = FailedRequest::of(error);
    failed.unsupported() || failed.status == Some(400)
}
