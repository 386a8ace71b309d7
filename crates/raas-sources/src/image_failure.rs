//! Failures for errors of reading an image.

use raas_base::failure::{Failure, Kind};
use raas_image::ImageError;

use crate::registry_error::RegistryError;

/// The failure for an error of reading an image, with its hint.
pub fn image_failure(error: ImageError) -> Failure {
    let error = match of_registry(error) {
        Ok(registry) => return registry.into(),
        Err(error) => error,
    };
    let message = error.to_string();
    let (kind, hint) = match &error {
        ImageError::Read { source, .. } => match Kind::of_named_file(source) {
            Kind::Usage => (Kind::Usage, Some("check the path: it is relative to the current folder")),
            kind => (kind, None),
        },
        ImageError::Write { .. } => (
            Kind::Environment,
            Some("solve that and push again: the earlier publication is served unchanged"),
        ),
        ImageError::Refused { .. } => (Kind::Refused, Some("nothing was published")),
        ImageError::NotAnImage { .. } => (
            Kind::Refused,
            Some(
                "give a Pulp 2 or Pulp 3 export, a docker save archive, an OCI image layout or a `dir:` folder of skopeo, \
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

/// The registry's error that lies within an error of reading an image. It says more than the outer error.
fn of_registry(error: ImageError) -> Result<RegistryError, ImageError> {
    if let ImageError::Read { source, .. } = &error
        && let Some(registry) = source.get_ref().and_then(|inner| inner.downcast_ref::<RegistryError>())
    {
        return Ok(registry.clone());
    }
    Err(error)
}
