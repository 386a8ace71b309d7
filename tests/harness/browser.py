"""Chromium, spoken to by its DevTools protocol: a WebSocket with JSON (RFC 6455)."""

import base64
import contextlib
import http.client
import json
import os
import socket
import struct

from harness.process import running, wait_for


@contextlib.contextmanager
def chromium(folder):
    """A browser with an empty profile until the end of the `with`. The path must be short, for its socket."""
    folder.mkdir()
    profile, environment = folder / "profile", os.environ | {"TMPDIR": str(folder)}
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--disable-dev-shm-usage",
    ]
    command = ["chromium", *options, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    with running(command, folder / "chromium.log", environment) as process:
        ports = profile / "DevToolsActivePort"
        # The file has two lines: the port, and the path of the browser's own WebSocket.
        wait_for("chromium", lambda: ports.exists() and ports.read_text().count("\n"), 60, process=process)
        port = int(ports.read_text().split()[0])
        url = wait_for("a page of chromium", lambda: page_url(port), 60, process=process)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as stream:
            yield Browser(stream, port, url)


def page_url(port):
    """The WebSocket of the first page."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", "/json/list")
            pages = json.loads(connection.getresponse().read())
        return next((page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"), None)
    return None


class Browser:
    """One page of a browser."""

    def __init__(self, stream, port, url):
        self.number, self.events = 0, []
        self.socket, self.file = stream, stream.makefile("rb")
        path = url.split(f":{port}", 1)[1]
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while self.file.readline().strip():
            pass
        for domain in ["Page", "Runtime", "Log"]:
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """Calls a method of the protocol, and returns its result."""
        self.number += 1
        text = json.dumps({"id": self.number, "method": method, "params": parameters}).encode()
        short = len(text) < 126
        length = bytes([0x80 | len(text)]) if short else bytes([0x80 | 126]) + struct.pack(">H", len(text))
        # A mask of zeros leaves the text as it is.
        self.socket.sendall(b"\x81" + length + bytes(4) + text)
        return self.wait(lambda message: message.get("id") == self.number)

    def wait(self, wanted):
        """Reads messages until a wanted one comes; returns its result."""
        while True:
            message = json.loads(self.receive())
            self.events.append(message)
            if wanted(message):
                assert "error" not in message, message
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
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return result["result"].get("value")

    def open(self, url, size, dark=False, script=True):
        """Opens a page at a size, and waits until it is loaded."""
        width, height = size
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.call("Page.navigate", url=url)
        self.wait(lambda message: message.get("method") == "Page.loadEventFired")

    def fill(self, selector, text):
        """Types a text into a field. It works without scripts, as all that the protocol itself does."""
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.call("DOM.focus", nodeId=node)
        self.call("Input.insertText", text=text)

    def submit(self):
        """Sends the form of the focused field with the enter key, and waits for the next page."""
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        self.call("Input.dispatchKeyEvent", type="keyDown", **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)
        self.wait(lambda message: message.get("method") == "Page.loadEventFired")

    def complaints(self):
        """What the browser logged: blocked content, exceptions, missing files; not a missing favicon."""
        found = []
        for event in self.events:
            if event.get("method") == "Log.entryAdded" and "favicon" not in event["params"]["entry"].get(
                "url", ""
            ):
                found.append(event["params"]["entry"]["text"])
            if event.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                found.append(str(event["params"])[:200])
        return found

    def picture(self, file):
        """Saves a picture of the whole page."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))
