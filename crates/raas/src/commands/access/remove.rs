//! `raas access remove`.

use std::time::SystemTime;

use clap::Args;
use raas_types::Utc;
use raas_types::access::{KeyName, KeyState};

use super::Target;
use crate::config::Config;
use raas_base::failure::{Failure, Kind};
use raas_publish::home::Home;

/// Remove a customer whose keys have all ended
///
/// A customer whose file is damaged can be removed too: servers refuse all of its keys.
///
/// Nothing of the customer is published any longer, and servers no longer tell the holder of a key why it is refused.
/// The history keeps the name.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas access remove bigdatainc bigbank")]
pub(super) struct Remove {
    #[command(flatten)]
    pub(super) target: Target,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl Remove {
    pub(super) fn run(self, home: &Home, config: &Config) -> Result<(), Failure> {
        let Self { target, json } = self;
        let now = Utc::of(SystemTime::now());
        let report = target.change(home, config).remove(|customer| {
            let keys = customer.iter().flat_map(|customer| &customer.keys);
            let valid = keys.filter(|(_, key)| key.state(now) == KeyState::Valid);
            let valid: Vec<&str> = valid.map(|(name, _)| KeyName::as_str(name)).collect();
            if valid.is_empty() {
                return Ok(());
            }
            let (vendor, name) = (&target.vendor, &target.customer);
            let message = format!("customer {name} has keys that are valid: {}", valid.join(", "));
            Err(Failure::new(Kind::Usage, message)
                .hint(format!("run `raas access revoke {vendor} {name}` first; nothing was published")))
        })?;
        report.print(json);
        Ok(())
    }
}
