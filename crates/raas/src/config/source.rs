//! Where the configuration comes from, and goes to when raas adds to it.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::repository::ConfigRepository;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::redact;
use raas_git::Remote;
use raas_publish::home::Home;

/// The file in the current folder, or at the root of the repository.
pub(super) const FILE: &str = "raas.cfg";

/// What the command line and the environment say of the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// `--config`, which comes first.
    pub(crate) file: Option<PathBuf>,
    /// `RAAS_CONF_REPO`, which comes before the file in the current folder.
    pub(crate) repository: Option<String>,
    /// `--configenv`: its branch.
    pub(crate) branch: Option<String>,
    /// How long one git command may wait for the network.
    pub(crate) patience: Duration,
}

impl Asked {
    /// Whether it is in a repository, where looking for changes takes a network.
    pub(crate) fn is_in_repository(&self) -> bool {
        self.file.is_none() && self.repository.is_some()
    }

    /// What tells whether it has changed: of a repository the branch's commit, of a file when it was written, and as
    /// which; nothing if that cannot be told.
    pub(crate) fn version(&self) -> Option<String> {
        if let (None, Some(address)) = (&self.file, &self.repository) {
            let remote = Remote { address: address.clone(), patience: self.patience };
            return remote.head(self.branch.as_deref()).ok()?;
        }
        let file = self.file.as_deref().unwrap_or(Path::new(FILE));
        let found = fs::metadata(file).ok()?;
        Some(format!("{} {} {}.{}", found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
    }
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Default)]
pub(crate) enum Source {
    /// There is none.
    #[default]
    None,
    /// A file.
    File(PathBuf),
    /// A private git repository, cloned for as long as this lives.
    Repository(Arc<ConfigRepository>),
}

impl Source {
    /// Finds it.
    pub(super) fn find(asked: &Asked, home: &dyn Fn() -> Result<Home, Failure>) -> Result<Self, Failure> {
        match (&asked.file, &asked.repository) {
            (None, Some(address)) => {
                let remote = Remote { address: address.clone(), patience: asked.patience };
                let repository = ConfigRepository::open(remote, asked.branch.as_deref(), &home()?)?;
                return Ok(Source::Repository(Arc::new(repository)));
            }
            _ if asked.branch.is_some() => {
                return Err(Failure::new(
                    Kind::Usage,
                    "--configenv names a branch of the configuration repository, and none is used",
                )
                .hint("name the repository in RAAS_CONF_REPO"));
            }
            (Some(file), _) => return Ok(Source::File(file.clone())),
            (None, None) => {}
        }
        match fs::symlink_metadata(FILE) {
            Ok(_) => Ok(Source::File(FILE.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Source::None),
            Err(error) => Err(unreadable(Path::new(FILE), error)),
        }
    }

    /// The file's bytes; empty if there is none yet.
    pub(super) fn read(&self) -> Result<Vec<u8>, Failure> {
        match self {
            Source::None => Ok(Vec::new()),
            Source::File(path) => fs::read(path).map_err(|error| unreadable(path, error)),
            Source::Repository(repository) => repository.read(),
        }
    }

    /// The path that messages name, from whose folder paths in the file are meant.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Source::None => FILE.into(),
            Source::File(path) => path.clone(),
            Source::Repository(repository) => repository.folder().join(FILE),
        }
    }

    /// Changes the file's text; says whether it did. `edit` is called again when others have changed it meanwhile.
    pub(super) fn edit(
        &self,
        message: &str,
        edit: &dyn Fn(&str) -> Result<Option<String>, Failure>,
    ) -> Result<bool, Failure> {
        let path = match self {
            Source::Repository(repository) => return repository.edit(FILE, message, edit),
            other => other.path(),
        };
        let text = String::from_utf8_lossy(&self.read()?).into_owned();
        let Some(text) = edit(&text)? else { return Ok(false) };
        replace(&path, &text).context(|| format!("cannot write {}", path.display()))?;
        Ok(true)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::None => f.write_str("no configuration"),
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Repository(repository) => {
                write!(f, "{FILE} of {}, branch {}", redact::text(repository.address()), repository.branch())
            }
        }
    }
}

fn unreadable(path: &Path, error: io::Error) -> Failure {
    Failure::new(Kind::Usage, format!("cannot read the configuration {}", path.display())).caused_by(error)
}

/// Replaces a file by a neighbour with the same permissions: it may hold secrets.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // The file that a link leads to, not the link.
    let path = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        found => found?,
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A temporary file is for its owner alone, which is right for a new one.
    let mut file = tempfile::Builder::new().prefix(".raas.cfg.").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    match fs::metadata(&path) {
        Ok(found) => file.as_file().set_permissions(found.permissions())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    file.as_file().sync_data()?;
    file.persist(&path).map(drop).map_err(|error| error.error)
}
