"""The pages of `raas serve` in a real browser: as wide as a desktop and as a phone, light and dark.

`--pictures FOLDER` keeps pictures of them for people to look at.
"""

import xml.etree.ElementTree

import pytest

from harness import metadata
from harness.browser import chromium
from harness.process import listens, wait_for
from harness.raas import stateless_server
from harness.web import read

SIZES = {"desktop": (1280, 900), "phone": (375, 800)}
BUCKET = "https://bigdatainc-images.s3.eu-central-1.amazonaws.com"
CDN = "https://cdn.redhat.example.com/rhel9"
LONG_NAME = "a-team/with-a-name/that-goes-on-and-on/and-does-not-fit/on-a-line-of-any-telephone"
LONG_TAG = "2026.11.24-nightly-build.20261124130501-with-a-long-name"
PLATFORMS = ["amd64", "arm64", "ppc64le", "s390x"]

# The least contrast of any text. Source: WCAG 2.2, 1.4.3, which asks for 4.5 at least.
CONTRAST = """(() => {
  const light = c => {
    const linear = v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 };
    const [r, g, b] = c.match(/[\\d.]+/g).map(linear);
    return .2126 * r + .7152 * g + .0722 * b };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (c !== 'rgba(0, 0, 0, 0)') return c }
    return 'rgb(255, 255, 255)' };
  let least = 21;
  for (const e of document.querySelectorAll('body *')) {
    const text = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!text || ['SCRIPT', 'METER'].includes(e.tagName)) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
    least = Math.min(least, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
  }
  return least })()"""
WITHOUT_NAME = """(() => {
  const texts = [...document.querySelectorAll('a, button, summary')];
  const fields = [...document.querySelectorAll('input:not([type=hidden])')];
  return texts.filter(e => !e.textContent.trim()).length
    + fields.filter(e => !e.getAttribute('aria-label')).length })()"""
# Identifiers that stand there twice, and links within the page that lead nowhere.
WRONG_ANCHORS = """(() => {
  const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
  const links = [...document.querySelectorAll('a[href^="#"]')]
    .map(e => decodeURIComponent(e.hash.slice(1)));
  return ids.length - new Set(ids).size + links.filter(id => !ids.includes(id)).length })()"""
# What a click selects of the first digest: all of it, however little of it is visible.
SELECTED = """(() => {
  const digest = document.querySelector('.digest');
  return getComputedStyle(digest).userSelect + ' ' + digest.textContent })()"""


def facts(layers):
    """What a document says of an image's config."""
    steps = [{"command": "/bin/sh -c #(nop)  ENV PATH=/usr/local/bin:/usr/bin", "empty": True}]
    for n in range(layers):
        long = "dnf install -y --setopt=install_weak_deps=False java-21-openjdk tar gzip && dnf clean all"
        steps.append(
            {"command": f"RUN /bin/sh -c {long} # {n}" if n % 3 == 0 else f"COPY file-{n} /opt/app/"}
        )
    steps.append({"command": '/bin/sh -c #(nop)  ENTRYPOINT ["/opt/app/bin/server"]', "empty": True})
    return {
        "created": "2026-11-20T08:30:00Z",
        "entrypoint": ["/opt/app/bin/server"],
        "command": ["--config", "/etc/app.yaml", "--log level"],
        "user": "1001",
        "working_dir": "/opt/app",
        "ports": ["8080/tcp", "9443/tcp"],
        "labels": {
            "org.opencontainers.image.title": "Big Data Analytics",
            "org.opencontainers.image.source": "https://git.bigdatainc.example/analytics/server",
            "io.k8s.description": "Analyses big data " * 10,
        },
        "history": steps,
    }


def many_tags():
    """A repository with 200 tags, one of them deprecated, and an image of 4 platforms with 40 layers each."""
    repository = metadata.Repository("analytics/server")
    images = {}
    for architecture in PLATFORMS:
        image = repository.image(None, architecture, 40, location=CDN, architecture=architecture)
        repository.manifests[image]["image"] = facts(40)
        images[architecture] = image
    newest = repository.index("2.4.0", list(images.values()))
    repository.tags["latest"] = newest
    for n in range(196):
        repository.image(f"{n // 50}.{n % 50}.1", f"v{n}", location=CDN)
    repository.image("nightly", "nightly", location=CDN)
    repository.image("2.5.0-rc.1", "candidate", location=CDN)
    for n, tag in enumerate(repository.tags):
        repository.published[tag] = f"2026-{1 + n % 11:02}-{1 + n % 28:02}T12:00:00Z"
    repository.deprecated["2.3.1"] = {
        "since": "2026-11-01T00:00:00Z",
        "use": "2.4.0",
        "until": "2027-06-30T00:00:00Z",
    }
    for kind in ["application/vnd.dev.sigstore.bundle.v0.3+json", "application/spdx+json"]:
        repository.attach(newest, kind)
        repository.attach(images["amd64"], kind)
    return repository


