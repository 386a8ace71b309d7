//! The entries in the logs of signatures.
//!
//! Source: RFC 6962, section 2.1; Rekor, `hashedrekord` and `dsse` 0.0.1; Rekor v2, `hashedrekord` 0.0.2, and its
//! CLIENTS.md; C2SP, signed-note.md and tlog-checkpoint.md.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_types::Digest;
use ring::digest::{SHA256, SHA384, digest};
use serde_json::{Value, json};

use super::{BEGIN, LOG_V2, SECONDS, Signer, SigningKey, Sigstore, encoding, sha256};

/// An entry in a log of signatures.
#[derive(Clone)]
pub struct Entry {
    body: String,
    kind: &'static str,
    version: &'static str,
    /// When the log took it in, as a Unix time. 0 in Rekor v2, which does not say it.
    pub time: i64,
    /// The key that the log has by its name.
    log_id: Vec<u8>,
    /// Empty in Rekor v2.
    promise: Vec<u8>,
    checkpoint: String,
}

impl Sigstore {
    /// The entry of a signed message.
    pub fn log_message(&self, signer: &Signer, message: &[u8], signature: &[u8]) -> Entry {
        let spec = json!({
            "data": {"hash": {"algorithm": "sha256", "value": Digest::of(message).hex()}},
            "signature": {
                "content": STANDARD.encode(signature), "publicKey": {"content": STANDARD.encode(signer.pem())},
            },
        });
        self.entry("hashedrekord", &spec)
    }

    /// The entry of an envelope.
    pub fn log_envelope(&self, signer: &Signer, envelope: &Value) -> Entry {
        let payload = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
        let hash = |bytes: &[u8]| json!({"algorithm": "sha256", "value": Digest::of(bytes).hex()});
        let spec = json!({
            "envelopeHash": hash(envelope.to_string().as_bytes()),
            "payloadHash": hash(&payload),
            "signatures": [{
                "signature": envelope["signatures"][0]["sig"], "verifier": STANDARD.encode(signer.pem()),
            }],
        });
        self.entry("dsse", &spec)
    }

    fn entry(&self, kind: &'static str, spec: &Value) -> Entry {
        let entry = Entry::new(kind, "0.0.1", spec);
        Entry { time: BEGIN + SECONDS / 2, ..entry }.logged_by(&self.log)
    }

    /// The entry of a signed message in Rekor v2.
    pub fn log_message_v2(&self, signer: &Signer, message: &[u8], signature: &[u8]) -> Entry {
        let details = signer.key.details();
        let (name, algorithm) = match details {
            "PKIX_ECDSA_P384_SHA_384" => ("SHA2_384", &SHA384),
            _ => ("SHA2_256", &SHA256),
        };
        let spec = json!({"hashedRekordV002": {
            "data": {"algorithm": name, "digest": STANDARD.encode(digest(algorithm, message))},
            "signature": {
                "content": STANDARD.encode(signature),
                "verifier": {
                    "keyDetails": details,
                    "x509Certificate": {"rawBytes": STANDARD.encode(&signer.certificate)},
                },
            },
        }});
        Entry::new("hashedrekord", "0.0.2", &spec).logged_by(&self.log_v2)
    }

    /// The entry of an envelope in Rekor v2: that of the message which its signature signs.
    pub fn log_envelope_v2(&self, signer: &Signer, envelope: &Value) -> Entry {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let decode = |value: &Value| STANDARD.decode(text(value)).unwrap();
        let payload = String::from_utf8(decode(&envelope["payload"])).unwrap();
        let message = encoding(&text(&envelope["payloadType"]), &payload);
        self.log_message_v2(signer, &message, &decode(&envelope["signatures"][0]["sig"]))
    }
}

impl Entry {
    fn new(kind: &'static str, version: &'static str, spec: &Value) -> Self {
        let body = json!({"apiVersion": version, "kind": kind, "spec": spec}).to_string();
        let (log_id, promise, checkpoint) = (Vec::new(), Vec::new(), String::new());
        Self { body, kind, version, time: 0, log_id, promise, checkpoint }
    }

    /// The same entry in the log with this key.
    #[must_use]
    pub fn logged_by(self, log: &SigningKey) -> Self {
        Self { log_id: log.id(), ..self }.signed_by(log)
    }

    /// The same entry of another time, with the promise of the same log.
    #[must_use]
    pub fn at(self, time: i64, log: &SigningKey) -> Self {
        Self { time, ..self }.signed_by(log)
    }

    /// The same entry, with the promise and the checkpoint of another key under the name of the log.
    #[must_use]
    pub fn signed_by(mut self, key: &SigningKey) -> Self {
        let (origin, name) = match self.is_v2() {
            true => (LOG_V2, LOG_V2),
            false => ("rekor.example - 1", "rekor.example"),
        };
        if !self.is_v2() {
            self.promise = key.sign(self.promised().as_bytes());
        }
        let note = format!("{origin}\n2\n{}\n", STANDARD.encode(self.tree_root()));
        let signature = [&self.log_id[..4], &key.sign(note.as_bytes())].concat();
        self.checkpoint = format!("{note}\n\u{2014} {name} {}\n", STANDARD.encode(signature));
        self
    }

    fn is_v2(&self) -> bool {
        self.version == "0.0.2"
    }

    /// What the promise signs: the keys are in the order of their bytes, without spaces.
    fn promised(&self) -> String {
        let (body, time, id) = (STANDARD.encode(&self.body), self.time, self.hex_id());
        format!("{{\"body\":\"{body}\",\"integratedTime\":{time},\"logID\":\"{id}\",\"logIndex\":1}}")
    }

    fn hex_id(&self) -> String {
        self.log_id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The hash of the leaf before this one.
    fn other_leaf() -> Vec<u8> {
        sha256(b"\0another entry")
    }

    fn tree_root(&self) -> Vec<u8> {
        let leaf = sha256(&[b"\0", self.body.as_bytes()].concat());
        sha256(&[&[1][..], &Self::other_leaf(), &leaf].concat())
    }

    pub(super) fn in_bundle(&self) -> Value {
        let mut entry = json!({
            "logIndex": "1",
            "logId": {"keyId": STANDARD.encode(&self.log_id)},
            "kindVersion": {"kind": self.kind, "version": self.version},
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": STANDARD.encode(self.tree_root()),
                "treeSize": "2",
                "hashes": [STANDARD.encode(Self::other_leaf())],
                "checkpoint": {"envelope": self.checkpoint},
            },
            "canonicalizedBody": STANDARD.encode(&self.body),
        });
        if self.time != 0 {
            entry["integratedTime"] = self.time.to_string().into();
        }
        if !self.promise.is_empty() {
            entry["inclusionPromise"] = json!({"signedEntryTimestamp": STANDARD.encode(&self.promise)});
        }
        entry
    }

    pub(super) fn in_annotation(&self) -> Value {
        json!({
            "SignedEntryTimestamp": STANDARD.encode(&self.promise),
            "Payload": {
                "body": STANDARD.encode(&self.body), "integratedTime": self.time, "logIndex": 1,
                "logID": self.hex_id(),
            },
        })
    }
}
