//! Asks, before a push stores anything, whether the masked layers are at the locations that servers will send clients
//! to.
//!
//! The answers are printed and never stop a push: the operator may open a location later.

use std::time::{Duration, Instant};

use super::plan::NO_LOCATION;
use super::report::{Masked, Presence};
use crate::progress::Progress;
use raas_base::failure::Failure;
use raas_base::parallel;
use raas_sources::http;
use raas_sources::registry::{self, ask};

/// The most requests at once.
const IN_FLIGHT: usize = 8;

/// How long the push starts requests. It does not ask the remaining locations.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most missing layers that the push names. It only counts the others.
const MOST_NAMED: usize = 5;

/// Asks for each masked layer, and prints the outcome.
pub(super) fn check(masked: &mut [Masked], progress: &Progress) -> Result<(), Failure> {
    if masked.is_empty() {
        return Ok(());
    }
    let agent = http::impatient_agent()?;
    let deadline = Instant::now() + PATIENCE;
    let locations: Vec<String> = masked.iter().map(|layer| layer.location.clone()).collect();
    let answers = parallel::each(IN_FLIGHT, locations, |location| {
        if location.starts_with(NO_LOCATION) {
            return Ok((Presence::Missing, Some("its location is not known".to_owned())));
        }
        if Instant::now() > deadline {
            return Ok((Presence::NotAsked, None));
        }
        Ok(match ask(&agent, &location) {
            registry::Presence::There(_) => (Presence::There, None),
            registry::Presence::Refused(status) => (Presence::Missing, Some(format!("it answers {status}"))),
            registry::Presence::Missing(why) => (Presence::Missing, Some(why)),
        })
    })?;
    for (layer, (presence, why)) in masked.iter_mut().zip(answers) {
        (layer.presence, layer.why) = (presence, why);
    }
    say(masked, progress);
    Ok(())
}

fn say(masked: &[Masked], progress: &Progress) {
    let count = |presence| masked.iter().filter(|layer| layer.presence == presence).count();
    let (missing, unknown, all) = (count(Presence::Missing), count(Presence::NotAsked), masked.len());
    if missing == 0 && unknown == 0 {
        progress.say(&format!("All masked layers are at their locations ({all} asked)"));
        return;
    }
    if unknown > 0 {
        let seconds = PATIENCE.as_secs();
        progress
            .say(&format!("Note: {unknown} of {all} masked layers were not asked for within {seconds} s"));
    }
    if missing == 0 {
        return;
    }
    progress.say(&format!(
        "Warning: {missing} of {all} masked layers are not at their locations, so clients cannot pull the image until they \
         are:"
    ));
    let named = masked.iter().filter(|layer| layer.presence == Presence::Missing).take(MOST_NAMED);
    for layer in named {
        progress.say(&format!("  {}: {}", layer.location, layer.why.as_deref().unwrap_or_default()));
    }
    if missing > MOST_NAMED {
        progress.say(&format!("  and {} more", missing - MOST_NAMED));
    }
    if masked.iter().any(|layer| layer.location.starts_with(NO_LOCATION)) {
        progress.say("hint: set `layer_url` in [redhat] of raas.cfg, and push the image again");
    }
}
