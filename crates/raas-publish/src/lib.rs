//! Publishing: the record of what a vendor publishes, the publications that change it, and the storage of the content.
//!
//! ```text
//!   republish   gc                     listing   difference
//!       │        │                         │         │
//!       ▼        ▼                         ▼         ▼
//!      publication                      history   published
//!       │       │                          │
//!       ▼       ▼                          │
//!   catch_up   repository_listing          │
//!       │       inventory                  │
//!       ▼            │                     │
//!   snapshot         │                     │
//!    │     │         │                     │
//!    ▼     ▼         │                     │
//!  lease   home ─────┼──▶ checkout ──▶ record ──▶ git (the crate raas-git)
//!    │               │
//!    └──▶ storage ◀──┘   a folder here; S3 in the crate raas-s3
//! ```
//!
//! - [`record`] is a git repository: one commit is one publication. [`checkout`] has the files of the last commit for the
//!   servers of this machine, [`snapshot`] has them in the bucket for servers elsewhere.
//! - [`publication`] makes a commit and everything that follows from it. It also recovers what a killed run has left.
//! - [`access`] changes who may read protected repositories, with publications of settings alone.
//! - [`lease`] lets one home at a time publish to a bucket that several homes share. [`catch_up`] takes over what other
//!   homes have published.
//! - [`service`] notes what this home has found out about the service behind a bucket.
//! - [`storage`] is the trait that every storage implements, and the storage in a folder.
//!
//! - [`reading`] keeps apart what is absent and what cannot be read. [`integrity`] and [`scrub`] find damage, [`repair`] mends
//!   it from whatever copy is good.
//! - [`storage_note`] is what a home remembers of a vendor's storage, so that no command uses another storage by
//!   mistake.
//!
//! [`format`](mod@format) has the format numbers of home and record: a newer number is refused before anything is written.
//!
//! The crate reads no configuration file and no image, uses no network except through [`storage::Storage`], and never
//! prints.

pub mod access;
pub mod catch_up;
pub mod checkout;
pub mod damaged_objects;
pub mod difference;
pub mod format;
pub mod gc;
pub mod history;
pub mod home;
pub mod integrity;
pub mod inventory;
pub mod lease;
pub mod listing;
pub mod publication;
pub mod published;
pub mod reading;
pub mod record;
pub mod registry;
pub mod repair;
pub mod repository_listing;
pub mod republish;
pub mod scrub;
pub mod service;
pub mod snapshot;
pub mod storage;
pub mod storage_note;
