//! Finds out whether a policy lets everybody read metadata: which repositories there are, protected ones included, and
//! who has published what when.

use raas_types::{Digest, ObjectKey};
use serde_json::Value;

use super::super::bucket_location::BucketLocation;
use super::{is_for_everybody, parse, statements, words};

/// The resources by which a policy lets everybody read metadata or the history.
pub(in super::super) fn public_metadata(policy: &str, location: &BucketLocation) -> Vec<String> {
    let Some(policy) = parse(Some(policy)) else { return Vec::new() };
    let statements = statements(&policy);
    let sample = Digest::of(b"").hex();
    let arns = [
        location.arn_of(&ObjectKey::Pointer.to_string()),
        location.arn_of(&format!("{}{sample}.tar.gz", ObjectKey::SNAPSHOTS)),
        location.arn_of(&format!("_record/{sample}")),
    ];
    let is = |statement: &Value, effect: &str| statement["Effect"] == effect && is_for_everybody(statement);
    // A denial with a condition does not always hold.
    let denials: Vec<&Value> = statements
        .iter()
        .filter(|statement| is(statement, "Deny") && statement.get("Condition").is_none())
        .collect();
    let open: Vec<&String> =
        arns.iter().filter(|arn| !denials.iter().any(|denial| covers(denial, arn))).collect();
    let allowing = statements.iter().filter(|statement| is(statement, "Allow"));
    let allowing = allowing.filter(|statement| open.iter().any(|arn| covers(statement, arn)));
    let resources = |statement: &Value| match statement.get("NotResource") {
        Some(_) => vec!["all but some resources".to_owned()],
        None => {
            let named = words(&statement["Resource"]);
            named.into_iter().filter(|pattern| open.iter().any(|arn| is_match(pattern, arn))).collect()
        }
    };
    allowing.flat_map(resources).collect()
}

/// Whether a statement is about reading an object.
fn covers(statement: &Value, arn: &str) -> bool {
    let any = |key: &str, text: &str| words(&statement[key]).iter().any(|pattern| is_match(pattern, text));
    let action =
        |key: &str| words(&statement[key]).iter().any(|p| is_match(&p.to_ascii_lowercase(), "s3:getobject"));
    let has_action =
        if statement.get("NotAction").is_some() { !action("NotAction") } else { action("Action") };
    let has_resource =
        if statement.get("NotResource").is_some() { !any("NotResource", arn) } else { any("Resource", arn) };
    has_action && has_resource
}

/// Whether a text has the form of a pattern: `*` stands for any characters, `?` for one.
///
/// Source: "IAM JSON policy elements: Resource", AWS Identity and Access Management User Guide.
fn is_match(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // The last `*`, and what it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::super::with_public_read;
    use super::*;
    use crate::settings::S3Settings;

    fn location() -> BucketLocation {
        let prefix = Some("reg".to_owned());
        let settings = S3Settings { bucket: "bytes".into(), prefix, ..S3Settings::default() };
        BucketLocation::new(&"acme".parse().unwrap(), &settings, "us-east-1")
    }

    #[test]
    fn patterns_match_as_in_a_policy() {
        let table = [
            ("a*c", "abbc", true),
            ("a*c", "ac", true),
            ("a*c*", "abcd", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("", "a", false),
            ("a*b*c", "axbxb", false),
            ("*ab", "aab", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(is_match(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn public_metadata_is_found() {
        let policy = |statements: &str| format!(r#"{{"Statement":[{statements}]}}"#);
        let allow = |action: &str, resource: &str| {
            format!(r#"{{"Effect":"Allow","Principal":"*","Action":"{action}","Resource":"{resource}"}}"#)
        };
        let deny = r#"{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":["arn:aws:s3:::bytes/reg/_metadata/*","arn:aws:s3:::bytes/reg/_record/*"]}"#;
        let all = allow("s3:Get*", "arn:aws:s3:::bytes/*");
        let not = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","NotResource":"arn:aws:s3:::bytes/x/*"}"#;
        let owner =
            r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::1:root"},"Action":"s3:*","Resource":"*"}"#;
        let table = [
            (all.clone(), true),
            (allow("s3:GetObject", "arn:aws:s3:::bytes/reg/_metadata/*"), true),
            (allow("s3:getobject", "arn:aws:s3:::bytes/reg/_record/*"), true),
            (allow("*", "*"), true),
            (not.to_owned(), true),
            (format!("{all},{deny}"), false),
            (allow("s3:ListBucket", "arn:aws:s3:::bytes"), false),
            (allow("s3:GetObject", "arn:aws:s3:::bytes/reg/*/_v2/*"), false),
            (allow("s3:GetObject", "arn:aws:s3:::bytes/other/*"), false),
            (owner.to_owned(), false),
        ];
        for (statements, found) in table {
            assert_eq!(!public_metadata(&policy(&statements), &location()).is_empty(), found, "{statements}");
        }
    }

    #[test]
    fn the_statement_of_an_older_raas_is_found_and_repaired() {
        let today = with_public_read(None, &location()).unwrap();
        assert_eq!(public_metadata(&today, &location()), [""; 0]);
        let older = today.replace(
            r#""arn:aws:s3:::bytes/reg/*/ancestry""#,
            r#""arn:aws:s3:::bytes/reg/*/ancestry","arn:aws:s3:::bytes/reg/_metadata/*""#,
        );
        assert_ne!(older, today);
        assert_eq!(public_metadata(&older, &location()), ["arn:aws:s3:::bytes/reg/_metadata/*"]);
        assert_eq!(with_public_read(Some(&older), &location()), Some(today));
    }
}
