//! `<image>[:tag|@digest]` on the command line.

use std::str::FromStr;

use raas_types::{
    Digest, DigestError, ImageArgument, ImageArgumentError, NameError, Reference, RepositoryName,
};

/// An image to export: all of a repository, or one tag or digest of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageToExport {
    pub(crate) name: RepositoryName,
    pub(crate) reference: Option<Reference>,
}

/// Why a text names no image to export.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ImageToExportError {
    #[error(transparent)]
    Image(#[from] ImageArgumentError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl FromStr for ImageToExport {
    type Err = ImageToExportError;

    fn from_str(text: &str) -> Result<Self, ImageToExportError> {
        if let Some((name, digest)) = text.split_once('@') {
            let reference = Some(Reference::Digest(digest.parse::<Digest>()?));
            return Ok(Self { name: name.parse()?, reference });
        }
        let ImageArgument { name, tag } = text.parse()?;
        Ok(Self { name, reference: tag.map(Reference::Tag) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_with_a_tag_a_digest_or_neither() {
        let digest = Digest::of(b"");
        let parsed = |text: &str| text.parse::<ImageToExport>();
        assert_eq!(parsed("tools/app").unwrap().reference, None);
        assert_eq!(parsed("app:1.0").unwrap().reference, Some("1.0".parse().unwrap()));
        assert_eq!(parsed(&format!("app@{digest}")).unwrap().reference, Some(Reference::Digest(digest)));
        for bad in ["app@1.0", "app:1.0@sha256:beef", "host:5000/app", "App"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
