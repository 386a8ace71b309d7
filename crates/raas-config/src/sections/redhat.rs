//! `[redhat]`: the layers that the operator serves.

use raas_sources::federation::FederationSettings;

use crate::key::{Key, Section, SectionText};
use crate::values::{
    base_images, documents, folder_in_repository, masked_layers, masked_without_location, registry_host,
    secret, text, url,
};

pub(super) static SECTION: Section<FederationSettings> = Section {
    name: "redhat",
    text: SectionText {
        heading: "[redhat]: what the operator serves",
        comment: "What the operator serves, and no vendor's bucket holds.",
    },
    keys: &[
        Key::<FederationSettings>::new(
            "mask_layers",
            "layers that raas does not store: Docker v1 image ids or digests, separated by commas, spaces or lines",
            "\ne1f5733f050b2488a17b7630cb038bfbea8b7bdfa9bdfb99e63a33117e28d02f\n\
             sha256:2dcc18f13a6a6ca4367beab70e7d5b2436919cc0a5d619471faa1410819fad02",
            |settings, value, _| {
                settings.mask_layers = masked_layers(value)?;
                Ok(())
            },
        ),
        Key::<FederationSettings>::new(
            "layer_url",
            "the base URL of masked layers: `<layer_url>/<image id>/layer`, `<layer_url>/blobs/<digest>`",
            "https://cdn.example.com/rhel7",
            |settings, value, _| {
                settings.layer_url = Some(url(value)?);
                Ok(())
            },
        ),
        Key::<FederationSettings>::new(
            "masked_without_location",
            "what a push does if a masked layer has no location: `refuse` rejects the image, `warn` publishes it with \
             a warning; clients cannot pull such an image until you set `layer_url` and push it again",
            "warn",
            |settings, value, _| {
                settings.masked_without_location = masked_without_location(value)?;
                Ok(())
            },
        )
        .default("`refuse`"),
        Key::<FederationSettings>::new(
            "mask_images",
            "base images, of which raas masks all layers of every platform: \
             `[docker://]host[:port]/name[:tag][@digest]` in a registry, or the path of an OCI image layout, which \
             begins with `/`, `./` or `../` and needs `layer_url`",
            "\nregistry.example.com/ubi9:9.4\n./layouts/ubi9-minimal",
            |settings, value, folder| {
                settings.mask_images = base_images(value, folder)?;
                Ok(())
            },
        ),
        Key::<FederationSettings>::new(
            "registry_host",
            "the registry, `host[:port]`, to which raas sends `registry_username` and `registry_password` if it \
             requires a login for its manifests; raas sends them to no other registry",
            "registry.example.com",
            |settings, value, _| {
                settings.registry_host = Some(registry_host(value)?);
                Ok(())
            },
        )
        .default("the one registry that `mask_images` names"),
        Key::<FederationSettings>::new(
            "registry_username",
            "the user name at `registry_host`",
            "puller",
            |settings, value, _| {
                settings.registry_username = Some(text(value)?);
                Ok(())
            },
        ),
        Key::<FederationSettings>::new(
            "registry_password",
            "the password of `registry_username`",
            "${REGISTRY_PASSWORD}",
            |settings, value, _| {
                settings.registry_password = Some(secret(value)?);
                Ok(())
            },
        )
        .secret(),
        Key::<FederationSettings>::new(
            "registry_auth_file",
            "the file with the logins of other registries, as `podman login` and `docker login` write it",
            "/etc/raas/auth.json",
            |settings, value, folder| {
                settings.registry_auth_file = Some(folder.join(text(value)?));
                Ok(())
            },
        )
        .default("the files where podman and docker keep them"),
        Key::<FederationSettings>::new(
            "metadata",
            "the operator's metadata documents: a file, a folder with everything below it, the URL of a document, or \
             the URL of a folder whose `index.json` is a JSON array of names",
            "./metadata",
            |settings, value, folder| {
                settings.metadata = Some(documents(value, folder)?);
                Ok(())
            },
        ),
        Key::<FederationSettings>::new(
            "metadata_repo",
            "a git repository with the operator's metadata documents on its default branch",
            "https://git.example.com/operator/metadata.git",
            |settings, value, _| {
                settings.metadata_repo = Some(text(value)?);
                Ok(())
            },
        ),
        Key::<FederationSettings>::new(
            "metadata_relpath",
            "the folder in `metadata_repo`",
            "crane/data",
            |settings, value, _| {
                settings.metadata_relpath = Some(folder_in_repository(value)?);
                Ok(())
            },
        )
        .default("the whole repository"),
    ],
};
