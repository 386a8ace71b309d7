//! The place of `repository.rs` in a raas that only serves, which runs no git.

use std::path::Path;

use raas_base::failure::{Failure, Kind};
use raas_git::{Change, Remote};
use raas_publish::home::Home;

/// No value has this type.
#[derive(Debug)]
pub enum ConfigRepository {}

/// Reads a file of the branch by its path.
pub type ReadFile<'a> = dyn Fn(&str) -> Result<Option<Vec<u8>>, Failure> + 'a;

impl ConfigRepository {
    pub(super) fn open(_: Remote, _: Option<&str>, _: &Home) -> Result<Self, Failure> {
        Err(Failure::new(Kind::Usage, "this raas only serves, and reads no configuration repository")
            .hint("give the configuration as a file with --config"))
    }

    pub(super) fn version(_: &Remote, _: Option<&str>) -> Option<String> {
        None
    }

    pub(super) fn address(&self) -> &str {
        match *self {}
    }

    pub(super) fn branch(&self) -> &str {
        match *self {}
    }

    pub(super) fn folder(&self) -> &Path {
        match *self {}
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, Failure> {
        match *self {}
    }

    pub(super) fn edit(
        &self,
        _: &str,
        _: &str,
        _: &dyn Fn(&str) -> Result<Option<String>, Failure>,
    ) -> Result<bool, Failure> {
        match *self {}
    }

    /// The files below a folder of the branch, with their paths and bytes. Nothing calls it, since no repository is open.
    ///
    /// # Errors
    /// There are none.
    pub fn files_below(&self, _: &str) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        match *self {}
    }

    /// Commits and pushes changes. Nothing calls it, since no repository is open.
    ///
    /// # Errors
    /// There are none.
    pub fn change(
        &self,
        _: &str,
        _: &dyn Fn(&ReadFile<'_>) -> Result<Vec<Change>, Failure>,
    ) -> Result<bool, Failure> {
        match *self {}
    }
}
