//! `raas tag`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{Digest, ImageArgument, Reference, RepositoryName, Tag, VendorName};

use crate::config::Config;
use crate::exposure;
use crate::immutable::{FORCED, ImmutableTags};
use raas_base::failure::{Failure, Kind};
use raas_publish::home::Home;
use raas_publish::republish;

use crate::republished::Republish;

/// Give another tag to a published image
///
/// No content is stored. A tag that is published already moves, and the command says from where. `raas rollback` undoes
/// it.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas tag bigdatainc bigdata-app:2.4 bigdata-app:2.4.1")]
pub(crate) struct Arguments {
    /// Publish for this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Give this tag
    #[arg(value_name = "IMAGE:NEW")]
    new: ImageArgument,

    /// Give it to this published image
    #[arg(value_name = "IMAGE:OLD|IMAGE@DIGEST")]
    old: String,

    /// Move a tag that `immutable_tags` of raas.cfg protects; the log shows who did it
    #[arg(long)]
    force_tag: bool,

    /// Write no backup to the configuration repository
    #[arg(long)]
    nocommit: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, new: ImageArgument { name, tag }, old, force_tag, nocommit, json } = arguments;
    let new = tag.ok_or_else(|| {
        Failure::new(Kind::Usage, format!("{name} has no tag to give"))
            .hint(format!("name the tag: raas tag {vendor} {name}:NEW {old}"))
    })?;
    let (of, from) = parse(&old)?;
    if of != name {
        return Err(Failure::new(Kind::Usage, format!("{name} and {of} are different images"))
            .hint("name the same image twice: a tag stays in its repository"));
    }
    let republish =
        Republish { home, config, vendor: &vendor, name: &name, no_backup: nocommit, quiet: json };
    let immutable = ImmutableTags::new(config, &vendor, force_tag);
    let may_move = |tag: &Tag, before: &Digest| {
        Ok(if immutable.check([(tag, before)].into_iter())? { FORCED } else { "" })
    };
    let report = republish.run(|registry, name| {
        exposure::check(registry.vendor, &config.vendor(registry.vendor.name()))?;
        republish::tag(registry, name, &new, &from, &may_move)
    })?;
    report.print(json);
    Ok(ExitCode::SUCCESS)
}

/// Parses `IMAGE:TAG`, `IMAGE@DIGEST`, or `IMAGE`, which means its tag `latest`.
fn parse(text: &str) -> Result<(RepositoryName, Reference), Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::new(Kind::Usage, format!("`{text}` is not IMAGE:TAG or IMAGE@DIGEST: {error}"))
    };
    if let Some((name, digest)) = text.split_once('@') {
        let digest = digest.parse().map_err(|error| wrong(&error))?;
        return Ok((name.parse().map_err(|error| wrong(&error))?, Reference::Digest(digest)));
    }
    let ImageArgument { name, tag } = text.parse().map_err(|error| wrong(&error))?;
    let tag = tag.map_or_else(|| "latest".parse().map_err(|error| wrong(&error)), Ok)?;
    Ok((name, Reference::Tag(tag)))
}
