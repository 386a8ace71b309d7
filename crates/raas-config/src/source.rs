//! Where the configuration comes from: a file, or a private git repository.

#[cfg_attr(not(feature = "operator"), path = "source/repository/without_git.rs")]
mod repository;

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::redact;
use raas_git::Remote;
use raas_publish::home::Home;
pub use repository::{ConfigRepository, ReadFile};

/// The name of the file: in one of the folders of [`search_path`], or at the root of the repository.
const FILE: &str = "raas.cfg";

/// Which configuration the command line and the environment ask for.
#[derive(Debug, Clone, Default)]
pub struct ConfigRequest {
    /// `--config`: the file. It comes before everything else.
    pub file: Option<PathBuf>,
    /// `--config-repo` or `RAAS_CONF_REPO`: the address of the repository. It comes before the files of
    /// [`search_path`].
    pub repository: Option<String>,
    /// `--configenv`: the branch of the repository.
    pub branch: Option<String>,
    /// How long one git command may wait for the network.
    pub git_timeout: Duration,
}

impl ConfigRequest {
    /// Whether the configuration is in a repository, so that [`version`](Self::version) asks over the network.
    pub fn is_in_repository(&self) -> bool {
        self.file.is_none() && self.repository.is_some()
    }

    /// A text that changes with the configuration: the branch's commit, or the identity, size and time of the file.
    /// `None` if it cannot be read now.
    pub fn version(&self) -> Option<String> {
        if let (None, Some(address)) = (&self.file, &self.repository) {
            let remote = Remote { address: address.clone(), timeout: self.git_timeout };
            return ConfigRepository::version(&remote, self.branch.as_deref());
        }
        let file = match &self.file {
            Some(file) => file.clone(),
            None => find_file(&search_path()).ok()??,
        };
        let metadata = fs::metadata(&file).ok()?;
        // The path is part of the version: a new file may now come first in the search path.
        let name = file.display();
        Some(format!(
            "{name} {} {} {}.{}",
            metadata.ino(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec()
        ))
    }
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Default)]
pub enum ConfigSource {
    /// There is no configuration.
    #[default]
    None,
    /// A file.
    File(PathBuf),
    /// A private git repository. Its clone lives as long as this value.
    Repository(Arc<ConfigRepository>),
}

impl ConfigSource {
    /// Finds the configuration that is asked for. A repository is cloned into the home.
    ///
    /// # Errors
    /// A repository cannot be cloned, or a branch is named without a repository.
    pub(crate) fn find(
        request: &ConfigRequest,
        home: &dyn Fn() -> Result<Home, Failure>,
    ) -> Result<Self, Failure> {
        match (&request.file, &request.repository) {
            (None, Some(address)) => {
                let remote = Remote { address: address.clone(), timeout: request.git_timeout };
                let repository = ConfigRepository::open(remote, request.branch.as_deref(), &home()?)?;
                return Ok(ConfigSource::Repository(Arc::new(repository)));
            }
            _ if request.branch.is_some() => {
                return Err(Failure::new(
                    Kind::Usage,
                    "--configenv names a branch, but there is no configuration repository",
                )
                .hint("name the repository with RAAS_CONF_REPO or --config-repo"));
            }
            (Some(file), _) => return Ok(ConfigSource::File(file.clone())),
            (None, None) => {}
        }
        Ok(find_file(&search_path())?.map_or(ConfigSource::None, ConfigSource::File))
    }

