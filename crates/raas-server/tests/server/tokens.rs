//! Tokens of another issuer. The headings are those of `docs/request-handling.md`, "Tokens of another issuer".

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use raas_server::{GuessLimit, Options, SiteConfig, TokenIssuer};
use raas_types::crane::tree;
use raas_types::media_type::DOCKER_MANIFEST;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PublicKeyData as _,
};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::support::{Answer, Folders, Published, Server, soon};

const CHALLENGE: &str = "Bearer realm=\"https://auth.example.com/token\",service=\"registry of acme\"";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An ES256 key and its id.
struct Signer {
    pair: KeyPair,
    kid: &'static str,
}

impl Signer {
    fn new(kid: &'static str) -> Self {
        Self { pair: KeyPair::generate().unwrap(), kid }
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.pair.der_bytes()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "x": encode(x), "y": encode(y)})
    }

    fn es256(&self, header: &Value, claims: &Value) -> String {
        let random = SystemRandom::new();
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, self.pair.serialized_der(), &random).unwrap();
        token(header, claims, |signed| key.sign(&random, signed).unwrap().as_ref().to_vec())
    }
}

fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = sign(signed.as_bytes());
    format!("Bearer {signed}.{}", encode(signature))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The claims of a token for `secret`, with some replaced.
fn claims(others: Value) -> Value {
    let mut claims = json!({
        "iss": "auth.example.com", "sub": "ann", "aud": "registry of acme",
        "exp": now() + 300, "nbf": now(), "iat": now(),
        "access": [{"type": "repository", "name": "secret", "actions": ["pull"]}],
    });
    for (name, value) in others.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

struct Site {
    server: Server,
    keys: PathBuf,
    _folders: Folders,
}

impl Site {
    fn new(keys: impl AsRef<[u8]>) -> Self {
        // More than any of these tests needs.
        Self::with_limit(keys, 1000)
    }

    fn with_limit(keys: impl AsRef<[u8]>, wrong: u32) -> Self {
        let folders = Folders::new("acme");
        for (name, protected) in [("open", false), ("secret", true), ("library/other", true)] {
            let mut repository = Published::new(name);
            let digest = repository.image(DOCKER_MANIFEST, name, "");
            repository.tag("latest", digest);
            folders.publish(&repository);
            folders.write(&tree::document(&repository.name), &repository.document(protected));
        }
        folders.revision("one");
        let file = folders.metadata().with_file_name("keys");
        fs::write(&file, keys).unwrap();
        let issuer =
            TokenIssuer::new("https://auth.example.com/token", "registry of acme", "auth.example.com", &file);
        let site = SiteConfig { issuer: Some(issuer.unwrap()), ..folders.site() };
        let options = Options {
            poll: Duration::from_millis(50),
            guess_limit: GuessLimit { attempts: wrong, forget_after: Duration::from_secs(60) },
            ..Options::default()
        };
        Self { server: Server::start_with(vec![site], options), keys: file, _folders: folders }
    }

    fn with_set(signers: &[&Signer]) -> Self {
        Self::new(set(signers))
    }

    fn ask(&self, path: &str, authorization: &str) -> Answer {
        self.server.ask("GET", path, &[("authorization", authorization)])
    }

    /// Whether the token grants the repository that it names.
    fn opens(&self, token: &str) -> bool {
        let status = self.ask("/v2/secret/manifests/latest", token).status;
        assert!([200, 401].contains(&status), "{status}");
        status == 200
    }
}

fn set(signers: &[&Signer]) -> String {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string()
}

#[test]
fn anonymous_clients_are_sent_to_the_issuer_and_see_public_repositories() {
    let site = Site::with_set(&[&Signer::new("one")]);
    let base = site.server.get("/v2/");
    assert_eq!((base.status, base.header("www-authenticate")), (401, Some(CHALLENGE)));
    assert_eq!(site.server.get("/v2/open/manifests/latest").status, 200);
    for name in ["secret", "nothing"] {
        let answer = site.server.get(&format!("/v2/{name}/manifests/latest"));
        let scoped = format!("{CHALLENGE},scope=\"repository:{name}:pull\"");
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(scoped.as_str())));
    }
    assert_eq!(site.server.get("/token").status, 404, "the issuer gives out the tokens");
    assert_eq!(site.ask("/v2/", "Basic YTpi").status, 401, "this site has no passwords");
}

