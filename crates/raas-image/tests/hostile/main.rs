//! Sources that somebody made to do harm, and odd ones that nobody meant any with.
//!
//! Each refusal has to name the member and the rule, whatever way the source comes in.

mod archives;
mod chains;
mod choosing;
mod folders;
mod layouts;
mod mutations;
mod not_images;
mod packing;
mod pulp3;
mod saved;
mod streaming;
mod support;
