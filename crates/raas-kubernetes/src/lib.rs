//! The platform Kubernetes. OpenShift is Kubernetes with routes, projects and OAuth, which raas finds by discovery.
//!
//! ```text
//!   Plan ──▶ manifests ──▶ Object ──▶ yaml      checked settings; pure functions; what people may keep in git
//!     │                      │
//!     ▼                      ▼
//!   Kubernetes ──▶ apply, prune, rollout        server-side apply under one field manager
//!     │               │
//!     ▼               ▼
//!   api ──────▶ status ──▶ explain              one bounded request; what a refusal means and what to grant
//! ```
//!
//! No other crate uses a client of clusters, and no public function has a type of that client.

mod access;
mod api;
mod apply;
mod diff;
mod explain;
mod facts;
mod login;
pub mod manifests;
mod namespace;
mod object;
mod observed;
mod plan;
mod platform;
mod rollout;
mod servers;
mod status;
mod trouble;
pub mod yaml;

pub use access::{Access, Cluster};
pub use apply::Mode;
pub use diff::{Change, FieldChange};
pub use facts::Facts;
pub use object::{Kind, Object};
pub use observed::{Entrance, Observed, RolloutHealth};
pub use plan::{Certificate, Entry, Instance, Namespace, Plan, Registry, Scale};
pub use platform::{Kubernetes, Planner, Preview};
pub use rollout::Patience;
pub use servers::Site;

use raas_base::Secret;
use sha2::{Digest as _, Sha256};

/// A key of 32 random bytes, in hex, for a secret of the cluster.
///
/// # Panics
/// The system has no random numbers.
pub fn random_key() -> Secret {
    let random = ring::rand::generate::<[u8; 32]>(&ring::rand::SystemRandom::new());
    Secret::new(hex::encode(random.expect("the system has random numbers").expose()))
}

/// The SHA-256 of bytes in hex.
fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
