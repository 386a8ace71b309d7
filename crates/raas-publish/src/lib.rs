//! What a vendor publishes: the record, the publications that change it, and the storage that holds the content.
//!
//! ```text
//! gc, republish ──▶ publication ──▶ catch_up ──▶ snapshot ──▶ home ──▶ record, checkout
//!                        └──▶ held, inventory ──▶ storage ◀───┘
//! listing, difference ──▶ published, history ──▶ record
//! ```
//!
//! The crate reads no configuration, no image, and no network but through [`storage::Storage`]; it never prints.

pub mod catch_up;
pub mod checkout;
pub mod difference;
pub mod gc;
pub mod held;
pub mod history;
pub mod home;
pub mod inventory;
pub mod listing;
pub mod publication;
pub mod published;
pub mod record;
pub mod registry;
pub mod republish;
pub mod snapshot;
pub mod storage;
