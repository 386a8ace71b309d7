//! The pages of one repository: its tags, and the content of one tag.
//!
//! A vendor chooses the manifests, so a page has a fixed number of rows, and reads what was computed when the manifests
//! were loaded. Only the layers of a few short manifests are read when they are shown.

use std::collections::BTreeMap;
use std::fmt::Write;

use raas_types::{Descriptor, Digest, Manifest as Understood, ManifestBody};

use super::{attachments, escape, example, page, pull};
use crate::answer::SiteRequest;
use crate::catalog::{Child, Facts, Manifest, Repository};
use crate::http::query;
use crate::response::Response;
use crate::site::Bucket;

/// The number of tags on a page.
const TAGS: usize = 100;

/// The number of platforms in a row of a tag.
const PLATFORMS: usize = 8;

/// The number of platforms on the page of a tag.
const IMAGES: usize = 10;

/// The number of layers of an image that are shown. Runtimes accept no more than 127.
const LAYERS: usize = 130;

/// The longest manifest whose layers are shown, in bytes. 130 layers take about 30 KiB.
const MAX_MANIFEST: usize = 64 * 1024;

/// An image for one platform.
struct Image<'a> {
    /// Empty if it is unknown.
    platform: &'a str,
    manifest: &'a Manifest,
    /// The bytes that a client without any of the layers downloads.
    size: u64,
    layers: u32,
}

/// The images of a tag.
struct Images<'a> {
    known: Vec<Image<'a>>,
    /// The number of manifests of an index beyond those that are kept.
    others: u32,
}

