//! Errors of reading an image, as failures of a push.

use raas_base::failure::Failure;
use raas_image::ImageError;
use raas_publish::storage::StorageError;

/// Turns an error of reading an image into a failure.
pub(crate) trait OrFail<T> {
    /// The result, its error with a hint that names the cause.
    fn or_fail(self) -> Result<T, Failure>;
}

impl<T> OrFail<T> for Result<T, ImageError> {
    fn or_fail(self) -> Result<T, Failure> {
        self.map_err(failure)
    }
}

/// The failure for an error. An error of the storage says itself what to do.
pub(crate) fn failure(error: ImageError) -> Failure {
    match error {
        ImageError::Write { what, source } => match source.downcast::<StorageError>() {
            Ok(error) => Failure::from(error),
            Err(source) => raas_sources::image_failure(ImageError::Write { what, source }),
        },
        error => raas_sources::image_failure(error),
    }
}
