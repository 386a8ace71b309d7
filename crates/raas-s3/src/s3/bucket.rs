//! Making a bucket, and setting it up as the vendor's `access` says.

use aws_sdk_s3::client::customize::CustomizableOperation;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_bucket_policy::{PutBucketPolicyError, PutBucketPolicyOutput};
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketLocationConstraint,
    CreateBucketConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
    Permission, PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};

use super::Shared;
use super::checksums::{ContentMd5, Integrity};
use super::errors::{Action, FailedRequest};
use super::leftovers::GRACE;
use super::policy::{self, Remaining};
use raas_publish::storage::StorageError;
use raas_types::BucketAccess;

/// What a setup did and found, a line each.
#[derive(Debug, Default)]
struct Prepared {
    lines: Vec<String>,
}

const CREATE: Action = Action::on_bucket("s3:CreateBucket");
const SET_ENCRYPTION: Action = Action::on_bucket("s3:PutEncryptionConfiguration");
const SET_LIFECYCLE: Action = Action::on_bucket("s3:PutLifecycleConfiguration");
const SET_BLOCK: Action = Action::on_bucket("s3:PutBucketPublicAccessBlock");
const GET_POLICY: Action = Action::on_bucket("s3:GetBucketPolicy");
const SET_POLICY: Action = Action::on_bucket("s3:PutBucketPolicy");
const GET_ACL: Action = Action::on_bucket("s3:GetBucketAcl");

/// The beginning of the ids of raas's own lifecycle rules.
const RULE: &str = "raas-unfinished";

/// The groups of an ACL that mean everybody.
const EVERYBODY: [&str; 2] = [
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
];

impl Shared {
    /// Checks the bucket. With `create`, makes a missing bucket and sets it up. Refuses a bucket that everybody may
    /// write to.
    pub(super) async fn prepare(&self, create: bool) -> Result<Vec<String>, StorageError> {
        let mut prepared = Prepared::default();
        if !self.bucket_exists().await? {
            if !create {
                let error = std::io::Error::other("NoSuchBucket");
                let (vendor, bucket) = (&self.location.vendor, &self.location.bucket);
                let message = format!("there is no bucket {bucket} at {}", self.location.service());
                return Err(StorageError::new(message, error)
                    .hint(format!("make it with `raas setup {vendor} --create`")));
            }
            self.create_bucket(&mut prepared).await?;
        }
        if create {
            // The service may have learned to take checksums.
            self.checksums.forget();
            self.set_encryption(&mut prepared).await?;
            self.set_lifecycle(&mut prepared).await?;
            self.set_access_block(&mut prepared).await?;
            self.set_policy(&mut prepared).await?;
        }
        self.refuse_public_writes(&mut prepared).await?;
        Ok(prepared.lines)
    }
}

/// A request that sets something of the bucket. S3 demands a checksum or `Content-MD5`, and the SDK adds a checksum.
fn set<T, E, B>(
    request: CustomizableOperation<T, E, B>,
    integrity: Integrity,
) -> CustomizableOperation<T, E, B> {
    match integrity {
        Integrity::Checksum => request,
        Integrity::SignedPayload => request.interceptor(ContentMd5),
    }
}

impl Prepared {
    fn say(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// Takes the result of an operation that raas can do without. If the service lacks the operation, or the
    /// credentials may not do it, a line says so and the result is `None`.
    async fn tolerate<T, E: ProvideErrorMetadata + std::error::Error + 'static>(
        &mut self,
        shared: &Shared,
        what: &str,
        action: Action,
        result: Result<T, Box<SdkError<E, HttpResponse>>>,
    ) -> Result<Option<T>, StorageError> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        let failed = FailedRequest::of(&error);
        if failed.unsupported() {
            self.say(format!("{what}: the service does not have that"));
        } else if failed.denied() {
            self.say(format!("{what}: the credentials lack the permission {}", action.permission()));
        } else {
            return Err(shared.explain(format!("{what} failed"), action, &error).await);
        }
        Ok(None)
    }
}

impl Shared {
    pub(super) async fn bucket_exists(&self) -> Result<bool, StorageError> {
        // A listing and no HEAD: a refused HEAD has no body with the reason.
        let request =
            self.client().list_objects_v2().bucket(&self.location.bucket).prefix(&self.location.prefix);
        match request.max_keys(1).send().await {
            Ok(_) => Ok(true),
            Err(error) if FailedRequest::of(&error).is("NoSuchBucket") => Ok(false),
            Err(error) => Err(self.explain("cannot look for the objects", Action::LIST, &error).await),
        }
    }

