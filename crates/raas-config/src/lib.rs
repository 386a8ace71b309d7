//! The configuration: `raas.cfg`, and the `crane.conf` of a legacy Crane.
//!
//! ```text
//! source (file, git repository) ──▶ ini ──▶ sections (tables of keys) ──▶ Config
//!                                             └──▶ raas.cfg.template, docs/configuration.md
//! ```
//!
//! A value of raas.cfg becomes a type where it is read, so a [`Config`] is proof that the file can be used. The crate reads
//! the file and the files that it names. It opens no storage and asks no server.
//!
//! Without the feature `operator`, the configuration is a file and never a git repository. The feature `kubernetes` adds
//! the part of the configuration that servers in a cluster need.

mod bucket;
mod config;
mod crane;
mod delivery;
mod edit;
mod ini;
mod issuer;
mod key;
mod keyless_signer;
#[cfg(test)]
mod reference;
mod registry_address;
mod sections;
mod separation;
mod signed_name;
mod source;
mod sync_rule;
mod tag_pattern;
mod trusted_signers;
mod values;
mod variables;

#[cfg(feature = "kubernetes")]
pub use config::Excerpt;
pub use config::{Config, NeededSections, Setting};
pub use crane::CraneConf;
pub use delivery::{Delivery, KeySource};
pub use key::nearest;
pub use keyless_signer::{IdentityPattern, KeylessSigner};
pub use registry_address::RegistryAddress;
pub use sections::{Aws, Openshift, PlatformName, Pulpserver, VendorSettings};
pub use signed_name::SignedName;
pub use source::{ConfigRepository, ConfigRequest, ConfigSource, ReadFile, search_path};
pub use sync_rule::{Referrers, SyncRule, SyncSource, TagFilter};
pub use tag_pattern::TagPattern;
pub use trusted_signers::TrustedSigners;
