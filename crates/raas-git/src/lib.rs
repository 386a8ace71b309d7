//! Running the `git` program: repositories on this machine and elsewhere, their commits, and the files in them.
//!
//! ```text
//! repository, reader ──▶ commit, listing ──▶ objects ──▶ cat_file ──▶ git ──▶ error
//!                                            object_cache  object
//! remote ──▶ login, git
//! work_files ──▶ repository
//! ```
//!
//! Every git command of raas runs here, with one environment. A command over a network has a time limit, and a process
//! group that ends with it.

mod cat_file;
mod commit;
mod error;
mod git;
mod listing;
mod login;
mod object;
mod object_cache;
mod objects;
mod path;
mod reader;
mod remote;
mod repository;
mod work_files;

pub use error::{GitError, GitErrorKind};
pub use git::Git;
pub use path::is_safe_path;
pub use reader::Reader;
pub use remote::Remote;
pub use repository::{Change, CommitId, CommittedFile, Repository};
