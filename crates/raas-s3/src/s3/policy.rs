//! Bucket policies: letting everybody read, and finding out whether everybody may write.

mod reads;

use raas_types::Digest;
use serde_json::{Value, json};

use super::bucket_location::BucketLocation;
pub(super) use reads::public_metadata;

/// The name of the statement that raas writes for a bucket without a prefix. The name for a prefix begins with it.
/// Older versions used this name for every prefix.
const SID: &str = "RaasPublicRead";

/// What everybody may read in a public bucket: images. The metadata in `_metadata/` is for servers only, and the
/// history in `_record/` for publishers.
const PUBLIC: [&str; 4] = ["*/_v2/*", "*/layer", "*/json", "*/ancestry"];

/// What the statements of older versions named too: the metadata, or everything.
const OLDER: [&str; 2] = ["_metadata/*", "*"];

/// Adds the permission for everybody to read images. All other statements stay. `None` if the policy has the
/// permission already.
pub(super) fn with_public_read(policy: Option<&str>, location: &BucketLocation) -> Option<String> {
    let ours = json!({
        "Sid": sid(&location.prefix),
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": PUBLIC.map(|pattern| location.arn_of(pattern)),
    });
    let mut policy = parse(policy).unwrap_or_else(|| json!({"Version": "2012-10-17", "Statement": []}));
    let mut statements = statements(&policy);
    if statements.contains(&ours) {
        return None;
    }
    statements.retain(|statement| !is_of(statement, location));
    for statement in &mut statements {
        // Two statements of a policy cannot have the same name.
        if statement["Sid"] == ours["Sid"]
            && let Some(prefix) = prefix_of(statement, location)
        {
            statement["Sid"] = sid(&prefix).into();
        }
    }
    statements.push(ours);
    policy["Statement"] = statements.into();
    Some(policy.to_string())
}

/// Removes the permission that raas has written for this prefix. `None` if the policy has no such permission.
pub(super) fn without_public_read(policy: &str, location: &BucketLocation) -> Option<Remaining> {
    let mut policy = parse(Some(policy))?;
    let all = statements(&policy);
    let kept: Vec<Value> = all.iter().filter(|statement| !is_of(statement, location)).cloned().collect();
    match kept.len() {
        len if len == all.len() => None,
        0 => Some(Remaining::Nothing),
        _ => {
            policy["Statement"] = kept.into();
            Some(Remaining::Policy(policy.to_string()))
        }
    }
}

/// The other prefixes of the bucket that everybody may read by a statement of raas.
pub(super) fn other_public_reads(policy: &str, location: &BucketLocation) -> Vec<String> {
    let Some(policy) = parse(Some(policy)) else { return Vec::new() };
    let prefixes = statements(&policy).into_iter().filter_map(|statement| prefix_of(&statement, location));
    prefixes.filter(|prefix| *prefix != location.prefix).collect()
}

/// The name of the statement of a prefix. Such names have letters and digits alone.
///
/// Source: "IAM JSON policy elements: Sid", AWS Identity and Access Management User Guide.
fn sid(prefix: &str) -> String {
    if prefix.is_empty() { SID.to_owned() } else { format!("{SID}{}", short_digest(prefix)) }
}

/// A short digest of a prefix, for names that cannot have the prefix's own characters.
pub(super) fn short_digest(prefix: &str) -> String {
    Digest::of(prefix.as_bytes()).hex()[..16].to_owned()
}

/// Whether raas has written the statement for this prefix, even if somebody has changed its resources since.
fn is_of(statement: &Value, location: &BucketLocation) -> bool {
    match prefix_of(statement, location) {
        Some(prefix) => prefix == location.prefix,
        None => statement["Sid"] == sid(&location.prefix).as_str(),
    }
}

/// The prefix of a statement that raas has written, by its resources.
fn prefix_of(statement: &Value, location: &BucketLocation) -> Option<String> {
    let called = statement["Sid"].as_str()?.strip_prefix(SID)?;
    if !called.is_empty() && (called.len() != 16 || !called.bytes().all(|b| b.is_ascii_hexdigit())) {
        return None;
    }
    let bucket = format!("{}/", location.arn());
    let prefix = |resource: &String| {
        let path = resource.strip_prefix(&bucket)?;
        let prefix = PUBLIC.iter().chain(&OLDER).find_map(|pattern| path.strip_suffix(pattern))?;
        (prefix.is_empty() || prefix.ends_with('/')).then(|| prefix.to_owned())
    };
    let resources = words(&statement["Resource"]);
    let first = prefix(resources.first()?)?;
    resources.iter().all(|resource| prefix(resource).as_ref() == Some(&first)).then_some(first)
}

