//! Files on this machine: open them without leaving a folder, read them without waiting, tell whether they changed, and
//! follow their content.

mod confined;
mod followed;
mod in_memory;
mod version;

pub(crate) use confined::{ConfinedFile, Links};
pub(crate) use followed::FollowedFile;
pub(crate) use in_memory::read_in_memory;
pub(crate) use version::FileVersion;
