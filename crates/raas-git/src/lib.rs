//! Running the `git` program: repositories on this machine and elsewhere, their commits, and the files in them.
//!
//! ```text
//! repository, reader ──▶ commit, objects ──▶ git ──▶ error
//! remote ──▶ login, git
//! work_files ──▶ repository
//! ```
//!
//! Every git command of raas runs here, with one environment. A command over a network has a time limit, and a process
//! group that ends with it.

mod commit;
mod error;
mod git;
mod login;
mod objects;
mod reader;
mod remote;
mod repository;
mod work_files;

pub use error::{GitError, GitErrorKind};
pub use git::Git;
pub use reader::Reader;
pub use remote::Remote;
pub use repository::{Change, CommitId, CommittedFile, Repository, is_safe_path};
