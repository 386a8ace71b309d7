#!/usr/bin/env python3
"""The pages of `raas serve` in a real browser, Debian's chromium: at the width of a desktop and of a phone, light and dark.
Nothing may be blocked by the page's own policy or written to the console, a phone's page must not scroll sideways, and
with the script every command has its button. The pictures are for people to look at.

usage: browser.py [FOLDER FOR THE PICTURES]
"""
import base64
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

import parts
import services
import trees

WIDTHS = {"desktop": (1280, 900), "phone": (375, 800)}


def install():
    if not shutil.which("chromium"):
        parts.run("apt-get", "update", "-q")
        parts.run("apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium")


class Browser:
    """Chromium, spoken to by its DevTools protocol: a WebSocket with JSON (RFC 6455)."""

    def __init__(self, work):
        self.port = services.free_port()
        self.child = subprocess.Popen(["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                                       f"--remote-debugging-port={self.port}", f"--user-data-dir={work}/profile", "about:blank"],
                                      stderr=subprocess.DEVNULL)
        self.number, self.events = 0, []

    def __enter__(self):
        def page():
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/json/list")
                return next((t["webSocketDebuggerUrl"] for t in json.loads(connection.getresponse().read()) if t["type"] == "page"), None)

        url = parts.wait_for("chromium", page, 60)
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        path = url.split(f":{self.port}", 1)[1]
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        self.file = self.socket.makefile("rb")
        while self.file.readline().strip():
            pass
        for domain in ["Page", "Runtime", "Log"]:
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait(20)

    def call(self, method, **parameters):
        self.number += 1
        text = json.dumps({"id": self.number, "method": method, "params": parameters}).encode()
        length = bytes([0x80 | len(text)]) if len(text) < 126 else bytes([0x80 | 126]) + struct.pack(">H", len(text))
        # A mask of zeros leaves the text as it is.
        self.socket.sendall(b"\x81" + length + bytes(4) + text)
        return self.wait(lambda message: message.get("id") == self.number)

    def wait(self, wanted):
        while True:
            message = json.loads(self.receive())
            self.events.append(message)
            if wanted(message):
                if "error" in message:
                    raise SystemExit(message)
                return message.get("result")

    def receive(self):
        text = b""
        while True:
            first, second = self.file.read(2)
            length = second & 127
            if length >= 126:
                length = int.from_bytes(self.file.read(2 if length == 126 else 8), "big")
            text += self.file.read(length)
            if first & 0x80:
                return text

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return result["result"].get("value")

    def open(self, url, size, dark=False, script=True):
        width, height = size
        self.events.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.call("Page.navigate", url=url)
        self.wait(lambda message: message.get("method") == "Page.loadEventFired")

    def complaints(self):
        """What the browser logged: blocked by the policy, exceptions, missing files. A favicon is none of the page's."""
        found = []
        for event in self.events:
            if event.get("method") == "Log.entryAdded" and "favicon" not in event["params"]["entry"].get("url", ""):
                found.append(event["params"]["entry"]["text"])
            if event.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                found.append(str(event["params"])[:200])
        return found

    def picture(self, file):
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))


# WCAG 2.2, 1.4.3: text has a contrast of 4.5 at least.
CONTRAST = """(() => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 });
                       return .2126 * r + .7152 * g + .0722 * b };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (c !== 'rgba(0, 0, 0, 0)') return c } return 'rgb(255, 255, 255)' };
  let least = 21;
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || ['SCRIPT', 'METER'].includes(e.tagName)) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
    least = Math.min(least, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
  }
  return least })()"""
WITHOUT_NAME = "[...document.querySelectorAll('a, button')].filter(e => !e.textContent.trim()).length"


def main():
    install()
    pictures = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="raas-pictures-"))
    pictures.mkdir(parents=True, exist_ok=True)
    program = parts.build()
    failures = []
    with tempfile.TemporaryDirectory(prefix="raas-browser-") as folder:
        work = pathlib.Path(folder)
        repositories = [trees.typical(n, location="https://cdn.redhat.example.com/rhel9") for n in range(12)]
        repositories.append(trees.Repository("a-team/with-a-name/that-goes-on-and-on/and-does-not-fit/on-a-line-of-any-telephone"))
        repositories[-1].image("2026.11.24-nightly-build.20261124130501-with-a-long-name", "x")
        trees.write(work / "tree", repositories, "0123456789abcdef0123456789abcdef01234567")
        port = services.free_port()
        command = [program, "serve", "bigdatainc", "--listen", f"127.0.0.1:{port}", "--metadata", work / "tree", "--bucket", "https://bigdatainc-images.s3.eu-central-1.amazonaws.com"]
        name = repositories[0].name
        pages = {"list": "/", "image": f"/?image={name}", "tag": f"/?image={name}&tag=multi-0", "long": f"/?image={repositories[-1].name}"}
        with parts.Process(command, work / "log"), Browser(work) as browser:
            parts.wait_for("raas serve", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
            for page, path in pages.items():
                for width, size in WIDTHS.items():
                    for dark in [False, True]:
                        browser.open(f"http://127.0.0.1:{port}{path}", size, dark)
                        what = f"{page}-{width}{'-dark' if dark else ''}"
                        browser.picture(pictures / f"{what}.png")
                        checks = {
                            "nothing is complained of": browser.complaints() == [],
                            "it does not scroll sideways": browser.value("document.documentElement.scrollWidth <= innerWidth"),
                            "it has one main heading": browser.value("document.querySelectorAll('h1').length") == 1,
                            "it has a language and a title": browser.value("document.documentElement.lang === 'en' && document.title !== ''"),
                            "every command has a button": browser.value("[...document.querySelectorAll('.pull')].every(p => p.querySelector('button'))"),
                            "every link and button has a name": browser.value(WITHOUT_NAME) == 0,
                            "its text has contrast": browser.value(CONTRAST) >= 4.5,
                        }
                        failures += [f"{what}: not so: {check}" for check, good in checks.items() if not good]
            # Without the script nothing is missing but the buttons.
            browser.open(f"http://127.0.0.1:{port}{pages['tag']}", WIDTHS["phone"], script=False)
            if browser.complaints():
                failures.append("without script: " + str(browser.complaints()))
    print(f"pictures in {pictures}")
    for failure in failures:
        print("FAILED", failure)
    sys.exit(bool(failures))


main()
