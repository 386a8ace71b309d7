//! Files on this machine: open them without leaving a folder, tell whether they changed, and follow their content.

mod confined;
mod followed;
mod version;

pub(crate) use confined::{ConfinedFile, Links};
pub(crate) use followed::FollowedFile;
pub(crate) use version::FileVersion;