#[test]
fn a_token_for_another_repository_does_not_reveal_hidden_ones() {
    let signer = Signer::new("one");
    let site = Site::with_set(&[&signer]);
    let mut secret = Published::new("secret");
    let manifest = secret.image(DOCKER_MANIFEST, "secret", "").to_string();
    let layer = raas_types::Digest::of(b"layer of secret").to_string();
    let elsewhere = json!({"access": [{"type": "repository", "name": "other", "actions": ["pull"]}]});
    let token = signer.es256(&json!({"alg": "ES256", "kid": "one"}), &claims(elsewhere));
    for headers in [&[][..], &[("authorization", token.as_str())]] {
        crate::hidden::is_like_nothing(["secret", "secreu"], [&manifest, &layer], |method, path| {
            site.server.ask(method, path, headers)
        });
    }
}

#[test]
fn a_token_grants_only_what_it_names() {
    let signer = Signer::new("one");
    let site = Site::with_set(&[&signer]);
    let header = json!({"alg": "ES256", "kid": "one"});
    let token = signer.es256(&header, &claims(json!({})));
    assert_eq!(site.ask("/v2/", &token).text(), "{}");
    assert_eq!(site.ask("/v2/secret/manifests/latest", &token).status, 200);
    assert_eq!(site.ask("/v2/open/manifests/latest", &token).status, 200);
    for name in ["library/other", "other", "nothing"] {
        let answer = site.ask(&format!("/v2/{name}/tags/list"), &token);
        let challenge = format!("{CHALLENGE},scope=\"repository:{name}:pull\",error=\"insufficient_scope\"");
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, Some(challenge.as_str())),
            "{name}"
        );
    }
    let open = r#"{"repositories":["open"]}"#;
    assert_eq!(site.ask("/v2/_catalog", &token).text(), open);
    assert!(!site.ask("/", &token).text().contains("secret"));
    let table = [
        (json!([]), 401),
        (json!(null), 401),
        (json!([{"type": "repository", "name": "secret", "actions": ["push"]}]), 401),
        (json!([{"type": "registry", "name": "secret", "actions": ["pull"]}]), 401),
        (json!([{"type": "repository", "name": "secret", "actions": ["*"]}]), 200),
        (
            json!([{"type": "repository", "name": "x", "actions": []}, {"type": "repository", "name": "secret", "actions": ["push", "pull"]}]),
            200,
        ),
    ];
    for (access, status) in table {
        let token = signer.es256(&header, &claims(json!({"access": access})));
        assert_eq!(site.ask("/v2/", &token).status, 200, "it is still a valid token");
        assert_eq!(site.ask("/v2/secret/manifests/latest", &token).status, status, "{access}");
    }
    let all = json!({"access": [{"type": "registry", "name": "catalog", "actions": ["*"]}]});
    let names = site.ask("/v2/_catalog", &signer.es256(&header, &claims(all)));
    assert_eq!(names.text(), r#"{"repositories":["library/other","open","secret"]}"#);
}

#[test]
fn claims_are_checked() {
    let signer = Signer::new("one");
    let site = Site::with_set(&[&signer]);
    let table = [
        (json!({}), true),
        (json!({"aud": ["other", "registry of acme"]}), true),
        (json!({"exp": now() - 30}), true),
        (json!({"nbf": now() + 30}), true),
        (json!({"nbf": null}), true),
        (json!({"exp": now() as f64 + 0.5}), true),
        (json!({"iss": "other"}), false),
        (json!({"iss": null}), false),
        (json!({"aud": "other"}), false),
        (json!({"aud": ["other"]}), false),
        (json!({"aud": []}), false),
        (json!({"aud": null}), false),
        (json!({"exp": now() - 100}), false),
        (json!({"exp": null}), false),
        (json!({"exp": "never"}), false),
        (json!({"nbf": now() + 100}), false),
        (json!({"access": "all"}), false),
    ];
    for (others, opens) in table {
        let token = signer.es256(&json!({"alg": "ES256", "kid": "one"}), &claims(others.clone()));
        assert_eq!(site.opens(&token), opens, "{others}");
        if !opens {
            let answer = site.ask("/v2/", &token);
            let challenge = format!("{CHALLENGE},error=\"invalid_token\"");
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(challenge.as_str())));
        }
    }
}