/// The page of a repository's tags after `last`, with their platforms and sizes.
pub(super) fn tags(request: &SiteRequest<'_>, repository: &Repository, last: Option<&str>) -> Response {
    let name = escape(repository.name.as_str());
    let encoded = query::encode(repository.name.as_str());
    let example = example(repository).map(|end| pull(request, &format!("{}{end}", repository.name)));
    let mut body = format!(
        "<nav><a href=\"/\">All images</a></nav>\n<h1>{name}</h1>\n{}\n\
         <table>\n<thead><tr><th scope=\"col\">Tag<th scope=\"col\">Platforms\
         <th scope=\"col\" class=\"n\">Size<th scope=\"col\" class=\"wide\">Digest</thead>\n<tbody>\n",
        example.unwrap_or_default(),
    );
    let mut rest = repository.pulled_after(last);
    let mut end = None;
    for (tag, manifest) in rest.by_ref().take(TAGS) {
        let tag = tag.as_str();
        let images = Images::of(repository, manifest);
        let sizes = images.known.iter().map(|image| image.size);
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
            escape(&images.platforms()),
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

/// The page of one tag: the layers of its platforms from the number `from` on, their sizes, and the host that serves
/// them.
pub(super) fn tag(
    request: &SiteRequest<'_>,
    repository: &Repository,
    tag: &str,
    from: usize,
) -> Option<Response> {
    let manifest = repository.tag(tag)?;
    let (name, shown) = (escape(repository.name.as_str()), escape(tag));
    let encoded = query::encode(repository.name.as_str());
    let mut body = format!(
        "<nav><a href=\"/\">All images</a> / <a href=\"/?image={encoded}\">{name}</a></nav>\n<h1>{name}:{shown}</h1>\n\
         {}\n{}\n",
        pull(request, &format!("{}:{tag}", repository.name)),
        pull(request, &format!("{}@{}", repository.name, manifest.digest)),
    );
    let images = Images::of(repository, manifest);
    if images.known.is_empty() {
        // Writing to a string cannot fail.
        let _ =
            writeln!(body, "<p>This tag is not an image. Its type is {}.</p>", escape(manifest.media_type()));
    }
    let count = images.known.len();
    let (from, to) = (from.min(count), from.saturating_add(IMAGES).min(count));
    for image in &images.known[from..to] {
        write_image(&mut body, request, repository, image);
    }
    if to < count {
        let tag = query::encode(tag);
        let link = format!("/?image={encoded}&amp;tag={tag}&amp;from={to}");
        let _ = writeln!(body, "<p><a href=\"{link}\">More platforms</a></p>");
    } else if images.others > 0 {
        let _ = writeln!(body, "<p>The index names {} more manifests.</p>", images.others);
    }
    let shown = images.known[from..to].iter().map(|image| image.manifest.digest);
    attachments::write(&mut body, repository, &manifest.digest, shown);
    Some(page(request, &format!("{name}:{}", escape(tag)), &body))
}

/// An image: its size, the hosts that serve it, and its layers.
fn write_image(body: &mut String, request: &SiteRequest<'_>, repository: &Repository, image: &Image<'_>) {
    let platform = if image.platform.is_empty() { "Image" } else { image.platform };
    let content = image.content();
    // Writing to a string cannot fail.
    let _ = writeln!(
        body,
        "<h2>{}</h2>\n<p>{} in {} layers. <span class=\"dim\">Manifest {}</span></p>",
        escape(platform),
        bytes(image.size),
        image.layers,
        short(&image.manifest.digest),
    );
    let Some((config, layers)) = content else {
        body.push_str("<p>The manifest is too long to show the layers here.</p>\n");
        return;
    };
    let blobs = layers.iter().chain([&config]);
    body.push_str(&bytes_by_host(request, repository, image.size, blobs));
    body.push_str(
        "<table>\n<thead><tr><th scope=\"col\">Layer<th scope=\"col\" class=\"n\">Size\
         <th scope=\"col\">Served from</thead>\n<tbody>\n",
    );
    for layer in layers.iter().take(LAYERS) {
        let _ = writeln!(
            body,
            "<tr><td>{}<td class=\"n\">{}<td>{}",
            short(&layer.digest),
            bytes(layer.size),
            escape(&serving_host(request, repository, layer)),
        );
    }
    body.push_str("</tbody>\n</table>\n");
    if let Some(further @ 1..) = layers.len().checked_sub(LAYERS) {
        let _ = writeln!(body, "<p>The manifest names {further} more layers.</p>");
    }
}

/// A short digest for people. The whole digest is in the tooltip.
pub(super) fn short(digest: &Digest) -> String {
    format!("<code title=\"{digest}\">sha256:{}…</code>", digest.short())
}

impl<'a> Images<'a> {
    /// The images of a manifest: the manifest itself, or the manifests of an index that the repository has.
    fn of(repository: &'a Repository, manifest: &'a Manifest) -> Self {
        match &manifest.facts {
            Facts::Index(index) => {
                let image = |child: &'a Child| {
                    Image::of(repository.manifest(&child.digest)?, child.platform.as_deref())
                };
                Self { known: index.children.iter().filter_map(image).collect(), others: index.others }
            }
            _ => Self { known: Image::of(manifest, None).into_iter().collect(), others: 0 },
        }
    }

    /// The first platforms, and the number of the others.
    fn platforms(&self) -> String {
        let mut text: Vec<&str> = self.known.iter().take(PLATFORMS).map(|image| image.platform).collect();
        let further = self.known.len().saturating_sub(PLATFORMS) + self.others as usize;
        let further = format!("{further} more");
        if !further.starts_with("0 ") {
            text.push(&further);
        }
        text.join(", ")
    }
}

impl<'a> Image<'a> {
    fn of(manifest: &'a Manifest, platform: Option<&'a str>) -> Option<Self> {
        let Facts::Image { size, layers } = manifest.facts else { return None };
        let platform = platform.or(manifest.platform.as_deref()).unwrap_or_default();
        Some(Self { platform, manifest, size, layers })
    }

    /// The config and the layers. None if the manifest is too long.
    fn content(&self) -> Option<(Descriptor, Vec<Descriptor>)> {
        if self.manifest.len() > MAX_MANIFEST {
            return None;
        }
        let understood = Understood::parse(&self.manifest.bytes(), Some(self.manifest.media_type())).ok()?;
        match understood.body {
            ManifestBody::Image { config, layers } => Some((*config, layers)),
            ManifestBody::Index { .. } => None,
        }
    }
}

/// The bytes of an image that each host serves, as an HTML list.
fn bytes_by_host<'a>(
    request: &SiteRequest<'_>,
    repository: &Repository,
    total: u64,
    blobs: impl Iterator<Item = &'a Descriptor>,
) -> String {
    /// The number of hosts that are shown.
    const HOSTS: usize = 10;
    let mut hosts: BTreeMap<String, u64> = BTreeMap::new();
    for blob in blobs {
        let sum = hosts.entry(serving_host(request, repository, blob)).or_default();
        *sum = sum.saturating_add(blob.size);
    }
    let mut list = String::from("<ul>\n");
    for (host, size) in hosts.into_iter().take(HOSTS) {
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

/// The longest host that is shown: the longest that there is.
const MAX_HOST: usize = 253;

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
    let host = host.rsplit('@').next().unwrap_or_default();
    host.chars().take(MAX_HOST).collect()
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
