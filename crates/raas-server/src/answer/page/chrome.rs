//! What all pages have in common: the head, the bar with the search, the footer.

use super::super::SiteRequest;
use super::{STYLE, escape, login};

/// What a page shows around its content. All texts are HTML.
pub(super) struct Chrome {
    pub(super) title: String,
    /// The name of the vendor. None for a page that names none.
    pub(super) vendor: Option<String>,
    /// What is searched for.
    pub(super) search: String,
    /// What the bar says of the login.
    pub(super) login: String,
    /// The sentences of the footer.
    pub(super) footer: String,
}

impl Chrome {
    /// Around a page of a site. The footer names the time of the publication, and the commit for those who report a problem.
    pub(super) fn of(request: &SiteRequest<'_>) -> Self {
        let vendor = escape(request.site.vendor.as_str());
        let mut footer = format!("Registry of {vendor}.");
        if let Some(time) = request.catalog.published {
            footer.push_str(&format!(" Published <time datetime=\"{time}\">{}</time>.", time.for_people()));
        }
        let commit: String = String::from_utf8_lossy(&request.catalog.revision).chars().take(64).collect();
        if !commit.is_empty() {
            footer.push_str(&format!(
                " If you report a problem, name this version of the registry: <code>{}</code>.",
                escape(&commit)
            ));
        }
        footer.push_str(" <a href=\"/feed.atom\">News of new images, for feed readers</a>");
        let login = login::bar(request);
        Self { title: String::new(), vendor: Some(vendor), search: String::new(), login, footer }
    }

    /// Around a page that names no vendor.
    pub(super) fn anonymous(title: &str) -> Self {
        let (search, login, footer) = (String::new(), String::new(), String::new());
        Self { title: title.to_owned(), vendor: None, search, login, footer }
    }

    /// The HTML document. `body` is HTML.
    pub(super) fn html(&self, body: &str) -> String {
        let Self { title, vendor, search, login, footer } = self;
        let (mut feed, mut bar, mut full) = (String::new(), String::new(), title.clone());
        if let Some(vendor) = vendor {
            feed = format!(
                "<link rel=\"alternate\" type=\"application/atom+xml\" title=\"Publications of {vendor}\" \
                 href=\"/feed.atom\">"
            );
            bar = format!(
                "<header class=\"bar\"><div>\n<a class=\"brand\" href=\"/\">{vendor}</a>\n{login}\
                 <form action=\"/\" role=\"search\"><input type=\"search\" name=\"q\" value=\"{search}\" \
                 placeholder=\"Search images\" aria-label=\"Search images\" maxlength=\"255\" autocomplete=\"off\" \
                 spellcheck=\"false\"><button>Search</button></form>\n</div></header>\n"
            );
            if full != *vendor {
                full.push_str(&format!(" – {vendor}"));
            }
        }
        let footer = match footer.is_empty() {
            true => String::new(),
            false => format!("<footer>{footer}</footer>\n"),
        };
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><title>{full}</title>{feed}\
             <style>{STYLE}</style></head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the content</a>\n{bar}\
             <main id=\"main\">\n{body}</main>\n{footer}</body>\n</html>\n"
        )
    }
}

/// The content of the page for an image or a path that is not there. It says the same of what is hidden. `login` is the link
/// to the login, if there is one.
pub(super) fn not_found_body(login: Option<&str>) -> String {
    let login =
        login.map(|link| format!("<a class=\"button\" href=\"{link}\">Log in</a> ")).unwrap_or_default();
    format!(
        "<div class=\"lost\">\n<p class=\"code\" aria-hidden=\"true\">404</p>\n<h1>There is nothing here</h1>\n\
         <p>This image, tag or path does not exist, or you may not see it. Images move when a vendor renames or removes \
         them.</p>\n<p>{login}<a class=\"button\" href=\"/\">See all images</a></p>\n</div>\n"
    )
}

/// The content of the page at a host that belongs to none of several vendors.
pub(super) fn several_vendors_body() -> String {
    "<div class=\"lost\">\n<h1>Container registries live here</h1>\n<p>This server answers for several vendors. Each has \
     a registry at an address of its own, and this address belongs to none of them.</p>\n<p>Look into the \
     documentation of the software that you want to run, or ask its vendor: the address is the part of the image’s name \
     before the first slash, as in <code>docker pull <b>registry.vendor.example</b>/app</code>.</p>\n</div>\n"
        .to_owned()
}
