//! What is kept like its source: one `sync.<image>` key of a vendor's section.

mod tag_filter;
mod version;

use raas_sources::registry::{RegistryAddress, WantedAttachments};
use raas_types::{Platform, PlatformError, RepositoryName};

pub use tag_filter::TagFilter;

/// An image that is kept like its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRule {
    /// The image in the vendor's registry.
    pub image: RepositoryName,
    /// Its source.
    pub source: SyncSource,
    /// The wanted tags.
    pub tags: TagFilter,
    /// How many published tags that the source lacks are removed at once at most; none are removed without it.
    pub prune: Option<usize>,
    /// The wanted platforms of indexes; empty for all.
    pub platforms: Vec<Platform>,
    /// Whether cosign's tags come along with their images.
    pub digest_tags: bool,
    /// What happens to attachments in the list of referrers.
    pub referrers: Referrers,
}

/// What happens to attachments in the list of referrers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Referrers {
    /// They stay behind.
    No,
    /// They come along when their image is published.
    #[default]
    Yes,
    /// The list of each image is asked for, and a new attachment is a change.
    Compare,
}

/// The source of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncSource {
    /// The Pulp server of `[pulpserver]`.
    Pulp,
    /// A repository in a registry.
    Registry(RegistryAddress),
}

impl SyncRule {
    /// Reads the value: the source in the first line, and `tags = …` and `prune = …` in lines of their own.
    ///
    /// # Errors
    /// A line cannot be used. The message shows no password.
    pub fn parse(image: &str, value: &str) -> Result<Self, String> {
        let image: RepositoryName =
            image.parse().map_err(|error: raas_types::NameError| error.to_string())?;
        image.check_publishable().map_err(|error| error.to_string())?;
        let mut lines = value.lines().map(str::trim).filter(|line| !line.is_empty());
        let source = match lines.next() {
            Some("pulp") => SyncSource::Pulp,
            Some(text) if RegistryAddress::is_meant_by(text) => {
                let address: RegistryAddress =
                    text.parse().map_err(|error: raas_types::ImageReferenceError| error.to_string())?;
                if address.tag.is_some() || address.digest.is_some() {
                    return Err(format!(
                        "`{address}` names one image: name its repository, and choose with `tags`"
                    ));
                }
                SyncSource::Registry(address)
            }
            _ => return Err("expected `pulp` or docker://HOST/NAME in the first line".into()),
        };
        let mut rule = Self {
            image,
            source,
            tags: TagFilter::default(),
            prune: None,
            platforms: Vec::new(),
            digest_tags: true,
            referrers: Referrers::default(),
        };
        for line in lines {
            let (key, value) =
                line.split_once('=').map_or((line, ""), |(key, value)| (key.trim(), value.trim()));
            match key {
                "tags" => rule.tags = TagFilter::parse(value)?,
                "prune" => {
                    let most = value.parse().ok();
                    rule.prune = Some(most.ok_or_else(|| {
                        format!("`prune` is the most tags to remove at once, not `{value}`")
                    })?);
                }
                "platforms" => {
                    let words = value.split([',', ' ']).filter(|word| !word.is_empty());
                    let platforms: Result<Vec<Platform>, PlatformError> = words.map(str::parse).collect();
                    rule.platforms = platforms.map_err(|error| error.to_string())?;
                }
                "digest_tags" => {
                    rule.digest_tags = match value {
                        "yes" => true,
                        "no" => false,
                        _ => return Err(format!("`digest_tags` is yes or no, not `{}`", short(value))),
                    };
                }
                "referrers" => {
                    rule.referrers = match value {
                        "yes" => Referrers::Yes,
                        "no" => Referrers::No,
                        "compare" => Referrers::Compare,
                        _ => {
                            return Err(format!("`referrers` is yes, no or compare, not `{}`", short(value)));
                        }
                    };
                }
                _ => {
                    return Err(format!(
                        "`{}` is not one of `tags`, `prune`, `platforms`, `digest_tags` and `referrers`",
                        short(key)
                    ));
                }
            }
        }
        Ok(rule)
    }

    /// Which attachments come along.
    pub fn attachments(&self) -> WantedAttachments {
        WantedAttachments { digest_tags: self.digest_tags, referrers: self.referrers != Referrers::No }
    }
}

/// A text for a message.
fn short(text: &str) -> String {
    text.chars().take(50).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_source_with_a_choice_of_tags() {
        let rule = SyncRule::parse("tools/app", "docker://x.org/team/app\n tags = 1.*, !*-rc*\n\tprune = 3")
            .unwrap();
        assert_eq!(rule.image.as_str(), "tools/app");
        assert_eq!(rule.source, SyncSource::Registry("docker://x.org/team/app".parse().unwrap()));
        assert_eq!((rule.tags, rule.prune), (TagFilter::parse("1.*,!*-rc*").unwrap(), Some(3)));
        let text = "pulp\nplatforms = linux/amd64, linux/arm64/v8\ndigest_tags = no\nreferrers = compare";
        let rule = SyncRule::parse("app", text).unwrap();
        let platforms: Vec<String> = rule.platforms.iter().map(ToString::to_string).collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64/v8"]);
        assert_eq!(rule.attachments(), WantedAttachments { digest_tags: false, referrers: true });
        assert_eq!(rule.referrers, Referrers::Compare);
        let plain = SyncRule::parse("app", "pulp").unwrap();
        assert_eq!(plain.attachments(), WantedAttachments::default());
        assert_eq!((plain.source, plain.tags, plain.prune), (SyncSource::Pulp, TagFilter::default(), None));
        for (image, value) in [
            ("App", "pulp"),
            ("a.json", "pulp"),
            ("app", ""),
            ("app", "https://x.org/app"),
            ("app", "docker://x.org/app:1"),
            ("app", "pulp\ncolour = red"),
            ("app", "pulp\nprune = yes"),
            ("app", "pulp\ntags = a b"),
            ("app", "pulp\nplatforms = linux"),
            ("app", "pulp\ndigest_tags = maybe"),
            ("app", "pulp\nreferrers = all"),
        ] {
            assert!(SyncRule::parse(image, value).is_err(), "{image}: {value}");
        }
        let error = SyncRule::parse("app", "docker://u:hunter2@x.org/app").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
