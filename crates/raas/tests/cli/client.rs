//! A small registry client that pulls a complete image and checks every digest and diff id, as docker does.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;

use raas_http::{Agent, AgentOptions};
use raas_types::{Digest, Manifest, ManifestBody, media_type};
use serde_json::Value;

pub(crate) struct Client {
    agent: Agent,
    address: SocketAddr,
    host: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A pulled image of one platform.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pulled {
    /// The unpacked bytes of the layers, the base first.
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Value,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self::of(address, &address.to_string())
    }

    /// A client that uses this host name for the server.
    pub(crate) fn of(address: SocketAddr, host: &str) -> Self {
        let agent = Agent::new(AgentOptions { redirects: 0, ..AgentOptions::default() });
        Self { agent, address, host: host.to_owned() }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.get_url(&format!("http://{}{path}", self.address))
    }

    /// With this `Authorization`.
    pub(crate) fn get_with(&self, path: &str, authorization: &str) -> Answer {
        self.request(&format!("http://{}{path}", self.address), Some(("authorization", authorization)))
    }

    /// As a part of this trace.
    pub(crate) fn get_traced(&self, path: &str, traceparent: &str) -> Answer {
        self.request(&format!("http://{}{path}", self.address), Some(("traceparent", traceparent)))
    }

    fn get_url(&self, url: &str) -> Answer {
        self.request(url, None)
    }

    fn request(&self, url: &str, header: Option<(&str, &str)>) -> Answer {
        // Requests of raas itself are not counted as pulls.
        let mut request = self.agent.get(url).header("user-agent", "client of the tests");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        if url.starts_with(&format!("http://{}", self.address)) {
            request = request.header("host", &self.host);
        }
        let response = request.call().unwrap();
        let headers = response.headers().iter();
        let headers = headers.map(|(k, v)| (k.to_string(), v.to_str().unwrap().to_owned())).collect();
        let status = response.status().as_u16();
        let body = response.into_body().read_all(1 << 30).unwrap();
        Answer { status, headers, body }
    }

    pub(crate) fn tags(&self, name: &str) -> Vec<String> {
        let answer = self.get(&format!("/v2/{name}/tags/list"));
        if answer.status == 404 {
            return Vec::new();
        }
        let tags = answer.json()["tags"].as_array().unwrap().clone();
        tags.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
    }

    /// Pulls every platform of a tag, by the platform's name.
    pub(crate) fn pull(&self, name: &str, reference: &str) -> BTreeMap<String, Pulled> {
        let answer = self.get(&format!("/v2/{name}/manifests/{reference}"));
        assert_eq!(answer.status, 200, "{name}:{reference}: {}", String::from_utf8_lossy(&answer.body));
        let media_type = &answer.headers["content-type"];
        assert_eq!(answer.headers["docker-content-digest"], Digest::of(&answer.body).to_string());
        let manifest = Manifest::parse(&answer.body, Some(media_type)).unwrap();
        match manifest.body {
            ManifestBody::Index { manifests } => {
                manifests.iter().flat_map(|child| self.pull(name, &child.digest.to_string())).collect()
            }
            ManifestBody::Image { config, layers } => {
                let config_bytes = self.blob(name, &config.digest, config.size);
                if !media_type::is_image_config(&config.media_type) {
                    return BTreeMap::new();
                }
                let config: Value = serde_json::from_slice(&config_bytes).unwrap();
                let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
                assert_eq!(diff_ids.len(), layers.len());
                let layers: Vec<Vec<u8>> =
                    layers.iter().map(|layer| unpack(self.blob(name, &layer.digest, layer.size))).collect();
                for (layer, diff_id) in layers.iter().zip(diff_ids) {
                    assert_eq!(Digest::of(layer).to_string(), diff_id.as_str().unwrap());
                }
                let platform = format!(
                    "{}/{}",
                    config["os"].as_str().unwrap(),
                    config["architecture"].as_str().unwrap()
                );
                [(platform, Pulled { layers, config })].into()
            }
        }
    }

    fn blob(&self, name: &str, digest: &Digest, size: u64) -> Vec<u8> {
        let mut answer = self.get(&format!("/v2/{name}/blobs/{digest}"));
        if answer.status == 307 {
            answer = self.get_url(&answer.headers["location"]);
        }
        assert_eq!(answer.status, 200, "{name}@{digest}");
        assert_eq!((answer.body.len() as u64, Digest::of(&answer.body)), (size, *digest));
        answer.body
    }
}

fn unpack(packed: Vec<u8>) -> Vec<u8> {
    match packed.as_slice() {
        [0x1f, 0x8b, ..] => {
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap();
            plain
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd::decode_all(&packed[..]).unwrap(),
        _ => packed,
    }
}