    async fn create_bucket(&self, prepared: &mut Prepared) -> Result<(), StorageError> {
        let region = self.location.region.as_str();
        let mut request = self.client().create_bucket().bucket(&self.location.bucket);
        // AWS refuses its first region as a location constraint.
        if region != "us-east-1" {
            let location = CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(region))
                .build();
            request = request.create_bucket_configuration(location);
        }
        match request.send().await {
            Ok(_) => {
                prepared.say(format!("Made bucket {} in region {region}", self.location.bucket));
                Ok(())
            }
            // Another setup has made it at the same time.
            Err(error) if FailedRequest::of(&error).is("BucketAlreadyOwnedByYou") => Ok(()),
            Err(error) if FailedRequest::of(&error).is("BucketAlreadyExists") => {
                let error = self.explain("cannot make the bucket", CREATE, &error).await;
                Err(error.hint("choose another name: bucket names are global, and somebody else has a bucket of that name"))
            }
            Err(error) => Err(self.explain("cannot make the bucket", CREATE, &error).await),
        }
    }

    async fn set_encryption(&self, prepared: &mut Prepared) -> Result<(), StorageError> {
        if self.client().get_bucket_encryption().bucket(&self.location.bucket).send().await.is_ok() {
            return Ok(());
        }
        let by_default = ServerSideEncryptionByDefault::builder()
            .sse_algorithm(ServerSideEncryption::Aes256)
            .build()
            .expect("the algorithm is set");
        let rule =
            ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(by_default).build();
        let rules = ServerSideEncryptionConfiguration::builder().rules(rule).build().expect("a rule is set");
        let request = self
            .client()
            .put_bucket_encryption()
            .bucket(&self.location.bucket)
            .server_side_encryption_configuration(rules);
        let result = self.send_setting(|integrity| set(request.clone().customize(), integrity).send()).await;
        let done = prepared.tolerate(self, "Encryption by default", SET_ENCRYPTION, result).await?;
        if done.is_some() {
            prepared.say("Objects are encrypted by default (SSE-S3)");
        }
        Ok(())
    }

    /// Lets the service remove unfinished uploads, even if raas never runs again.
    async fn set_lifecycle(&self, prepared: &mut Prepared) -> Result<(), StorageError> {
        let found =
            self.client().get_bucket_lifecycle_configuration().bucket(&self.location.bucket).send().await;
        let mut rules = found.ok().and_then(|found| found.rules).unwrap_or_default();
        let is_ours = |rule: &LifecycleRule| rule.id().is_some_and(|id| id.starts_with(RULE));
        let below = |rule: &LifecycleRule| {
            let filter = rule.filter().and_then(LifecycleRuleFilter::prefix);
            filter.unwrap_or_default() == self.location.prefix
        };
        if rules.iter().any(|rule| is_ours(rule) && below(rule)) {
            return Ok(());
        }
        // raas's own rules of other prefixes are written again unchanged.
        if !rules.iter().all(is_ours) {
            // Writing foreign rules could lose parts of them that this program does not know.
            prepared.say(format!(
                "The bucket has lifecycle rules of its own: add one that aborts multipart uploads below `{}` after 2 \
                 days",
                self.location.prefix
            ));
            return Ok(());
        }
        let days = (GRACE.as_secs() / (24 * 60 * 60)) as i32;
        rules.extend(self.lifecycle_rules(days));
        let rules =
            BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().expect("rules are set");
        let request = self
            .client()
            .put_bucket_lifecycle_configuration()
            .bucket(&self.location.bucket)
            .lifecycle_configuration(rules);
        let result = self.send_setting(|integrity| set(request.clone().customize(), integrity).send()).await;
        let done = prepared.tolerate(self, "Removal of unfinished uploads", SET_LIFECYCLE, result).await?;
        if done.is_some() {
            prepared.say(format!("Unfinished uploads are removed after {days} days"));
        }
        Ok(())
    }

    fn lifecycle_rules(&self, days: i32) -> [LifecycleRule; 2] {
        let rule = |name: &str, prefix: String| {
            LifecycleRule::builder()
                .id(format!("{RULE}-{name}-{}", policy::short_digest(&self.location.prefix)))
                .status(ExpirationStatus::Enabled)
                .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
        };
        let uploads = rule("uploads", self.location.prefix.clone()).abort_incomplete_multipart_upload(
            AbortIncompleteMultipartUpload::builder().days_after_initiation(days).build(),
        );
        let objects = rule("objects", self.location.uploads())
            .expiration(LifecycleExpiration::builder().days(days).build());
        [uploads, objects].map(|rule| rule.build().expect("the status is set"))
    }

    async fn set_access_block(&self, prepared: &mut Prepared) -> Result<(), StorageError> {
        let public = self.location.access == BucketAccess::Public;
        let by_acl = self.location.by_acl;
        let found = self.client().get_public_access_block().bucket(&self.location.bucket).send().await;
        let found = found.ok().and_then(|found| found.public_access_block_configuration);
        let others = if public { Vec::new() } else { self.other_public_reads().await? };
        // Another vendor of this bucket may need public reads, so these two settings stay as they are.
        let stands = |now: Option<bool>| !public && (others.is_empty() || now == Some(true));
        let now = found.as_ref();
        let block = PublicAccessBlockConfiguration::builder()
            .block_public_acls(!by_acl)
            .ignore_public_acls(!by_acl)
            .block_public_policy(stands(now.and_then(|now| now.block_public_policy)))
            .restrict_public_buckets(stands(now.and_then(|now| now.restrict_public_buckets)))
            .build();
        if !others.is_empty() {
            prepared.say(format!(
                "Public policies are not blocked in bucket {}: everybody may read what is below {} by a statement of raas",
                self.location.bucket,
                others.join(", ")
            ));
        }
        if found.as_ref() == Some(&block) {
            return Ok(());
        }
        if !public {
            // First removes the statement of an earlier `access = public`.
            self.set_policy(&mut Prepared::default()).await?;
        }
        let request = self
            .client()
            .put_public_access_block()
            .bucket(&self.location.bucket)
            .public_access_block_configuration(block);
        let result = self.send_setting(|integrity| set(request.clone().customize(), integrity).send()).await;
        let done = prepared.tolerate(self, "Blocking of public access", SET_BLOCK, result).await?;
        if done.is_some() {
            prepared.say(if by_acl {
                "Public access is by the ACL of each object"
            } else if public || !others.is_empty() {
                "Public access is by policy alone, never by ACL"
            } else {
                "Public access is blocked"
            });
        }
        Ok(())
    }

    /// The other prefixes of the bucket that everybody may read, for people.
    async fn other_public_reads(&self) -> Result<Vec<String>, StorageError> {
        // If the policy cannot be read, setting it says so.
        let policy = self.bucket_policy(&mut Prepared::default()).await?;
        let others =
            policy.map(|policy| policy::other_public_reads(&policy, &self.location)).unwrap_or_default();
        Ok(others.iter().map(|prefix| format!("`{prefix}`")).collect())
    }

    async fn set_policy(&self, prepared: &mut Prepared) -> Result<(), StorageError> {
        let found = self.bucket_policy(prepared).await?;
        let bucket = &self.location.bucket;
        if self.location.by_acl {
            return Ok(());
        }
        if self.location.access != BucketAccess::Public {
            return match found.as_deref().and_then(|found| policy::without_public_read(found, &self.location))
            {
                None => Ok(()),
                Some(Remaining::Nothing) => {
                    let result = self.client().delete_bucket_policy().bucket(bucket).send().await;
                    let result = result.map_err(Box::new);
                    prepared.tolerate(self, "Ending public reads", SET_POLICY, result).await.map(drop)
                }
                Some(Remaining::Policy(policy)) => {
                    let result = self.put_policy(&policy).await;
                    prepared.tolerate(self, "Ending public reads", SET_POLICY, result).await.map(drop)
                }
            };
        }
        let Some(policy) = policy::with_public_read(found.as_deref(), &self.location) else { return Ok(()) };
        let mut result = self.put_policy(&policy).await;
        // A service may refuse public policies for a while after their block is removed.
        for doubling in 0..4 {
            if !result.as_ref().is_err_and(|error| FailedRequest::of(error).denied()) {
                break;
            }
            tokio::time::sleep(self.retry_policy.first_backoff * 2_u32.pow(doubling)).await;
            result = self.put_policy(&policy).await;
        }
        match prepared.tolerate(self, "Public reads", SET_POLICY, result).await? {
            Some(_) => prepared.say(format!("Everybody may read {}", self.location.name())),
            None => prepared.say(format!(
                "Set `s3_public_acl = yes` in section [{}] of raas.cfg if the service has ACLs of objects; or make the \
                 objects of {bucket} readable for everybody by the service's own means; or set `access = presigned`",
                self.location.vendor
            )),
        }
        Ok(())
    }

    async fn put_policy(
        &self,
        policy: &str,
    ) -> Result<PutBucketPolicyOutput, Box<SdkError<PutBucketPolicyError, HttpResponse>>> {
        let request = self.client().put_bucket_policy().bucket(&self.location.bucket).policy(policy);
        self.send_setting(|integrity| set(request.clone().customize(), integrity).send()).await
    }

    /// Sends a setting of the bucket, with a checksum or with the older `Content-MD5`.
    async fn send_setting<T, E, F>(
        &self,
        send: impl Fn(Integrity) -> F,
    ) -> Result<T, Box<SdkError<E, HttpResponse>>>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let (answer, _) = self.send_verified(self.checksums.integrity(), send).await?;
        Ok(answer)
    }

    /// The bucket's policy; `None` if it has none, or if the credentials may not read it.
    async fn bucket_policy(&self, prepared: &mut Prepared) -> Result<Option<String>, StorageError> {
        let result = self.client().get_bucket_policy().bucket(&self.location.bucket).send().await;
        if result.as_ref().is_err_and(|error| FailedRequest::of(error).is("NoSuchBucketPolicy")) {
            return Ok(None);
        }
        let result = result.map_err(Box::new);
        let found = prepared.tolerate(self, "Reading the bucket's policy", GET_POLICY, result).await?;
        Ok(found.and_then(|found| found.policy))
    }

    async fn refuse_public_writes(&self, prepared: &mut Prepared) -> Result<(), StorageError> {
        // Each thing that cannot be read is reported once.
        let mut unreadable = Prepared::default();
        let policy = self.bucket_policy(&mut unreadable).await?;
        let mut found = policy.as_deref().map(policy::public_writes).unwrap_or_default();
        let acl = self.client().get_bucket_acl().bucket(&self.location.bucket).send().await;
        let acl = acl.map_err(Box::new);
        let acl = unreadable.tolerate(self, "Reading the bucket's ACL", GET_ACL, acl).await?;
        for grant in acl.and_then(|acl| acl.grants).unwrap_or_default() {
            let uri = grant.grantee.as_ref().and_then(|grantee| grantee.uri());
            let everybody = uri.is_some_and(|uri| EVERYBODY.contains(&uri));
            let writes = matches!(
                grant.permission,
                Some(Permission::Write | Permission::FullControl | Permission::WriteAcp)
            );
            if everybody && writes {
                found.push(format!("ACL {}", grant.permission.as_ref().map_or("?", Permission::as_str)));
            }
        }
        for line in unreadable.lines {
            if !prepared.lines.contains(&line) {
                prepared.lines.push(line);
            }
        }
        if found.is_empty() {
            return self.refuse_public_metadata(policy.as_deref());
        }
        let message = format!("everybody may write to bucket {}: {}", self.location.bucket, found.join(", "));
        let error = std::io::Error::other("everybody could replace the vendor's images");
        Err(StorageError::new(message, error)
            .hint("remove that permission from the bucket's policy or ACL, and run this again"))
    }

    /// Refuses a policy by which everybody may read which repositories there are.
    fn refuse_public_metadata(&self, policy: Option<&str>) -> Result<(), StorageError> {
        let found = policy.map(|policy| policy::public_metadata(policy, &self.location)).unwrap_or_default();
        if found.is_empty() {
            return Ok(());
        }
        let message = format!(
            "everybody may read the metadata in bucket {}: {}",
            self.location.bucket,
            found.join(", ")
        );
        let error = std::io::Error::other("it names protected repositories, and who has published what");
        Err(StorageError::new(message, error).hint(format!(
            "run `raas setup {} --create`, which repairs a statement of raas, or remove that permission from the bucket's \
             policy",
            self.location.vendor
        )))
    }
}
