//! The server, asked over loopback.

mod answers;
mod reload;
mod shutdown;
mod sites;
mod support;
