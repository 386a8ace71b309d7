//! The page of a tag: its platforms, and for each its config, its layers and its attachments.

use std::fmt::Write;

use super::super::SiteRequest;
use super::attachments::Attachments;
use super::image::{Image, Images};
use super::{Wanted, bytes, command, count, day, digest, escape, layers, page as finish, pages};
use crate::catalog::{Details, Repository};
use crate::http::query;
use crate::response::Response;

/// The number of platforms on a page.
const IMAGES: usize = 10;

/// None if there is no such tag.
pub(super) fn page(
    request: &SiteRequest<'_>,
    repository: &Repository,
    tag: &str,
    wanted: &Wanted,
) -> Option<Response> {
    let number = repository.number_of(tag)?;
    let manifest = repository.tag_at(number).1;
    let (name, shown) = (escape(repository.name.as_str()), escape(tag));
    let (encoded, encoded_tag) = (query::encode(repository.name.as_str()), query::encode(tag));
    let mut body = format!(
        "<nav class=\"crumbs\"><a href=\"/\">All images</a> <span aria-hidden=\"true\">/</span> \
         <a href=\"/?image={encoded}\">{name}</a></nav>\n<h1>{name}<span class=\"tag\">:{shown}</span></h1>\n"
    );
    // Writing to a string cannot fail.
    if let Some(deprecated) = repository.notes.deprecated(number) {
        let mut sentence = "<p class=\"banner\" role=\"note\"><b>This tag is deprecated.</b>".to_owned();
        if let Some(replacement) = deprecated.replacement {
            let to = repository.tag_at(replacement).0.as_str();
            let _ = write!(
                sentence,
                " Use <a href=\"/?image={encoded}&amp;tag={}\">{name}:{}</a> instead.",
                query::encode(to),
                escape(to)
            );
        }
        if let Some(until) = deprecated.until {
            let _ = write!(sentence, " It is supported until {}.", day(Some(until)));
        }
        let _ = writeln!(body, "{sentence}</p>");
    }
    command::write(&mut body, request, "Pull this tag", &format!("{}:{tag}", repository.name));
    let images = Images::of(repository, manifest);
    let last = images.known.len().div_ceil(IMAGES).max(1);
    let page = wanted.page.min(last);
    let on_page: Vec<Image<'_>> =
        images.known.iter().skip((page - 1) * IMAGES).take(IMAGES).copied().collect();
    let anchors = anchors(&on_page);
    let size = images.sizes();
    let _ = writeln!(
        body,
        "<dl class=\"facts\">\n<div><dt>Published<dd>{}</div>\n<div><dt>Size<dd>{}</div>\n{}<div class=\"wide\">\
         <dt>Digest<dd>{} <span class=\"dim\">A pull by this digest always gets this image.</span></div>\n</dl>",
        day(repository.notes.published(number)),
        if size.is_empty() { "–" } else { &size },
        platforms(&on_page, &anchors),
        digest(&manifest.digest),
    );
    let _ = writeln!(body, "<details><summary>Pull by digest</summary>");
    command::write(&mut body, request, "Pull by digest", &format!("{}@{}", repository.name, manifest.digest));
    body.push_str("</details>\n");
    if images.known.is_empty() {
        let _ = writeln!(
            body,
            "<p>This tag is not an image. Its type is <code>{}</code>.</p>",
            escape(manifest.media_type())
        );
    }
    let mut attachments = Attachments::new(request, repository);
    if !images.known.iter().any(|image| image.manifest.digest == manifest.digest) {
        attachments.write(&mut body, &manifest.digest, &[], "Signatures and attachments of all platforms");
    }
    for (image, anchor) in on_page.iter().zip(&anchors) {
        // The layers of several platforms would hide the platforms from each other.
        let is_open = on_page.len() == 1;
        let is_tagged = image.manifest.digest == manifest.digest;
        write_image(&mut body, request, repository, image, Section { anchor, is_open, is_tagged });
        let attested = images.attestations.iter().filter(|(_, subject)| *subject == image.manifest.digest);
        let attested: Vec<_> = attested.map(|(manifest, _)| *manifest).collect();
        attachments.write(&mut body, &image.manifest.digest, &attested, "Signatures and attachments");
        body.push_str("</section>\n");
    }
    pages(&mut body, &format!("/?image={encoded}&amp;tag={encoded_tag}&amp;page="), page, last);
    if images.others > 0 && page == last {
        let _ = writeln!(body, "<p class=\"dim\">The index names {} more manifests.</p>", images.others);
    }
    Some(finish(request, &format!("{name}:{shown}"), wanted, &body))
}