    /// The file's bytes. They are empty if there is no file yet.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Failure> {
        match self {
            ConfigSource::None => Ok(Vec::new()),
            ConfigSource::File(path) => fs::read(path).map_err(|error| unreadable(path, error)),
            ConfigSource::Repository(repository) => repository.read(),
        }
    }

    /// The path of the file. Relative paths in the file start at its folder.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            ConfigSource::None => FILE.into(),
            ConfigSource::File(path) => path.clone(),
            ConfigSource::Repository(repository) => repository.folder().join(FILE),
        }
    }

    /// The name of the configuration for messages that are read in another folder: a file has its absolute path.
    pub(crate) fn whole_name(&self) -> String {
        match self {
            ConfigSource::File(path) => {
                std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string()
            }
            ConfigSource::None => "none".to_owned(),
            other => other.to_string(),
        }
    }

    /// Changes the file's text, and returns whether `edit` changed it. `edit` gets the text, and is called again if
    /// somebody else has changed the file meanwhile.
    pub(crate) fn edit(
        &self,
        message: &str,
        edit: &dyn Fn(&str) -> Result<Option<String>, Failure>,
    ) -> Result<bool, Failure> {
        let path = match self {
            ConfigSource::Repository(repository) => return repository.edit(FILE, message, edit),
            other => other.path(),
        };
        let text = String::from_utf8_lossy(&self.read()?).into_owned();
        let Some(text) = edit(&text)? else { return Ok(false) };
        replace(&path, &text).context(|| format!("cannot write {}", path.display()))?;
        Ok(true)
    }
}

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigSource::None => f.write_str("no configuration"),
            ConfigSource::File(path) => write!(f, "{}", path.display()),
            ConfigSource::Repository(repository) => {
                write!(
                    f,
                    "{FILE} of {}, branch {}",
                    redact::address(repository.address()),
                    repository.branch()
                )
            }
        }
    }
}

/// Where raas looks for the file, in this order: in the current folder, of the user, of the machine. It takes the first
/// that exists.
///
/// Source: XDG Base Directory Specification, `XDG_CONFIG_HOME`.
pub fn search_path() -> Vec<PathBuf> {
    search_path_of(&|name| std::env::var_os(name).map(PathBuf::from))
}

fn search_path_of(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    let user = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    let user = user.map(|folder| folder.join("raas").join(FILE));
    let machine = Path::new("/etc/raas").join(FILE);
    [Some(PathBuf::from(FILE)), user, Some(machine)].into_iter().flatten().collect()
}

/// The first of these files that exists. A link without a target counts as existing: reading it fails later, and raas
/// does not silently take another file.
fn find_file(paths: &[PathBuf]) -> Result<Option<PathBuf>, Failure> {
    for path in paths {
        match fs::symlink_metadata(path) {
            Ok(_) => return Ok(Some(path.clone())),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(unreadable(path, error)),
        }
    }
    Ok(None)
}

fn unreadable(path: &Path, error: io::Error) -> Failure {
    Failure::new(Kind::Usage, format!("cannot read the configuration {}", path.display())).caused_by(error)
}

/// Replaces a file and keeps its permissions: it may hold secrets.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A symbolic link stays: its target is replaced.
    let path = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        path => path?,
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A new file is for its owner alone, as temporary files are.
    let mut file = tempfile::Builder::new().prefix(".raas.cfg.").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    match fs::metadata(&path) {
        Ok(metadata) => file.as_file().set_permissions(metadata.permissions())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    file.as_file().sync_data()?;
    file.persist(&path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_of_the_search_path_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let variable = |name: &str| match name {
            "XDG_CONFIG_HOME" => Some(folder.path().to_owned()),
            _ => None,
        };
        let user = folder.path().join("raas/raas.cfg");
        assert_eq!(search_path_of(&variable), [Path::new(FILE), &user, Path::new("/etc/raas/raas.cfg")]);
        let by_home = search_path_of(&|name| (name == "HOME").then(|| "/h".into()));
        assert_eq!(by_home[1], Path::new("/h/.config/raas/raas.cfg"));
        assert_eq!(search_path_of(&|_| Some("relative".into())).len(), 2, "a relative folder is ignored");

        let machine = folder.path().join("machine.cfg");
        let paths = [folder.path().join("none.cfg"), user.clone(), machine.clone()];
        assert_eq!(find_file(&paths).unwrap(), None);
        fs::write(&machine, "").unwrap();
        assert_eq!(find_file(&paths).unwrap(), Some(machine));
        fs::create_dir_all(user.parent().unwrap()).unwrap();
        fs::write(&user, "").unwrap();
        assert_eq!(find_file(&paths).unwrap(), Some(user));
    }
}
