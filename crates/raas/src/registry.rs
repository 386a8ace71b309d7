//! Registries that run elsewhere, as far as raas reads them: the manifests of base images.

mod reference;

pub(crate) use reference::ImageReference;
