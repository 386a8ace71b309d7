//! Errors of reading an image, as failures.

use std::io;

use raas_base::failure::{Failure, Kind};
use raas_image::ImageError;

/// The failure for an error of reading an image.
pub fn image_failure(error: ImageError) -> Failure {
    let message = error.to_string();
    let (kind, hint) = match &error {
        ImageError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            (Kind::Environment, Some("check the path: it is relative to the current folder"))
        }
        ImageError::Read { .. } => (Kind::Environment, None),
        ImageError::Write { .. } => {
            (Kind::Environment, Some("mend that and push again; the earlier publication is served unchanged"))
        }
        ImageError::Refused { .. } => (Kind::Refused, Some("nothing was published")),
        ImageError::NotAnImage { .. } => (
            Kind::Refused,
            Some(
                "raas reads Pulp 2 and Pulp 3 exports, docker save archives, OCI image layouts and `dir:` folders of skopeo, \
                 plain or packed with gzip, Zstandard or xz",
            ),
        ),
        ImageError::Choice(_) => (Kind::Refused, None),
    };
    let failure = Failure::new(kind, message).hint_if(hint);
    match error {
        ImageError::Read { source, .. } => failure.caused_by(source),
        ImageError::Write { source, .. } => failure.caused_by(source),
        _ => failure,
    }
}