#[test]
fn only_keys_of_the_issuer_sign_and_only_with_their_own_algorithm() {
    let (signer, other) = (Signer::new("one"), Signer::new("two"));
    let site = Site::with_set(&[&signer]);
    let good = claims(json!({}));
    let header = |algorithm: &str| json!({"alg": algorithm, "kid": "one"});
    assert!(site.opens(&signer.es256(&header("ES256"), &good)));
    assert!(!site.opens(&other.es256(&header("ES256"), &good)), "another's key");
    assert!(!site.opens(&other.es256(&json!({"alg": "ES256", "kid": "two"}), &good)));
    assert!(!site.opens(&signer.es256(&json!({"alg": "ES256"}), &good)), "the token names no key");
    assert!(!site.opens(&signer.es256(&json!({"alg": "ES256", "kid": "one", "crit": ["exp"]}), &good)));
    for algorithm in ["none", "None", "HS256", "RS256", "ES384", "EdDSA", ""] {
        assert!(!site.opens(&signer.es256(&header(algorithm), &good)), "{algorithm}");
        assert!(!site.opens(&token(&header(algorithm), &good, |_| Vec::new())), "{algorithm}");
    }
    // The public key used as an HMAC secret.
    for secret in [
        fs::read(&site.keys).unwrap(),
        signer.pair.public_key_pem().into_bytes(),
        signer.pair.der_bytes().to_vec(),
    ] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
        let forged =
            token(&header("HS256"), &good, |signed| ring::hmac::sign(&key, signed).as_ref().to_vec());
        assert!(!site.opens(&forged));
    }
    // A key inside the token itself.
    let header = json!({"alg": "ES256", "jwk": other.jwk()});
    assert!(!site.opens(&other.es256(&header, &good)));
    let whole = signer.es256(&json!({"alg": "ES256", "kid": "one"}), &good);
    for broken in [&whole[..whole.len() - 5], "Bearer ..", "Bearer a.b.c", "Bearer x", &format!("{whole}.x")]
    {
        assert!(!site.opens(broken), "{broken}");
    }
}

#[test]
fn only_a_wrong_signature_is_a_guess() {
    let (signer, other) = (Signer::new("one"), Signer::new("two"));
    let site = Site::with_limit(set(&[&signer]), 2);
    let header = json!({"alg": "ES256", "kid": "one"});
    let over = signer.es256(&header, &claims(json!({"exp": now() - 100})));
    let for_another = signer.es256(&header, &claims(json!({"aud": "other"})));
    let unknown = other.es256(&json!({"alg": "ES256", "kid": "two"}), &claims(json!({})));
    for token in [&over, &for_another, &unknown] {
        for _ in 0..3 {
            assert_eq!(site.ask("/v2/", token).status, 401);
        }
    }
    let forged = other.es256(&header, &claims(json!({})));
    let statuses = [(); 3].map(|()| site.ask("/v2/", &forged).status);
    assert_eq!(statuses, [401, 401, 429]);
    assert!(
        site.opens(&signer.es256(&header, &claims(json!({})))),
        "a valid token is accepted from any address"
    );
}

