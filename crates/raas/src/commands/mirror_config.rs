//! `raas mirror-config`.

use std::process::ExitCode;

use clap::Args;
use raas_types::VendorName;
use raas_types::access::CustomerName;

use crate::config::Config;
use crate::mirror_config::{self, Format, Mirror, Options, Transport};
use crate::output;
use raas_base::failure::Failure;
use raas_publish::home::Home;

/// Print what clients need to pull a vendor's images from a mirror, under the vendor's own names
///
/// The mirror is any registry that has the images, such as a raas at a customer without a network that has published a
/// bundle of `raas export`. Nothing is changed: give the output to the customer.
///
/// Only the script of `docker` names images. It has the public images; with --customer it also has the protected images that
/// this customer may pull.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  raas mirror-config bigdatainc --to registry.customer.lan --format idms"
)]
pub(crate) struct Arguments {
    /// Print for the images of this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Pull from this registry; a path is put before the names of the images
    #[arg(long, value_name = "HOST[:PORT][/PATH]")]
    to: Mirror,

    /// Print for this program
    #[arg(long, value_enum)]
    format: Format,

    /// Name the protected images too that are granted to this customer
    #[arg(long, value_name = "CUSTOMER")]
    customer: Option<CustomerName>,

    /// Never ask the vendor's registry if the mirror lacks an image
    #[arg(long)]
    only_mirror: bool,

    /// Accept any certificate of the mirror
    #[arg(long, conflicts_with = "plain_http")]
    insecure: bool,

    /// Speak http without TLS with the mirror
    #[arg(long)]
    plain_http: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, to, format, customer, only_mirror, insecure, plain_http, json } = arguments;
    let transport = match (insecure, plain_http) {
        (_, true) => Transport::Plain,
        (true, false) => Transport::AnyCertificate,
        (false, false) => Transport::Verified,
    };
    let mirror = to.reached(transport);
    let report =
        mirror_config::make(home, config, &Options { vendor, mirror, format, only_mirror, customer })?;
    if json {
        output::json(&report);
        return Ok(ExitCode::SUCCESS);
    }
    report.notes.iter().for_each(|note| output::note(&format!("Note: {note}")));
    for (n, file) in report.files.iter().enumerate() {
        if n > 0 {
            output::line("");
        }
        output::line(file.content.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