/// What remains of a policy without a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remaining {
    Nothing,
    Policy(String),
}

/// The actions by which a policy lets everybody write or delete.
pub(super) fn public_writes(policy: &str) -> Vec<String> {
    let Some(policy) = parse(Some(policy)) else { return Vec::new() };
    let mut found = Vec::new();
    for statement in statements(&policy) {
        if statement["Effect"] != "Allow" || !is_for_everybody(&statement) {
            continue;
        }
        let actions = words(&statement["Action"]);
        found.extend(actions.into_iter().filter(|action| writes(action)));
        if statement.get("NotAction").is_some() {
            found.push(format!("all but {}", words(&statement["NotAction"]).join(", ")));
        }
    }
    found
}

fn parse(policy: Option<&str>) -> Option<Value> {
    serde_json::from_str(policy?).ok().filter(Value::is_object)
}

/// The statements of a policy. A single statement needs no list around it.
fn statements(policy: &Value) -> Vec<Value> {
    match &policy["Statement"] {
        Value::Array(statements) => statements.clone(),
        Value::Object(_) => vec![policy["Statement"].clone()],
        _ => Vec::new(),
    }
}

fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(word) => vec![word.clone()],
        Value::Array(words) => words.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn is_for_everybody(statement: &Value) -> bool {
    // A statement for all principals except some is a statement for everybody.
    let everybody = statement.get("NotPrincipal").is_some() || is_everybody(&statement["Principal"]);
    everybody && !is_limited(&statement["Condition"])
}

/// Whether a condition limits a statement to named callers or sources. Source: "The meaning of public", Amazon S3
/// User Guide.
fn is_limited(condition: &Value) -> bool {
    const LIMITING: [&str; 11] = [
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceorgid",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:userid",
        "s3:dataaccesspointarn",
    ];
    let Value::Object(operators) = condition else { return false };
    operators.iter().any(|(operator, keys)| {
        let operator = operator.to_ascii_lowercase();
        let names_them = matches!(
            operator.as_str(),
            "stringequals" | "stringequalsignorecase" | "stringlike" | "arnequals" | "arnlike"
        );
        let Value::Object(keys) = keys else { return false };
        names_them
            && keys.iter().any(|(key, values)| {
                let values = words(values);
                LIMITING.contains(&key.to_ascii_lowercase().as_str())
                    && !values.is_empty()
                    && !values.iter().any(|value| value.contains(['*', '?']))
            })
    })
}

fn is_everybody(principal: &Value) -> bool {
    match principal {
        Value::Object(kinds) => kinds.values().any(|who| words(who).iter().any(|word| word == "*")),
        other => words(other).iter().any(|word| word == "*"),
    }
}

