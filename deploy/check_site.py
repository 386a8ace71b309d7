#!/usr/bin/env python3
"""Checks that every link of the built site leads to a file of it, and to a heading there.

usage: check_site.py FOLDER
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.update(value for name, value in attrs.items() if name in ("id", "name") and value)
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])


def main():
    root = Path(sys.argv[1]).resolve()
    pages = {path: Page(path) for path in root.rglob("*.html")}
    faults, checked = [], 0
    for path, page in pages.items():
        # The page of all pages repeats every heading under other names, and 404.html is for any folder.
        if path.name in ("print.html", "404.html", "toc.html"):
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            checked += 1
            if not target.is_relative_to(root) or not target.exists():
                faults.append(f"{path.relative_to(root)}: {link} does not exist")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                faults.append(f"{path.relative_to(root)}: {link} has no such heading")
    print(f"{checked} links of {len(pages)} pages")
    if faults or checked < 500:
        sys.exit("\n".join(faults) or "too few links: is this the site?")


if __name__ == "__main__":
    main()
