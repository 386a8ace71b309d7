//! A cluster in place of a real one: the schemas and answers that a real API server gave, and a small API with
//! server-side apply.

pub mod cluster;
mod fields;
mod schemas;

use std::fs;
use std::path::PathBuf;

pub use cluster::{Cluster, Fault, Rollout};
pub use schemas::Schemas;

use crate::http::Reply;

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../fixtures/kubernetes"].iter().collect()
}

/// A recorded exchange with a real API server.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// `GET`, `PATCH`
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The body of the request.
    pub sent: String,
    /// The answer.
    pub reply: Reply,
}

impl Exchange {
    /// The recorded exchange of this name, such as `18-conflict`.
    pub fn recorded(name: &str) -> Self {
        let path = folder().join("exchanges").join(format!("{name}.http"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let text = text.replace("\r\n", "\n");
        let (request, answer) = text.split_once("\n=====\n").expect("request and answer are separated");
        let (head, sent) = request.split_once("\n\n").expect("a head ends");
        let mut words = head.split_whitespace();
        let mut word = || words.next().expect("a request has a method and a target").to_owned();
        let (method, target) = (word(), word());
        let (head, body) = answer.split_once("\n\n").expect("a head ends");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let chunked = headers.iter().any(|(name, _)| name == "Transfer-Encoding");
        let body = if chunked { unchunk(body) } else { body.trim_end_matches('\n').to_owned() };
        let kept = |name: &str| ["Content-Type", "Retry-After"].contains(&name);
        let reply = Reply {
            status: status.expect("an answer has a status"),
            headers: headers.into_iter().filter(|(name, _)| kept(name)).collect(),
            body: body.into_bytes(),
            ..Reply::new(0, "")
        };
        Self { method, target, sent: sent.trim().to_owned(), reply }
    }
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, after) = rest.trim_start_matches('\n').split_once('\n').expect("a chunk has a size");
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size is in hex");
        if size == 0 {
            return body;
        }
        body.push_str(&after[..size]);
        rest = &after[size..];
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_recorded_exchange_is_read() {
        for entry in fs::read_dir(folder().join("exchanges")).unwrap() {
            let name = entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
            let exchange = Exchange::recorded(&name);
            assert!(exchange.target.starts_with('/'), "{name}");
            let json = exchange.reply.headers.iter().any(|(_, value)| value == "application/json");
            let text = String::from_utf8(exchange.reply.body).unwrap();
            // A watch is one object a line.
            let first = text.lines().next().unwrap_or_default();
            if json && exchange.target.contains("watch=1") {
                serde_json::from_str::<Value>(first).unwrap_or_else(|error| panic!("{name}: {error}"));
            } else if json {
                serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }
}
