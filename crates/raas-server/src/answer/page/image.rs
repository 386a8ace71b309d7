//! The page of an image: its tags.

use std::fmt::Write;

use raas_types::Digest;

use super::super::SiteRequest;
use super::{Wanted, bytes, command, count, day, digest, escape, page as finish, pages};
use crate::catalog::{Child, Details, Facts, Manifest, Repository};
use crate::http::query;
use crate::response::Response;

/// The number of tags on a page.
const TAGS: usize = 100;

/// The number of tags that are searched for a page, the newest versions.
const SEARCHED: usize = 20_000;

/// The number of platforms in a row of a tag.
const PLATFORMS: usize = 8;

/// An image for one platform.
#[derive(Clone, Copy)]
pub(super) struct Image<'a> {
    /// Empty if it is unknown.
    pub(super) platform: &'a str,
    pub(super) manifest: &'a Manifest,
    /// The bytes that a client without any of the layers downloads.
    pub(super) size: u64,
    pub(super) layers: u32,
}

/// The images of a tag.
pub(super) struct Images<'a> {
    pub(super) known: Vec<Image<'a>>,
    /// The attestations that the index lists, with their subjects.
    pub(super) attestations: Vec<(&'a Manifest, Digest)>,
    /// The number of manifests of an index beyond those that are kept.
    pub(super) others: u32,
}

/// The page of the tags whose names contain what is searched for.
pub(super) fn page(request: &SiteRequest<'_>, repository: &Repository, wanted: &Wanted) -> Response {
    let name = escape(repository.name.as_str());
    let encoded = query::encode(repository.name.as_str());
    let filter = &wanted.filter;
    let mut body = format!("<nav class=\"crumbs\"><a href=\"/\">All images</a></nav>\n<h1>{name}</h1>\n");
    if let Some(tag) = repository.preferred() {
        let reference = match tag.as_str() {
            "latest" => repository.name.to_string(),
            tag => format!("{}:{tag}", repository.name),
        };
        command::write(&mut body, request, "Pull commands", &reference);
    }
    let searched = if filter.is_empty() { usize::MAX } else { SEARCHED };
    let matching = || {
        let searched = repository.pulled().take(searched);
        searched.filter(|tag| filter.is_in(repository.tag_at(*tag).0.as_str()))
    };
    let all = repository.pulled_len();
    // Writing to a string cannot fail.
    let _ = writeln!(
        body,
        "<div class=\"head\"><h2>{}</h2>\n<form action=\"/\"><input type=\"hidden\" name=\"image\" value=\"{name}\">\
         <input type=\"search\" name=\"filter\" value=\"{}\" placeholder=\"Filter tags\" aria-label=\"Filter tags\" \
         maxlength=\"128\" autocomplete=\"off\" spellcheck=\"false\"><button>Filter</button></form></div>",
        count(all, "tag"),
        filter.html(),
    );
    let found = matching().count();
    if found == 0 {
        let text = if all == 0 { "This image has no tags." } else { "No tag has that in its name." };
        let _ = writeln!(body, "<div class=\"empty\"><p>{text}</p></div>");
        return finish(request, &name, wanted, &body);
    }
    body.push_str(
        "<table class=\"list tags\">\n<thead><tr><th scope=\"col\">Tag<th scope=\"col\">Published<th scope=\"col\">\
         Platforms<th scope=\"col\" class=\"n\">Size<th scope=\"col\">Digest</thead>\n<tbody>\n",
    );
    let last = found.div_ceil(TAGS);
    let number = wanted.page.min(last);
    for tag in matching().skip((number - 1) * TAGS).take(TAGS) {
        row(&mut body, repository, &encoded, tag);
    }
    body.push_str("</tbody>\n</table>\n");
    let link = format!("/?image={encoded}{}&amp;page=", filter.link("filter"));
    pages(&mut body, &link, number, last);
    finish(request, &name, wanted, &body)
}

fn row(body: &mut String, repository: &Repository, encoded: &str, number: u32) {
    let (tag, manifest) = repository.tag_at(number);
    let images = Images::of(repository, manifest);
    let deprecated = match repository.notes.deprecated(number) {
        Some(deprecated) => {
            format!(
                " <span class=\"badge warn\" title=\"{}\">deprecated</span>",
                escape(deprecated.sentence())
            )
        }
        None => String::new(),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        body,
        "<tr><th scope=\"row\"><a class=\"name\" href=\"/?image={encoded}&amp;tag={}\">{}</a>{deprecated}<td>{}\
         <td class=\"chips\">{}<td class=\"n\">{}<td>{}",
        query::encode(tag.as_str()),
        escape(tag.as_str()),
        day(repository.notes.published(number)),
        images.platforms(),
        images.sizes(),
        digest(&manifest.digest),
    );
}

impl<'a> Images<'a> {
    /// The images of a manifest: the manifest itself, or the manifests of an index that the repository has.
    pub(super) fn of(repository: &'a Repository, manifest: &'a Manifest) -> Self {
        let Facts::Index(index) = &manifest.facts else {
            let known = Image::of(manifest, None).into_iter().collect();
            return Self { known, attestations: Vec::new(), others: 0 };
        };
        let (attestations, images): (Vec<&Child>, Vec<&Child>) =
            index.children.iter().partition(|child| child.attests.is_some());
        let image =
            |child: &'a Child| Image::of(repository.manifest(&child.digest)?, child.platform.as_deref());
        let attestation = |child: &'a Child| {
            Some((repository.manifest(&child.digest)?.as_ref(), *child.attests.as_deref()?))
        };
        Self {
            known: images.into_iter().filter_map(image).collect(),
            attestations: attestations.into_iter().filter_map(attestation).collect(),
            others: index.others,
        }
    }

    /// The first platforms, and the number of the others.
    fn platforms(&self) -> String {
        let mut text = String::new();
        for image in self.known.iter().take(PLATFORMS).filter(|image| !image.platform.is_empty()) {
            text.push_str(&format!("<span class=\"chip\">{}</span> ", escape(image.platform)));
        }
        let further = self.known.len().saturating_sub(PLATFORMS) + self.others as usize;
        if further > 0 {
            text.push_str(&format!("<span class=\"dim\">{further} more</span>"));
        }
        text
    }

    /// The size of the images, or the smallest and the largest size.
    pub(super) fn sizes(&self) -> String {
        let sizes = self.known.iter().map(|image| image.size);
        match (sizes.clone().min(), sizes.max()) {
            (Some(least), Some(most)) if bytes(least) == bytes(most) => bytes(most),
            (Some(least), Some(most)) => format!("{} – {}", bytes(least), bytes(most)),
            _ => String::new(),
        }
    }
}

impl<'a> Image<'a> {
    fn of(manifest: &'a Manifest, platform: Option<&'a str>) -> Option<Self> {
        let Facts::Image { size, layers, .. } = manifest.facts else { return None };
        let platform = platform.or(manifest.platform.as_deref()).unwrap_or_default();
        Some(Self { platform, manifest, size, layers })
    }

    pub(super) fn details(&self) -> Option<&'a Details> {
        self.manifest.details.as_deref()
    }
}
