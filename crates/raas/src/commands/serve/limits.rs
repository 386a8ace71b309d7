//! Options of `raas serve` for what one vendor and one address may take.

use clap::Args;
use raas_server::Options;

/// What one vendor and one address may take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Let the metadata of one vendor take this much memory
    ///
    /// 100,000 manifests take 150 MiB. A vendor with more keeps its last good metadata, and the log says so.
    #[arg(long, value_name = "MIB", env = "RAAS_SITE_MEMORY", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    site_memory: u64,

    /// Let one address have this many connections at once; 0 is no limit
    ///
    /// All addresses of a /64 of IPv6 count as one address. Addresses of --trusted-proxies have no limit.
    #[arg(long, value_name = "N", env = "RAAS_CONNECTIONS_PER_ADDRESS", default_value_t = 2000)]
    connections_per_address: usize,
}

impl LimitArgs {
    /// Adds these arguments to the server's options.
    pub(super) fn apply(&self, options: &mut Options) {
        options.site_memory = self.site_memory * 1024 * 1024;
        options.max_connections_per_address =
            (self.connections_per_address > 0).then_some(self.connections_per_address);
    }
}
