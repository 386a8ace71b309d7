//! `[aws]`: overrides of the standard chain of AWS credentials.

use std::path::Path;

use raas_base::Secret;

use crate::ini::{Ini, IniError};
use crate::key::{Key, Section, SectionText};
use crate::values::{secret, text};

/// Overrides of the standard chain of AWS credentials.
#[derive(Debug, Clone, Default)]
pub struct Aws {
    /// The id of the access key. It is set together with its secret.
    pub access_key_id: Option<String>,
    /// The secret of the access key.
    pub secret_access_key: Option<Secret>,
    /// The session token of a temporary access key.
    pub session_token: Option<Secret>,
    /// A profile of `~/.aws/config` and `~/.aws/credentials`.
    pub profile: Option<String>,
    /// The region of vendors whose section has none.
    pub region: Option<String>,
}

/// The keys that are set together.
const KEY_PAIR: [&str; 2] = ["aws_access_key_id", "aws_secret_access_key"];

impl Aws {
    pub(crate) fn read(ini: &Ini) -> Result<Self, IniError> {
        let mut aws = Self::default();
        SECTION.read(ini, SECTION.name, Path::new(""), &mut aws)?;
        for (key, other) in [KEY_PAIR, [KEY_PAIR[1], KEY_PAIR[0]]].map(|[key, other]| (key, other)) {
            if let (Some(value), None) = (ini.value(SECTION.name, key), ini.value(SECTION.name, other)) {
                return Err(value.error(format!(
                    "`{key}` needs `{other}`: set both, or neither to use the environment, ~/.aws or the machine's role"
                )));
            }
        }
        Ok(aws)
    }
}

pub(super) static SECTION: Section<Aws> = Section {
    name: "aws",
    text: SectionText {
        heading: "[aws]: overrides of the standard chain of credentials",
        comment: "Overrides of the credentials and the region from the environment, ~/.aws and the machine's role.",
    },
    keys: &[
        Key::<Aws>::new("aws_access_key_id", "the id of the access key", "AKIAEXAMPLE", |aws, value, _| {
            aws.access_key_id = Some(text(value)?);
            Ok(())
        }),
        Key::<Aws>::new(
            "aws_secret_access_key",
            "the secret of the access key",
            "${RAAS_AWS_SECRET}",
            |aws, value, _| {
                aws.secret_access_key = Some(secret(value)?);
                Ok(())
            },
        )
        .secret(),
        Key::<Aws>::new(
            "aws_session_token",
            "the session token of a temporary access key",
            "${RAAS_AWS_TOKEN}",
            |aws, value, _| {
                aws.session_token = Some(secret(value)?);
                Ok(())
            },
        )
        .secret(),
        Key::<Aws>::new(
            "profile",
            "a profile of `~/.aws/config` and `~/.aws/credentials`",
            "operator",
            |aws, value, _| {
                aws.profile = Some(text(value)?);
                Ok(())
            },
        ),
        Key::<Aws>::new(
            "region",
            "the region of vendors whose section has no `s3_region`",
            "eu-central-1",
            |aws, value, _| {
                aws.region = Some(text(value)?);
                Ok(())
            },
        ),
    ],
};
