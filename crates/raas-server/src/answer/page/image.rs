//! The pages of one repository: its tags, and the content of one tag.

use std::collections::BTreeMap;
use std::fmt::Write;

use raas_types::{Descriptor, Digest, Manifest as Understood, ManifestBody};

use super::{escape, example, page, pull};
use crate::answer::SiteRequest;
use crate::catalog::{Manifest, Repository};
use crate::http::query;
use crate::response::Response;
use crate::site::Bucket;

/// The number of tags on a page. The page reads the manifest of each.
const TAGS: usize = 100;

/// An image for one platform.
struct Image<'a> {
    platform: String,
    manifest: &'a Manifest,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// The page of a repository's tags after `last`, with their platforms and sizes.
pub(super) fn tags(request: &SiteRequest<'_>, repository: &Repository, last: Option<&str>) -> Response {
    let name = escape(repository.name.as_str());
    let encoded = query::encode(repository.name.as_str());
    let mut body = format!(
        "<nav><a href=\"/\">All images</a></nav>\n<h1>{name}</h1>\n{}\n\
         <table>\n<thead><tr><th scope=\"col\">Tag<th scope=\"col\">Platforms\
         <th scope=\"col\" class=\"n\">Size<th scope=\"col\" class=\"wide\">Digest</thead>\n<tbody>\n",
        pull(request, &format!("{}{}", repository.name, example(repository))),
    );
    let mut rest = repository.tags_after(last);
    let mut end = None;
    for tag in rest.by_ref().take(TAGS) {
        let tag = tag.as_str();
        let Some(manifest) = repository.tag(tag) else { continue };
        let images = images(repository, manifest);
        let platforms: Vec<&str> = images.iter().map(|image| image.platform.as_str()).collect();
        let sizes = images.iter().map(Image::size);
        let size = match (sizes.clone().min(), sizes.max()) {
            (Some(least), Some(most)) if least == most => bytes(most),
            (Some(least), Some(most)) => format!("{} to {}", bytes(least), bytes(most)),
            _ => String::new(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            body,
            "<tr><th scope=\"row\"><a href=\"/?image={encoded}&amp;tag={}\">{}</a><td>{}<td class=\"n\">{size}\
             <td class=\"wide\">{}",
            query::encode(tag),
            escape(tag),
            escape(&platforms.join(", ")),
            short(&manifest.digest),
        );
        end = Some(tag);
    }
    body.push_str("</tbody>\n</table>\n");
    if let (Some(end), Some(_)) = (end, rest.next()) {
        let last = query::encode(end);
        let _ = writeln!(body, "<p><a href=\"/?image={encoded}&amp;last={last}\">More tags</a></p>");
    }
    page(request, &name, &body)
}

/// The page of one tag: the layers of every platform, their sizes, and the host that serves them.
pub(super) fn tag(request: &SiteRequest<'_>, repository: &Repository, tag: &str) -> Option<Response> {
    let manifest = repository.tag(tag)?;
    let (name, shown) = (escape(repository.name.as_str()), escape(tag));
    let mut body = format!(
        "<nav><a href=\"/\">All images</a> / <a href=\"/?image={}\">{name}</a></nav>\n<h1>{name}:{shown}</h1>\n\
         {}\n{}\n",
        query::encode(repository.name.as_str()),
        pull(request, &format!("{}:{tag}", repository.name)),
        pull(request, &format!("{}@{}", repository.name, manifest.digest)),
    );
    let images = images(repository, manifest);
    if images.is_empty() {
        // Writing to a string cannot fail.
        let _ =
            writeln!(body, "<p>This tag is not an image. Its type is {}.</p>", escape(manifest.media_type()));
    }
    for image in &images {
        let platform = if image.platform.is_empty() { "Image" } else { &image.platform };
        let _ = writeln!(
            body,
            "<h2>{}</h2>\n<p>{} in {} layers. <span class=\"dim\">Manifest {}</span></p>\n{}",
            escape(platform),
            bytes(image.size()),
            image.layers.len(),
            short(&image.manifest.digest),
            bytes_by_host(request, repository, image),
        );
        body.push_str(
            "<table>\n<thead><tr><th scope=\"col\">Layer<th scope=\"col\" class=\"n\">Size\
             <th scope=\"col\">Served from</thead>\n<tbody>\n",
        );
        for layer in &image.layers {
            let _ = writeln!(
                body,
                "<tr><td>{}<td class=\"n\">{}<td>{}",
                short(&layer.digest),
                bytes(layer.size),
                escape(&serving_host(request, repository, layer)),
            );
        }
        body.push_str("</tbody>\n</table>\n");
    }
    Some(page(request, &format!("{name}:{shown}"), &body))
}

/// A short digest for people. The whole digest is in the tooltip.
fn short(digest: &Digest) -> String {
    format!("<code title=\"{digest}\">sha256:{}…</code>", digest.short())
}

/// The images of a manifest: the manifest itself, or the manifests of an index that the repository has.
fn images<'a>(repository: &'a Repository, manifest: &'a Manifest) -> Vec<Image<'a>> {
    let understood =
        |manifest: &Manifest| Understood::parse(&manifest.bytes(), Some(manifest.media_type())).ok();
    let image = |manifest: &'a Manifest, platform: Option<String>| match understood(manifest)?.body {
        ManifestBody::Image { config, layers } => {
            let platform =
                platform.or_else(|| manifest.platform.as_deref().map(str::to_owned)).unwrap_or_default();
            Some(Image { platform, manifest, config: *config, layers })
        }
        ManifestBody::Index { .. } => None,
    };
    match understood(manifest).map(|understood| understood.body) {
        Some(ManifestBody::Index { manifests }) => manifests
            .iter()
            .filter_map(|child| {
                let platform = child.platform.as_ref().map(ToString::to_string);
                image(repository.manifest(&child.digest)?, platform)
            })
            .collect(),
        _ => image(manifest, None).into_iter().collect(),
    }
}