@pytest.fixture(scope="module")
def addresses(program, tmp_path_factory):
    """The address of each page, on a server of one vendor, of a vendor without images, and of two vendors."""
    work = tmp_path_factory.mktemp("page")
    repositories = [metadata.typical(n, location=CDN) for n in range(12)]
    repositories.append(metadata.Repository(LONG_NAME))
    repositories[-1].image(LONG_TAG, "x")
    repositories.append(many_tags())
    for repository in repositories[:12]:
        repository.published = dict.fromkeys(repository.tags, "2026-10-05T09:00:00Z")
    revision = "0123456789abcdef0123456789abcdef01234567"
    metadata.write(work / "tree", repositories, revision)
    metadata.write(work / "empty", [], revision)
    one = ["bigdatainc", "--metadata", work / "tree", "--bucket", BUCKET]
    none = ["newcomer", "--metadata", work / "empty", "--bucket", BUCKET]
    with (
        stateless_server(program, work / "serve.log", *one) as server,
        stateless_server(program, work / "empty.log", *none) as empty,
    ):
        for process in [server, empty]:
            wait_for("raas serve", lambda process=process: listens(process.port), process=process)
        long = LONG_NAME.replace("/", "%2F")
        paths = {
            "list": "/",
            "search": "/?q=app1",
            "search-nothing": "/?q=nothing-has-this-name",
            "image": "/?image=analytics/server",
            "filter": "/?image=analytics/server&filter=2.",
            "tag": "/?image=analytics/server&tag=2.4.0",
            "deprecated": "/?image=analytics/server&tag=2.3.1",
            "long": f"/?image={long}",
            "long-tag": f"/?image={long}&tag={LONG_TAG}",
            "missing": "/?image=none",
        }
        yield {
            **{page: f"http://{server.address}{path}" for page, path in paths.items()},
            "empty": f"http://{empty.address}/",
            "no-vendor": f"http://other.localhost:{server.port}/",
            "feed": f"http://{server.address}/feed.atom",
        }


PAGES = [
    *["list", "search", "search-nothing", "image", "filter", "tag", "deprecated", "long", "long-tag"],
    *["missing", "empty", "no-vendor"],
]


@pytest.fixture(scope="module")
def browser(short_folder):
    with chromium(short_folder / "chromium") as browser:
        yield browser


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize("page", PAGES)
def test_page(browser, addresses, page, width, dark, request):
    browser.open(addresses[page], SIZES[width], dark)
    if folder := request.config.getoption("pictures"):
        folder.mkdir(parents=True, exist_ok=True)
        browser.picture(folder / f"{page}-{width}{'-dark' if dark else ''}.png")
    # Chromium calls a page with this status a failure of its own.
    expected = [text for text in browser.complaints() if "status of 404" in text]
    assert bool(expected) == (page in ["missing", "no-vendor"])
    headings = browser.value("document.querySelectorAll('h1').length")
    checks = {
        "the browser complains of nothing": browser.complaints() == expected,
        "the page does not scroll sideways": browser.value(
            "document.documentElement.scrollWidth <= innerWidth"
        ),
        "the page has one main heading": headings == 1,
        "the page has a language": browser.value("document.documentElement.lang") == "en",
        "the page has a title": browser.value("document.title") != "",
        "the page has no script": browser.value("document.scripts.length") == 0,
        "every link, button and field has a name": browser.value(WITHOUT_NAME) == 0,
        "every anchor is there once": browser.value(WRONG_ANCHORS) == 0,
        "the text has contrast": browser.value(CONTRAST) >= 4.5,
    }
    failed = [check for check, holds in checks.items() if not holds]
    assert not failed, browser.complaints()


def test_search_and_filter_work_without_a_script(browser, addresses):
    browser.open(addresses["list"], SIZES["desktop"], script=False)
    browser.fill("input[name=q]", "analytics")
    browser.submit()
    assert browser.value("[...document.querySelectorAll('a.name')].map(e => e.textContent).join()") == (
        "analytics/server"
    )
    browser.open(addresses["image"], SIZES["phone"], script=False)
    browser.fill("input[name=filter]", "nightly")
    browser.submit()
    assert (
        browser.value("[...document.querySelectorAll('a.name')].map(e => e.textContent).join()") == "nightly"
    )
    assert browser.complaints() == []


def test_a_digest_can_be_copied_whole(browser, addresses):
    browser.open(addresses["tag"], SIZES["phone"])
    how, text = browser.value(SELECTED).split(" ")
    assert (how, len(text)) == ("all", 71)


def test_the_feed_is_atom(addresses):
    feed = xml.etree.ElementTree.fromstring(read(addresses["feed"]))
    atom = "{http://www.w3.org/2005/Atom}"
    assert feed.tag == f"{atom}feed"
    required = [f"{atom}{name}" for name in ["id", "title", "updated"]]
    entries = feed.findall(f"{atom}entry")
    assert 0 < len(entries) <= 50
    for element in [feed, *entries]:
        assert all(len(element.findall(name)) == 1 for name in required), element
    titles = [entry.findtext(f"{atom}title") for entry in entries]
    assert "analytics/server:2.3.1 is deprecated" in titles
