//! The layers of an image: what made each, its size, and the host that serves it.

use std::collections::BTreeMap;
use std::fmt::Write;

use raas_types::Digest;

use super::super::SiteRequest;
use super::image::Image;
use super::{bytes, count, digest, escape};
use crate::catalog::{Facts, Repository};
use crate::site::Bucket;

/// The digest of an image's config, which docker calls the image's id.
pub(super) fn config(image: &Image<'_>) -> Option<Digest> {
    let Facts::Image { digests, .. } = &image.manifest.facts else { return None };
    digests.digests(image.manifest.slice()).next()?
}

/// What stands in the place of this registry's own host.
const HERE: &str = "this registry";

/// Writes the hosts that serve an image, and a table of its steps and layers, which a click shows or hides.
pub(super) fn write(
    body: &mut String,
    request: &SiteRequest<'_>,
    repository: &Repository,
    image: &Image<'_>,
    is_open: bool,
) {
    let Facts::Image { digests, .. } = &image.manifest.facts else { return };
    let mut blobs = digests.digests(image.manifest.slice());
    let mut hosts: BTreeMap<String, u64> = BTreeMap::new();
    let mut host_of = |digest: Option<Digest>| -> (Option<u64>, String) {
        let blob = digest.and_then(|digest| repository.blob(&digest));
        let host = serving_host(request, repository, blob.and_then(|blob| blob.location.as_deref()));
        let sum = hosts.entry(host.clone()).or_default();
        *sum = sum.saturating_add(blob.map_or(0, |blob| blob.size));
        (blob.map(|blob| blob.size), host)
    };
    host_of(blobs.next().flatten());
    let mut rows = String::new();
    let mut history = image.details().into_iter().flat_map(|details| details.history()).peekable();
    let (mut shown, mut number) = (0_usize, 0_usize);
    for layer in blobs {
        // The steps that made no layer stand before the layer of the next step.
        while let Some(step) = history.next_if(|step| !step.makes_layer) {
            empty_step(&mut rows, step.command);
        }
        let command = history.next().map(|step| step.command).unwrap_or_default();
        let (size, host) = host_of(layer);
        number += 1;
        shown += 1;
        let of = layer.as_ref().map(digest).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(
            rows,
            "<tr><td class=\"n dim\">{number}<td>{}{of}<td class=\"n\">{}<td>{}",
            command_html(command),
            size.map(bytes).unwrap_or_default(),
            escape(&host),
        );
    }
    // Steps behind a layer that is not shown belong to it.
    if shown == image.layers as usize {
        for step in history.filter(|step| !step.makes_layer) {
            empty_step(&mut rows, step.command);
        }
    }
    served_from(body, image.size, &hosts);
    // Writing to a string cannot fail.
    let _ = writeln!(
        body,
        "<details{}><summary>{}</summary>",
        if is_open { " open" } else { "" },
        count(image.layers as usize, "layer"),
    );
    body.push_str(
        "<table class=\"layers\">\n<thead><tr><th scope=\"col\" class=\"n\">#<th scope=\"col\">Layer<th scope=\"col\" \
         class=\"n\">Size<th scope=\"col\">Host</thead>\n<tbody>\n",
    );
    body.push_str(&rows);
    body.push_str("</tbody>\n</table>\n");
    if let Some(further @ 1..) = (image.layers as usize).checked_sub(shown) {
        let _ = writeln!(body, "<p class=\"dim\">The manifest names {further} more layers.</p>");
    }
    body.push_str("</details>\n");
}

fn empty_step(rows: &mut String, command: &str) {
    if !command.is_empty() {
        // Writing to a string cannot fail.
        let _ =
            writeln!(rows, "<tr class=\"step\"><td class=\"n\"><td colspan=\"3\">{}", command_html(command));
    }
}

/// A command of the history. The shell that runs it is left out, as in other registries.
fn command_html(command: &str) -> String {
    let command = command.strip_prefix("/bin/sh -c ").unwrap_or(command);
    let command = command.strip_prefix("#(nop) ").unwrap_or(command).trim();
    if command.is_empty() {
        String::new()
    } else {
        format!("<code class=\"step\">{}</code>", escape(command))
    }
}

/// The bytes of an image that each host serves.
fn served_from(body: &mut String, total: u64, hosts: &BTreeMap<String, u64>) {
    /// The number of hosts that are shown.
    const HOSTS: usize = 10;
    if hosts.keys().any(|host| host != HERE) {
        body.push_str(
            "<p class=\"dim\">A pull also connects to these hosts. Your firewall must allow that:</p>\n",
        );
    }
    body.push_str("<ul class=\"hosts\">\n");
    for (host, size) in hosts.iter().take(HOSTS) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            body,
            "<li><meter min=\"0\" max=\"{total}\" value=\"{size}\">{} of {}</meter> {} from {}",
            bytes(*size),
            bytes(total),
            bytes(*size),
            escape(host),
        );
    }
    body.push_str("</ul>\n");
}

/// The longest host that is shown: the longest that there is.
const MAX_HOST: usize = 253;

/// The host that serves a blob of a repository. `location` is that of a blob that is not in the bucket.
fn serving_host(request: &SiteRequest<'_>, repository: &Repository, location: Option<&str>) -> String {
    let passes = request.site.proxy_rules_for(&repository.name);
    let url = match (location, &request.site.bucket) {
        (Some(location), _) if passes.is_some_and(|rules| rules.allows_url(location)) => {
            return HERE.to_owned();
        }
        (Some(location), _) => location,
        (None, Bucket::Redirect(_)) if passes.is_some_and(|rules| rules.origin.is_some()) => {
            return HERE.to_owned();
        }
        (None, Bucket::Redirect(origin)) => origin.display_name(),
        (None, Bucket::Folder(_) | Bucket::Proxy(_) | Bucket::Nowhere) => return HERE.to_owned(),
    };
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // The user info before the host may hold a password.
    let host = host.rsplit('@').next().unwrap_or_default();
    host.chars().take(MAX_HOST).collect()
}