impl Image<'_> {
    /// The bytes that a client without any of the layers downloads.
    fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).fold(self.config.size, u64::saturating_add)
    }
}

/// The bytes of an image that each host serves, as an HTML list.
fn bytes_by_host(request: &SiteRequest<'_>, repository: &Repository, image: &Image<'_>) -> String {
    let mut hosts: BTreeMap<String, u64> = BTreeMap::new();
    for blob in image.layers.iter().chain([&image.config]) {
        let sum = hosts.entry(serving_host(request, repository, blob)).or_default();
        *sum = sum.saturating_add(blob.size);
    }
    let total = image.size();
    let mut list = String::from("<ul>\n");
    for (host, size) in hosts {
        // Writing to a string cannot fail.
        let _ = writeln!(
            list,
            "<li><meter min=\"0\" max=\"{total}\" value=\"{size}\">{size} of {total} bytes</meter> {} from {}",
            bytes(size),
            escape(&host),
        );
    }
    list.push_str("</ul>\n");
    list
}

/// The host that serves a blob.
fn serving_host(request: &SiteRequest<'_>, repository: &Repository, blob: &Descriptor) -> String {
    let location = repository.blob(&blob.digest).and_then(|blob| blob.location.as_deref());
    let passes = request.site.proxy_rules_for(&repository.name);
    let url = match (location, &request.site.bucket) {
        (Some(location), _) if passes.is_some_and(|rules| rules.allows_url(location)) => {
            return "this registry".to_owned();
        }
        (Some(location), _) => location,
        (None, Bucket::Redirect(_)) if passes.is_some_and(|rules| rules.origin.is_some()) => {
            return "this registry".to_owned();
        }
        (None, Bucket::Redirect(origin)) => origin.display_name(),
        (None, Bucket::Folder(_) | Bucket::Proxy(_) | Bucket::Nowhere) => return "this registry".to_owned(),
    };
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // The user info before the host may hold a password.
    host.rsplit('@').next().unwrap_or_default().to_owned()
}

/// A size in a unit that people can read.
fn bytes(size: u64) -> String {
    let mut unit = 0;
    let mut rest = size as f64;
    while rest >= 999.5 && unit < 4 {
        rest /= 1000.0;
        unit += 1;
    }
    let name = ["B", "kB", "MB", "GB", "TB"][unit];
    if unit == 0 || rest >= 99.95 { format!("{rest:.0} {name}") } else { format!("{rest:.1} {name}") }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_readable() {
        let table =
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345, "12.3 kB"), (412_000_000, "412 MB")];
        for (size, text) in table {
            assert_eq!(bytes(size), text);
        }
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(bytes(u64::MAX), "18446744 TB");
    }
}
