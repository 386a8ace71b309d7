//! The formats of sources.

use std::fmt;

/// The format of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A Pulp 2 docker export: a Crane document and v1 images.
    Pulp2,
    /// A Pulp 3 export.
    Pulp3,
    /// The oldest docker save: v1 images under `repositories`.
    DockerV1,
    /// docker save with `manifest.json`.
    DockerSave,
    /// An OCI image layout.
    Oci,
    /// A folder that `skopeo copy … dir:` wrote.
    Dir,
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SourceKind::Pulp2 => "Pulp 2 docker export",
            SourceKind::Pulp3 => "Pulp 3 export",
            SourceKind::DockerV1 => "docker save archive (Docker v1 images)",
            SourceKind::DockerSave => "docker save archive",
            SourceKind::Oci => "OCI image layout",
            SourceKind::Dir => "`dir:` folder of skopeo",
        })
    }
}

impl SourceKind {
    /// The format in one word, for scripts.
    pub fn word(self) -> &'static str {
        match self {
            SourceKind::Pulp2 => "pulp2",
            SourceKind::Pulp3 => "pulp3",
            SourceKind::DockerV1 => "docker-v1",
            SourceKind::DockerSave => "docker-save",
            SourceKind::Oci => "oci",
            SourceKind::Dir => "dir",
        }
    }
}
