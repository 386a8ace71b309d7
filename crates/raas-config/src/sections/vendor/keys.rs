//! The keys of a vendor's section.

use super::Draft;
use crate::bucket;
use crate::delivery::KeySource;
use crate::key::{Key, Section, SectionText};
use crate::sync_rule::SyncRule;
use crate::values::{
    allowed_hosts, bucket_access, checksum_policy, registry_addresses, repository_patterns, seconds,
    seconds_or_none, secret, signed_names, tag_patterns, text, token_algorithm, trusted_signers, url,
    yes_or_no,
};

pub(in crate::sections) static SECTION: Section<Draft> = Section {
    name: "bigdatainc",
    text: SectionText {
        heading: "A section for each vendor, named like the vendor",
        comment: "A section for each vendor, named like the vendor. `raas setup ISV --s3bucket NAME --oodomain NAME` adds it.",
    },
    keys: &[
        Key::<Draft>::new(
            "s3_bucket",
            "the vendor's bucket, as `raas setup --s3bucket` writes it: 3 to 63 lower-case letters, digits, \
             `-` and `.`; with `s3_endpoint` also capitals and `_`",
            "bigdatainc-images",
            |draft, value, _| {
                draft.settings.s3_bucket = Some(text(value)?);
                Ok(())
            },
        )
        .default("a folder of the home"),
        Key::<Draft>::new(
            "create_bucket",
            "whether the push that sets the vendor up creates a missing bucket, as `raas setup --create` does: yes or no",
            "yes",
            |draft, value, _| {
                draft.settings.create_bucket = yes_or_no(value)?;
                Ok(())
            },
        )
        .default("no"),
        Key::<Draft>::new("s3_endpoint", "the S3 service", "https://s3.example.com", |draft, value, _| {
            draft.settings.s3_endpoint = Some(url(value)?);
            Ok(())
        })
        .default("AWS"),
        Key::<Draft>::new("s3_region", "the bucket's region", "eu-central-1", |draft, value, _| {
            draft.settings.s3_region = Some(text(value)?);
            Ok(())
        })
        .default("`region` of `[aws]`"),
        Key::<Draft>::new(
            "s3_prefix",
            "the beginning of all object keys in the bucket: a path; no part of it may be empty, be `.` or `..`, begin \
             with `_`, or have control characters, `*`, `?` or `$`",
            "registry",
            |draft, value, _| {
                draft.settings.s3_prefix = bucket::prefix(value)?;
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "s3_path_style",
            "whether the bucket stands in the path of a URL and not in the host name: yes or no",
            "yes",
            |draft, value, _| {
                draft.settings.s3_path_style = yes_or_no(value)?;
                Ok(())
            },
        )
        .default("no"),
        Key::<Draft>::new(
            "s3_public_acl",
            "whether each object is stored with an ACL that lets everybody read it, for `access = public` on \
             a service without bucket policies: yes or no",
            "yes",
            |draft, value, _| {
                draft.settings.s3_public_acl = yes_or_no(value)?;
                Ok(())
            },
        )
        .default("no"),
        Key::<Draft>::new(
            "s3_checksums",
            "whether uploads carry checksums in headers: `auto` (unless the service refuses them), `required` or \
             `off`; without them, the signature of each upload covers its bytes",
            "auto",
            |draft, value, _| {
                draft.settings.s3_checksums = checksum_policy(value)?;
                Ok(())
            },
        )
        .default("`auto`"),
        Key::<Draft>::new(
            "s3_stall_timeout",
            "the number of seconds without a byte after which raas tries a request to the bucket again; the fifth such \
             wait is an error",
            "120",
            |draft, value, _| {
                draft.settings.s3_stall_timeout = Some(seconds(value)?);
                Ok(())
            },
        )
        .default("60"),
        Key::<Draft>::new(
            "s3_longest_pause",
            "how many seconds at most a request to the bucket pauses before it is tried again, also if the service asks for \
             more; 0 is no pause",
            "5",
            |draft, value, _| {
                draft.settings.s3_longest_pause = Some(seconds_or_none(value)?);
                Ok(())
            },
        )
        .default("20, and 30 if the service asks"),
        Key::<Draft>::new(
            "access",
            "how clients get objects: `presigned`, `public`, `cdn` or `proxy`",
            "presigned",
            |draft, value, _| {
                draft.settings.access = bucket_access(value)?;
                Ok(())
            },
        )
        .default("`presigned`"),
        Key::<Draft>::new(
            "cdn_url",
            "the base URL of the CDN in front of the bucket, for `access = cdn`",
            "https://cdn.bigdatainc.example",
            |draft, value, _| {
                draft.settings.cdn_url = Some(url(value)?);
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "cdn_akamai_secret",
            "the key of an Akamai CDN that requires tokens, in hex digits",
            "${BIGDATAINC_AKAMAI_KEY}",
            |draft, value, _| {
                draft.settings.delivery.akamai_secret = Some(secret(value)?);
                Ok(())
            },
        )
        .secret(),
        Key::<Draft>::new(
            "cdn_akamai_param",
            "the query parameter for an Akamai token",
            "_auth_",
            |draft, value, _| {
                draft.settings.delivery.akamai_param = Some(text(value)?);
                Ok(())
            },
        )
        .default("`_auth_`"),
        Key::<Draft>::new(
            "cdn_akamai_ttl",
            "for how many seconds an Akamai token is valid at least",
            "300",
            |draft, value, _| {
                draft.settings.delivery.akamai_ttl = Some(seconds(value)?);
                Ok(())
            },
        )
        .default("300"),
        Key::<Draft>::new(
            "cdn_akamai_algo",
            "the hash of an Akamai token: `sha256`; set `sha1` or `md5` only if the CDN is set up so",
            "sha256",
            |draft, value, _| {
                draft.settings.delivery.akamai_algorithm = token_algorithm(value)?;
                Ok(())
            },
        )
        .default("`sha256`"),
        Key::<Draft>::new(
            "cdn_cloudfront_key_id",
            "the id of the public key in the key group of a CloudFront that requires signed URLs",
            "K2JCJMDEHXQW5F",
            |draft, value, _| {
                draft.settings.delivery.cloudfront_key_id = Some(text(value)?);
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "cdn_cloudfront_key",
            "the private key of `cdn_cloudfront_key_id`, RSA or ECDSA (P-256): a PEM file, or the PEM itself \
             as `${NAME}`",
            "/etc/raas/bigdatainc-cloudfront.pem",
            |draft, value, folder| {
                draft.settings.delivery.cloudfront_key = Some(KeySource::new(&text(value)?, folder));
                Ok(())
            },
        )
        .secret(),
        Key::<Draft>::new(
            "proxy_repositories",
            "the repositories whose bytes the server proxies instead of redirecting clients: names, `NAME/*` \
             for everything below a name, `*` for all",
            "bigdata-app, appliance/*",
            |draft, value, _| {
                draft.settings.delivery.proxy_repositories = repository_patterns(value)?;
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "proxy_hosts",
            "the hosts from which the server may fetch masked layers of `proxy_repositories`; it redirects clients to \
             all other hosts",
            "cdn.example.com",
            |draft, value, _| {
                draft.settings.delivery.proxy_hosts = allowed_hosts(value)?;
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "registry_host",
            "the hosts that people pull from, each with its port if it is not 443; a server of many vendors selects \
             the vendor by the host, `raas push` prints the first host, and `raas status` asks all; no two vendors may \
             have the same host, not even with different ports; names below `localhost` are refused, since each vendor has \
             its own there already; the bucket or CDN that clients are redirected to must not be below any of them",
            "registry.bigdatainc.example, images.bigdatainc.example",
            |draft, value, _| {
                draft.settings.set_registry_addresses(registry_addresses(value)?);
                Ok(())
            },
        )
        .default("`ISV.localhost`"),
        Key::<Draft>::new(
            "immutable_tags",
            "the tags that must neither move nor go once they are published, with `*` for any characters: raas \
             rejects a command that would move or remove such a tag, unless it has `--force-tag`",
            "v*, *.*.*",
            |draft, value, _| {
                draft.settings.immutable_tags = tag_patterns(value)?;
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "require_signature",
            "the signers of whom one must have signed each image: files of keys (public keys of cosign in PEM, keys of OpenPGP \
             as `gpg --export` writes them, certificates of Notation in PEM), and `IDENTITY from ISSUER` for keyless \
             signatures of Sigstore, where the identity is an e-mail address, `*@DOMAIN`, a URI or `URI*`, and the issuer a \
             URL; raas rejects a push or a sync of an image without such a signature",
            "/etc/raas/bigdatainc.pub, release@bigdatainc.example from https://accounts.google.com",
            |draft, value, folder| {
                draft.settings.require_signature = trusted_signers(value, folder)?;
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "signature_identity",
            "the names that a signature for `require_signature` may give to the image, `HOST/NAME` or `HOST/NAME/*`, \
             without tags",
            "quay.io/bigdatainc/*",
            |draft, value, _| {
                draft.settings.signature_identity = signed_names(value)?;
                Ok(())
            },
        )
        .default("every name"),
        Key::<Draft>::new(
            "sigstore_root",
            "the `trusted_root.json` with the authorities and the logs of the Sigstore whose keyless signatures count, for a \
             private Sigstore, or a newer root of the public one",
            "/etc/raas/trusted_root.json",
            |draft, value, folder| {
                draft.settings.sigstore_root = Some(folder.join(text(value)?));
                Ok(())
            },
        )
        .default("the root of the public Sigstore that this raas has"),
        Key::<Draft>::new(
            "require_certified",
            "whether raas rejects a push or a sync of an image that does not pass the checks of `raas certify`: yes or no",
            "yes",
            |draft, value, _| {
                draft.settings.require_certified = yes_or_no(value)?;
                Ok(())
            },
        )
        .default("no"),
        Key::<Draft>::new(
            "protected_repositories",
            "the repositories that a push protects from their first publication: names, `NAME/*` for \
             everything below a name, `*` for all",
            "appliance/*",
            |draft, value, _| {
                draft.settings.protected_repositories = repository_patterns(value)?;
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "htpasswd",
            "the file of users who may read protected repositories, as `htpasswd -B` writes it, for a server \
             without a home",
            "/etc/raas/bigdatainc.htpasswd",
            |draft, value, folder| {
                draft.settings.htpasswd = Some(folder.join(text(value)?));
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "token_realm",
            "the URL where clients get a token of another issuer, for protected repositories; needs `token_service`, \
             `token_issuer` and `token_keys`",
            "https://auth.bigdatainc.example/token",
            |draft, value, _| {
                draft.issuer.realm = Some(value.clone());
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "token_service",
            "the name of this registry at the other issuer: the audience (`aud`) of its tokens",
            "registry.bigdatainc.example",
            |draft, value, _| {
                draft.issuer.service = Some(value.clone());
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "token_issuer",
            "the name of the other issuer (`iss`)",
            "auth.bigdatainc.example",
            |draft, value, _| {
                draft.issuer.issuer = Some(value.clone());
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "token_keys",
            "the file of the other issuer's keys: a JSON Web Key Set, or certificates and public keys in PEM",
            "/etc/raas/bigdatainc-keys.json",
            |draft, value, _| {
                draft.issuer.keys = Some(value.clone());
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "client_ca",
            "the PEM file of the authorities whose client certificates open protected repositories",
            "/etc/raas/bigdatainc-customers.pem",
            |draft, value, folder| {
                draft.settings.client_ca = Some(folder.join(text(value)?));
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "client_entitlements",
            "whether a client certificate opens only the repositories below the paths that it lists, as an entitlement \
             certificate of Red Hat's subscription manager does: yes or no; needs `client_ca`",
            "yes",
            |draft, value, _| {
                draft.settings.client_entitlements = yes_or_no(value)?;
                Ok(())
            },
        )
        .default("no"),
        Key::<Draft>::new(
            "tls_certificate",
            "the PEM file of the certificate of `registry_host`, for the router of a cluster; needs `tls_key`",
            "/etc/raas/bigdatainc-registry.pem",
            |draft, value, folder| {
                draft.settings.tls_certificate = Some(folder.join(text(value)?));
                Ok(())
            },
        )
        .default("the router's own"),
        Key::<Draft>::new(
            "tls_key",
            "the PEM file of the private key of `tls_certificate`",
            "/etc/raas/bigdatainc-registry-key.pem",
            |draft, value, folder| {
                draft.settings.tls_key = Some(folder.join(text(value)?));
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "git_url",
            "the git repository of the deployed application, for `platform = git`: each push commits the documents \
             there",
            "git@git.example.com:bigdatainc/registry.git",
            |draft, value, _| {
                draft.settings.git_url = Some(text(value)?);
                Ok(())
            },
        ),
        Key::<Draft>::new(
            "git_branch",
            "the branch of `git_url` that is deployed",
            "production",
            |draft, value, _| {
                draft.settings.git_branch = Some(text(value)?);
                Ok(())
            },
        )
        .default("its default branch"),
        Key::<Draft>::new(
            "openshift_domain",
            "the vendor's OpenShift domain or project, as `raas setup --oodomain` writes it",
            "bigdatainc",
            |draft, value, _| {
                draft.settings.openshift_domain = Some(text(value)?);
                Ok(())
            },
        )
        .default("`domain` of `[openshift]`"),
        Key::<Draft>::family(
            "sync.",
            "sync.bigdata-app",
            "the source of the image `bigdata-app`, `pulp` or docker://HOST/NAME: `raas sync` publishes what has \
             changed there; in lines of their own, `tags = …` says which tags are wanted, by patterns, ranges of \
             versions, `!` before unwanted tags and `newest N`, and `prune = N` removes up to N published tags at once \
             that are not wanted any more, `platforms = …` takes some platforms of an index, `digest_tags = no` leaves out \
             cosign's tags, and `referrers = no` the list of referrers, which `referrers = compare` asks for each image",
            "docker://registry.example.com/bigdata/app\ntags = >=1.2 <2, latest, !*-rc*\nprune = 5",
            |draft, image, value| {
                let rule = SyncRule::parse(image, &value.text).map_err(|message| value.error(message))?;
                draft.settings.sync.push(rule);
                Ok(())
            },
        ),
    ],
};