/// Whether an action, with its wildcards, is or includes one that changes something.
fn writes(action: &str) -> bool {
    let action = action.to_ascii_lowercase();
    let Some(verb) = action.strip_prefix("s3:").or((action == "*").then_some("*")) else { return false };
    !["get", "list", "describe"].iter().any(|reading| verb.starts_with(reading))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::S3Settings;

    fn place_of(prefix: &str) -> BucketLocation {
        let prefix = Some(prefix.to_owned());
        let settings = S3Settings { bucket: "bytes".into(), prefix, ..S3Settings::default() };
        BucketLocation::new(&"acme".parse().unwrap(), &settings, "us-east-1")
    }

    fn location() -> BucketLocation {
        place_of("reg")
    }

    /// The policy of an older version, which used one name for all prefixes.
    fn older(location: &BucketLocation) -> String {
        with_public_read(None, location).unwrap().replace(&sid(&location.prefix), SID)
    }

    #[test]
    fn public_read_is_added_beside_other_statements_and_removed_again() {
        let others = r#"{"Version":"2012-10-17","Statement":{"Sid":"Other","Effect":"Deny","Principal":"*","Action":"s3:*"}}"#;
        let with = with_public_read(Some(others), &location()).unwrap();
        assert!(with.contains("arn:aws:s3:::bytes/reg/*/_v2/*") && with.contains("Other"));
        assert_eq!(with_public_read(Some(&with), &location()), None);
        let Some(Remaining::Policy(without)) = without_public_read(&with, &location()) else { panic!() };
        assert!(without.contains("Other") && !without.contains(SID));
        assert_eq!(without_public_read(&without, &location()), None);
        let alone = with_public_read(None, &location()).unwrap();
        assert_eq!(without_public_read(&alone, &location()), Some(Remaining::Nothing));
        assert!(public_writes(&with).is_empty());
    }

    #[test]
    fn each_prefix_of_a_bucket_has_a_statement_of_its_own() {
        let (one, two, none) = (place_of("one"), place_of("two/b"), place_of(""));
        let first = with_public_read(None, &one).unwrap();
        assert!(with_public_read(None, &none).unwrap().contains(r#""Sid":"RaasPublicRead""#));
        for before in [first, older(&one)] {
            assert_eq!(other_public_reads(&before, &two), ["one/"]);
            assert!(other_public_reads(&before, &one).is_empty());
            assert_eq!(without_public_read(&before, &two), None);
            let both = with_public_read(Some(&before), &two).unwrap();
            assert!(both.contains("bytes/one/*/layer") && both.contains("bytes/two/b/*/layer"), "{both}");
            let Some(Remaining::Policy(left)) = without_public_read(&both, &one) else { panic!() };
            assert_eq!(other_public_reads(&left, &one), ["two/b/"]);
            // Names have only letters and digits, and are all different.
            let all = with_public_read(Some(&before), &none).unwrap();
            let all = with_public_read(Some(&all), &one).unwrap_or(all);
            let all = parse(Some(&all)).unwrap();
            let mut sids: Vec<&str> =
                all["Statement"].as_array().unwrap().iter().map(|s| s["Sid"].as_str().unwrap()).collect();
            sids.sort_unstable();
            sids.dedup();
            assert_eq!(sids.len(), 2, "{all}");
            assert!(sids.iter().all(|sid| sid.bytes().all(|b| b.is_ascii_alphanumeric())));
        }
        // The statement of an older version is known by its resources.
        let renewed = with_public_read(Some(&older(&one)), &one).unwrap();
        assert_eq!(Some(renewed), with_public_read(None, &one));
        assert_eq!(without_public_read(&older(&one), &one), Some(Remaining::Nothing));
    }

    #[test]
    fn public_writes_are_found() {
        let policy = |principal: &str, action: &str| {
            format!(r#"{{"Statement":[{{"Effect":"Allow","Principal":{principal},"Action":{action}}}]}}"#)
        };
        let table = [
            (r#""*""#, r#""s3:*""#, true),
            (r#""*""#, r#""*""#, true),
            (r#"{"AWS":"*"}"#, r#"["s3:GetObject","s3:PutObject"]"#, true),
            (r#"{"AWS":["arn:aws:iam::1:root","*"]}"#, r#""s3:Delete*""#, true),
            (r#""*""#, r#"["s3:GetObject","s3:ListBucket"]"#, false),
            (r#"{"AWS":"arn:aws:iam::1:root"}"#, r#""s3:*""#, false),
        ];
        for (principal, action, found) in table {
            assert_eq!(!public_writes(&policy(principal, action)).is_empty(), found, "{principal} {action}");
        }
        let table = [
            (r#""Principal":"*","NotAction":"s3:Get*""#, true),
            (r#""NotPrincipal":{"AWS":"arn:aws:iam::1:root"},"Action":"s3:PutObject""#, true),
            (
                r#""Principal":"*","Action":"s3:*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}"#,
                false,
            ),
            (r#""Principal":"*","Action":"s3:*","Condition":{"StringLike":{"aws:PrincipalArn":"*"}}"#, true),
            (
                r#""Principal":"*","Action":"s3:*","Condition":{"StringNotEquals":{"aws:SourceVpce":"v"}}"#,
                true,
            ),
            (r#""Principal":"*","Action":"s3:*","Condition":{"Bool":{"aws:SecureTransport":"true"}}"#, true),
        ];
        for (rest, found) in table {
            let policy = format!(r#"{{"Statement":{{"Effect":"Allow",{rest}}}}}"#);
            assert_eq!(!public_writes(&policy).is_empty(), found, "{policy}");
        }
    }
}
