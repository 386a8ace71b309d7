//! Lists of tags in pages.

use raas_testkit::http::Reply;
use raas_testkit::registry::Registry;
use raas_types::Digest;

use crate::support::{one_image, open, options, read, tags};
use raas_sources::registry::WantedImages;

fn listed(registry: &Registry) -> Result<Vec<String>, String> {
    let list = open(registry, options()).tags().map_err(|error| error.to_string())?;
    Ok(list.tags.iter().map(ToString::to_string).collect())
}

#[test]
fn all_pages_are_read_with_a_last_one_that_is_empty() {
    for page in [1, 2, 3, 5] {
        let registry = Registry::new("app");
        registry.page(page);
        let names = ["a", "b", "c", "d"];
        names.iter().for_each(|name| registry.tag(name, &Digest::of(b"x")));
        assert_eq!(listed(&registry).unwrap(), names, "{page}");
    }
}

#[test]
fn a_link_with_another_host_stays_at_the_registry() {
    let registry = Registry::new("app");
    registry.page(1);
    ["a", "b"].iter().for_each(|name| registry.tag(name, &Digest::of(b"x")));
    registry.change(|_, _, reply| {
        let link = reply.headers.iter().find(|(name, _)| name == "Link").map(|(_, link)| link.clone());
        match link {
            Some(link) => reply.with("Link", link.replace("</v2", "<http://inner.invalid:24817/v2")),
            None => reply,
        }
    });
    assert_eq!(listed(&registry).unwrap(), ["a", "b"]);
}

#[test]
fn pages_in_a_circle_and_pages_without_entries_end() {
    let registry = Registry::new("app");
    registry.tag("a", &Digest::of(b"x"));
    registry.change(|asked, _, reply| reply.with("Link", format!("<{}>; rel=\"next\"", asked.target)));
    assert!(listed(&registry).unwrap_err().contains("in a circle"));
    registry.change(|_, number, _| {
        let next = another(number);
        Reply::new(200, r#"{"tags":null}"#)
            .with("Link", format!("</v2/app/tags/list?last={next}>; rel=\"next\""))
    });
    assert!(listed(&registry).unwrap_err().contains("in a circle"));
    assert!(registry.take_log().len() < 20);
}

/// Another page each time.
fn another(number: usize) -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(number, Ordering::SeqCst)
}

#[test]
fn a_list_that_is_none_is_refused_and_a_repository_that_is_not_there_named() {
    let registry = Registry::new("app");
    for body in ["<html>", r#"{"tags":"a"}"#] {
        registry.change(move |_, _, _| Reply::new(200, body));
        let error = listed(&registry).unwrap_err();
        assert!(error.contains("it is no list of tags"), "{error}");
    }
    registry.change(|_, _, _| Reply::new(404, "Not Found"));
    assert!(listed(&registry).unwrap_err().contains("the repository app of"));
}

#[test]
fn names_that_are_no_tags_are_left_out_with_a_note() {
    let one = one_image();
    one.registry.change(|asked, _, reply| match asked.target.contains("/tags/list") {
        true => Reply::new(200, r#"{"name":"team/app","tags":["1.0","-x\u001b[2J"]}"#),
        false => reply,
    });
    let set = read(&one.registry, &WantedImages::All).unwrap();
    assert_eq!(tags(&set).len(), 1);
    let note = set.notes.first().unwrap();
    assert!(note.contains("1 names that are no tags") && !note.contains('\u{1b}'), "{note}");
}

#[test]
fn a_repository_without_tags_is_refused() {
    let registry = Registry::new("app");
    let failure = read(&registry, &WantedImages::All).unwrap_err().to_string();
    assert!(failure.contains("app has no tag"), "{failure}");
}
