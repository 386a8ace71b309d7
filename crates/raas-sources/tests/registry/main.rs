//! Reading images from registries that behave well and badly, on loopback.

mod blobs;
mod images;
mod lists;
mod logins;
mod mirrors;
mod support;
