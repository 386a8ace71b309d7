//! Hostile sources, and odd ones that real programs write.
//!
//! Each error must name the member and the rule, whether the source is a file or a stream, plain or packed.

mod archives;
mod chains;
mod choosing;
mod descriptions;
mod folders;
mod layouts;
mod mutations;
mod not_images;
mod packing;
mod pulp3;
mod saved;
mod streaming;
mod support;