#[test]
fn rsa_and_ed25519_tokens_verify() {
    let random = SystemRandom::new();
    let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(include_bytes!("issuer-rsa.pem")).unwrap();
    let rsa = RsaKeyPair::from_pkcs8(pkcs8.secret_pkcs8_der()).unwrap();
    let ed25519 = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public: signature::RsaPublicKeyComponents<Vec<u8>> = rsa.public().into();
    let site = Site::new(
        json!({"keys": [
            {"kty": "RSA", "kid": "rsa", "use": "sig", "n": encode(&public.n), "e": encode(&public.e)},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": encode(ed25519.public_key())},
            {"kty": "RSA", "kid": "closed", "use": "enc", "n": encode(&public.n), "e": encode(&public.e)},
        ]})
        .to_string(),
    );
    let good = claims(json!({}));
    let by_rsa = |kid: &str, name: &str, algorithm: &'static dyn signature::RsaEncoding| {
        token(&json!({"alg": name, "kid": kid}), &good, |signed| {
            let mut bytes = vec![0; rsa.public().modulus_len()];
            rsa.sign(algorithm, &random, signed, &mut bytes).unwrap();
            bytes
        })
    };
    assert!(site.opens(&by_rsa("rsa", "RS256", &signature::RSA_PKCS1_SHA256)));
    assert!(site.opens(&by_rsa("rsa", "PS512", &signature::RSA_PSS_SHA512)));
    assert!(!site.opens(&by_rsa("rsa", "RS512", &signature::RSA_PKCS1_SHA256)));
    assert!(!site.opens(&by_rsa("closed", "RS256", &signature::RSA_PKCS1_SHA256)), "a key for encryption");
    let by_ed25519 =
        token(&json!({"alg": "EdDSA", "kid": "ed"}), &good, |signed| ed25519.sign(signed).as_ref().to_vec());
    assert!(site.opens(&by_ed25519));
}

#[test]
fn certificate_chains_must_lead_to_the_issuer() {
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&authority).unwrap();
    let issuer = Issuer::new(params, authority);
    let issued = |signer: &Signer, others: fn(&mut CertificateParams)| {
        let mut params = CertificateParams::new(vec!["auth.example.com".to_owned()]).unwrap();
        others(&mut params);
        params.signed_by(&signer.pair, &issuer).unwrap()
    };
    let signer = Signer::new("");
    let own = CertificateParams::new(vec!["auth.example.com".to_owned()]).unwrap();
    let own = own.self_signed(&signer.pair).unwrap();
    let site = Site::new(root.pem());
    let opens = |site: &Site, chain: &[&[u8]]| {
        let chain: Vec<String> = chain.iter().map(|der| STANDARD.encode(der)).collect();
        site.opens(&signer.es256(&json!({"alg": "ES256", "x5c": chain}), &claims(json!({}))))
    };
    let leaf = issued(&signer, |_| {});
    assert!(opens(&site, &[leaf.der()]));
    assert!(opens(&site, &[leaf.der(), root.der()]));
    let for_code =
        issued(&signer, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]);
    assert!(opens(&site, &[for_code.der()]), "any extended key usage is accepted");
    let over = issued(&signer, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    assert!(!opens(&site, &[over.der()]));
    assert!(!opens(&site, &[issued(&Signer::new(""), |_| {}).der()]), "the certificate is not the signer's");
    assert!(!opens(&site, &[own.der()]), "no trusted certificate issued it");
    assert!(!opens(&site, &[b"nonsense"]));
    assert!(!opens(&site, &[leaf.der(), b"", b"", b"", b"", b""]), "longer than the longest chain");
    // A certificate that is trusted itself may be in the token, and both ids of its key are known.
    let site = Site::new(own.pem());
    assert!(opens(&site, &[own.der()]));
    let (x, y) = signer.pair.der_bytes()[1..].split_at(32);
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, encode(x), encode(y));
    let thumbprint = encode(ring::digest::digest(&ring::digest::SHA256, canonical.as_bytes()));
    let by_name = signer.es256(&json!({"alg": "ES256", "kid": thumbprint}), &claims(json!({})));
    assert!(site.opens(&by_name));
    assert!(Site::new(signer.pair.public_key_pem()).opens(&by_name), "a bare public key");
}

#[test]
fn changed_keys_are_read_and_invalid_files_are_ignored() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let site = Site::with_set(&[&old]);
    let tokens = [&old, &new]
        .map(|signer| signer.es256(&json!({"alg": "ES256", "kid": signer.kid}), &claims(json!({}))));
    assert!(site.opens(&tokens[0]) && !site.opens(&tokens[1]));
    fs::write(&site.keys, "nonsense").unwrap();
    std::thread::sleep(Duration::from_millis(150));
    assert!(site.opens(&tokens[0]));
    fs::write(&site.keys, set(&[&new])).unwrap();
    assert!(soon(|| site.opens(&tokens[1])));
    assert!(!site.opens(&tokens[0]));
}
