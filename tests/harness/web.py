"""Web servers inside the test's own process, and small requests."""

import functools
import http.client
import http.server
import ssl
import threading
import urllib.error
import urllib.request


class WebServer:
    """A web server on a free port of loopback until the end of the `with`."""

    def __init__(self, handler):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.address = "127.0.0.1:%d" % self.server.server_address[1]
        self.url = f"http://{self.address}"

    def use_tls(self, certificate, key):
        """Answers https alone, from before the `with`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://{self.address}"
        return self

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Quiet(http.server.BaseHTTPRequestHandler):
    """A handler without a log."""

    def log_message(self, *_):
        pass

    def reply(self, status, content=b"", headers=()):
        """Sends a whole answer."""
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Cdn(WebServer):
    """A web server over a folder. `allows` decides about each path; `asked` and `refused` hold the paths."""

    def __init__(self, folder, allows=None):
        asked, refused = self.asked, self.refused = [], []
        cdn = self

        class Handler(Quiet, http.server.SimpleHTTPRequestHandler):
            def do_GET(self):
                if allows and not allows(cdn.url, self.path):
                    refused.append(self.path)
                    self.send_error(403)
                else:
                    asked.append(self.path)
                    super().do_GET()

        super().__init__(functools.partial(Handler, directory=str(folder)))


def status_of(url, headers=(), timeout=10):
    """The status and the headers of a GET; None if nobody answers."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=dict(headers)), timeout=timeout
        ) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers
    except (OSError, http.client.HTTPException):
        return None, {}


def answers(url):
    """Whether anything is answered."""
    return status_of(url, timeout=2)[0] is not None


def read(url, timeout=30):
    """The content of a page."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read()
