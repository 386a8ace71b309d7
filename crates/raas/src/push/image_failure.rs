//! Turns errors of reading an image into failures of a push.

use raas_base::failure::Failure;
use raas_image::{ImageError, Rule, SourceKind};
use raas_publish::storage::StorageError;

/// Turns an error of reading an image into a failure.
pub(crate) trait OrFail<T> {
    /// The same result with the error as a failure that has a hint.
    fn or_fail(self) -> Result<T, Failure>;
}

impl<T> OrFail<T> for Result<T, ImageError> {
    fn or_fail(self) -> Result<T, Failure> {
        self.map_err(failure)
    }
}

/// The failure for an error. An error of the storage brings a hint of its own.
pub(crate) fn failure(error: ImageError) -> Failure {
    match error {
        ImageError::Write { what, source } => match source.downcast::<StorageError>() {
            Ok(error) => Failure::from(error),
            Err(source) => raas_sources::image_failure(ImageError::Write { what, source }),
        },
        error => raas_sources::image_failure(error),
    }
}

/// The failure for an error of reading the manifests of a source of this kind.
pub(crate) fn failure_of_source(error: ImageError, kind: SourceKind) -> Failure {
    let is_missing = matches!(error, ImageError::Refused { rule: Rule::Missing(_), .. });
    let failure = failure(error);
    if is_missing { failure.hint(incomplete_hint(Some(kind))) } else { failure }
}

/// The hint for a source that lacks a manifest or a blob.
pub(crate) fn incomplete_hint(kind: Option<SourceKind>) -> &'static str {
    match kind {
        Some(SourceKind::Pulp3) => {
            "push the earlier export first if this one is incremental, or export with full=true"
        }
        _ => "save or copy the image again: the source is incomplete",
    }
}