/// The links to the sections of several platforms.
fn platforms(images: &[Image<'_>], anchors: &[String]) -> String {
    if images.len() < 2 {
        return String::new();
    }
    let links = images.iter().zip(anchors).map(|(image, anchor)| {
        format!("<a class=\"chip\" href=\"#{anchor}\">{}</a>", escape(name_of(image)))
    });
    let links = links.collect::<Vec<_>>().join(" ");
    format!("<div class=\"jump\"><dt>Platforms<dd class=\"chips\">{links}</div>\n")
}

/// How the section of an image is shown.
struct Section<'a> {
    anchor: &'a str,
    /// Whether the layers are shown without a click.
    is_open: bool,
    /// Whether the tag leads to the image itself, whose digest is shown already.
    is_tagged: bool,
}

/// The identifiers of the images' sections. Images of one platform have numbers.
fn anchors(images: &[Image<'_>]) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::with_capacity(images.len());
    for image in images {
        let name = name_of(image).chars();
        let anchor: String =
            name.map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        let is_taken = anchors.contains(&anchor);
        anchors.push(if is_taken { format!("{anchor}-{}", anchors.len() + 1) } else { anchor });
    }
    anchors
}

fn name_of<'a>(image: &Image<'a>) -> &'a str {
    if image.platform.is_empty() { "Image" } else { image.platform }
}

/// The section of an image, without its end: what it is, its config, and its layers.
fn write_image(
    body: &mut String,
    request: &SiteRequest<'_>,
    repository: &Repository,
    image: &Image<'_>,
    Section { anchor, is_open, is_tagged }: Section<'_>,
) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        body,
        "<section class=\"image\" id=\"{anchor}\">\n<h2><a class=\"anchor\" href=\"#{anchor}\">{}</a></h2>\n\
         <dl class=\"facts\">\n<div><dt>Size<dd>{}: {} and the config</div>",
        escape(name_of(image)),
        bytes(image.size),
        count(image.layers as usize, "layer"),
    );
    let details = image.details();
    if let Some(created) = details.and_then(|details| details.created) {
        let _ = writeln!(body, "<div><dt>Created<dd>{}</div>", day(Some(created)));
    }
    for (name, value) in details.into_iter().flat_map(Details::settings) {
        let _ = writeln!(body, "<div><dt>{name}<dd><code>{}</code></div>", escape(value));
    }
    if !is_tagged {
        let _ =
            writeln!(body, "<div class=\"wide\"><dt>Manifest<dd>{}</div>", digest(&image.manifest.digest));
    }
    if let Some(config) = layers::config(image) {
        let _ = writeln!(
            body,
            "<div class=\"wide\"><dt>Image ID<dd>{} <span class=\"dim\">The digest of the config. It cannot be pulled.</span></div>",
            digest(&config)
        );
    }
    body.push_str("</dl>\n");
    if let Some(details) = details
        && details.labels().next().is_some()
    {
        let labels = details.labels().count();
        let _ =
            writeln!(body, "<details><summary>{}</summary>\n<dl class=\"labels\">", count(labels, "label"));
        for (key, value) in details.labels() {
            let _ = writeln!(body, "<div><dt><code>{}</code><dd>{}</div>", escape(key), escape(value));
        }
        body.push_str("</dl></details>\n");
    }
    layers::write(body, request, repository, image, is_open);
}
