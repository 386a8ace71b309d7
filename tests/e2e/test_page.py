"""The pages of `raas serve` in a real browser: as wide as a desktop and as a phone, light and dark.

`--pictures FOLDER` keeps pictures of them for people to look at.
"""

import pytest

from harness import metadata
from harness.browser import chromium
from harness.process import listens, wait_for
from harness.raas import stateless_server

SIZES = {"desktop": (1280, 900), "phone": (375, 800)}
PAGES = ["list", "image", "tag", "long"]
BUCKET = "https://bigdatainc-images.s3.eu-central-1.amazonaws.com"
LONG_NAME = "a-team/with-a-name/that-goes-on-and-on/and-does-not-fit/on-a-line-of-any-telephone"
LONG_TAG = "2026.11.24-nightly-build.20261124130501-with-a-long-name"

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
WITHOUT_NAME = "[...document.querySelectorAll('a, button')].filter(e => !e.textContent.trim()).length"
WITHOUT_BUTTON = "[...document.querySelectorAll('.pull')].filter(p => !p.querySelector('button')).length"


@pytest.fixture(scope="module")
def addresses(program, tmp_path_factory):
    """The address of each page on a running server."""
    work = tmp_path_factory.mktemp("page")
    cdn = "https://cdn.redhat.example.com/rhel9"
    repositories = [metadata.typical(n, location=cdn) for n in range(12)]
    repositories.append(metadata.Repository(LONG_NAME))
    repositories[-1].image(LONG_TAG, "x")
    metadata.write(work / "tree", repositories, "0123456789abcdef0123456789abcdef01234567")
    name = repositories[0].name
    arguments = ["bigdatainc", "--metadata", work / "tree", "--bucket", BUCKET]
    with stateless_server(program, work / "serve.log", *arguments) as server:
        wait_for("raas serve", lambda: listens(server.port), process=server)
        paths = ["/", f"/?image={name}", f"/?image={name}&tag=multi-0", f"/?image={LONG_NAME}"]
        yield dict(zip(PAGES, [f"http://{server.address}{path}" for path in paths], strict=True))


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
    headings = browser.value("document.querySelectorAll('h1').length")
    checks = {
        "the browser complains of nothing": browser.complaints() == [],
        "the page does not scroll sideways": browser.value(
            "document.documentElement.scrollWidth <= innerWidth"
        ),
        "the page has one main heading": headings == 1,
        "the page has a language": browser.value("document.documentElement.lang") == "en",
        "the page has a title": browser.value("document.title") != "",
        "every command has a button": browser.value(WITHOUT_BUTTON) == 0,
        "every link and button has a name": browser.value(WITHOUT_NAME) == 0,
        "the text has contrast": browser.value(CONTRAST) >= 4.5,
    }
    failed = [check for check, holds in checks.items() if not holds]
    assert not failed, browser.complaints()


def test_page_without_its_script(browser, addresses):
    browser.open(addresses["tag"], SIZES["phone"], script=False)
    assert browser.complaints() == []
