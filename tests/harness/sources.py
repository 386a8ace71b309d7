"""A registry as companies run them: docker-registry with passwords, behind nginx with a private authority,
with a bad line between the two."""

import contextlib
import http.client
import json
import random
import re
import ssl
import threading

from harness.archives import OciLayout, image_config, sha256, tar_of
from harness.certificates import Authority
from harness.process import free_port, listens, run, running
from harness.web import Quiet, WebServer, answers

USER, PASSWORD = "puller", "s3cret"
PIECE = 1 << 16


class BadLine(WebServer):
    """Passes requests on to a server, and does to answers about blobs what a test says."""

    def __init__(self, port):
        # What happens to blobs: `cut` after so many bytes (once for each blob), `silence` in seconds,
        # `corrupt` for large ones, `redirect` to a URL.
        self.cut, self.silence, self.corrupt, self.redirect = None, 0, False, None
        self.were_cut, self.ranges, self.lock = set(), [], threading.Lock()
        line = self

        class Handler(Quiet):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                try:
                    server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    # A header may stand there several times.
                    for name, value in self.headers.items():
                        server.putheader(name, value)
                    server.endheaders()
                    answer = server.getresponse()
                    is_blob = self.command == "GET" and re.search(r"/blobs/sha256:", self.path)
                    if is_blob and line.redirect:
                        self.reply(307, headers={"Location": line.redirect})
                        return
                    self.pass_on(answer, bool(is_blob) and answer.status in (200, 206))
                finally:
                    server.close()

            do_HEAD = do_GET

            def pass_on(self, answer, is_blob):
                self.send_response_only(answer.status, answer.reason)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding"):
                        self.send_header(name, value)
                self.end_headers()
                if self.command == "HEAD":
                    return
                left = line.bytes_before_cut(self.path, self.headers.get("Range")) if is_blob else None
                if is_blob and line.silence:
                    threading.Event().wait(line.silence)
                while piece := answer.read(PIECE if left is None else min(PIECE, left) or 1):
                    if is_blob and line.corrupt and int(answer.headers["Content-Length"]) > PIECE:
                        piece = bytes([piece[0] ^ 1]) + piece[1:]
                    if left is not None:
                        if left == 0:
                            self.close_connection = True
                            self.connection.shutdown(2)
                            return
                        left -= len(piece)
                    self.wfile.write(piece)

        super().__init__(Handler)

    def bytes_before_cut(self, path, wanted):
        """How many bytes of a blob pass; None for all."""
        with self.lock:
            if wanted:
                self.ranges.append(wanted)
            if self.cut is None or path in self.were_cut:
                return None
            self.were_cut.add(path)
            return self.cut


class CompanyRegistry:
    """The address of nginx, the registry behind it, the line between, and the files that a client needs."""

    def __init__(self, folder, port, inner, line, authority):
        self.folder, self.host, self.inner, self.line = folder, f"127.0.0.1:{port}", inner, line
        self.certificates = folder / "home" / ".config" / "containers" / "certs.d" / self.host
        self.certificates.mkdir(parents=True)
        self.authority = authority
        (self.certificates / "ca.crt").write_bytes(authority.certificate.read_bytes())
        self.logins = folder / "auth.json"

    def login(self):
        """Writes the file of logins, as `podman login` does."""
        login = ["-u", USER, "-p", PASSWORD, "--cert-dir", self.certificates]
        run("skopeo", "login", "--authfile", self.logins, *login, self.host)

    def environment(self, base):
        """The variables of a client of this registry."""
        return base | {"HOME": str(self.folder / "home"), "REGISTRY_AUTH_FILE": str(self.logins)}

    def push(self, source, name):
        """Stores an image, past nginx and the line. The name has a tag."""
        options = ["-q", "--all", "--insecure-policy", "--dest-tls-verify=false"]
        login = f"--dest-creds={USER}:{PASSWORD}"
        run("skopeo", "copy", *options, login, source, f"docker://127.0.0.1:{self.inner}/{name}")


def make_image(folder, layers, size):
    """An OCI layout with an image of so many layers of so many bytes."""
    layout = OciLayout(folder)
    plain = [tar_of({"noise": random.Random(n).randbytes(size)}) for n in range(layers)]
    config = layout.blob(image_config([sha256(layer) for layer in plain]), "config.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layout.blob(layer, "layer.v1.tar") for layer in plain],
    }
    layout.finish(layout.blob(json.dumps(manifest).encode(), "manifest.v1+json"), "1.0")
    return folder


@contextlib.contextmanager
def company_registry(folder):
    """docker-registry with passwords, behind a bad line and nginx with TLS, until the end of the `with`."""
    folder.mkdir(exist_ok=True)
    inner, port = free_port(), free_port()
    passwords = folder / "htpasswd"
    passwords.write_text(run("htpasswd", "-Bbn", USER, PASSWORD))
    authority = Authority(folder, "authority")
    certificate, key = authority.issue("registry", "subjectAltName=IP:127.0.0.1\n")
    settings = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{inner}"},
        "auth": {"htpasswd": {"realm": "company", "path": str(passwords)}},
    }
    (folder / "registry.yml").write_text(json.dumps(settings))
    (folder / "nginx.conf").write_text(nginx_settings(folder, port, certificate, key))
    registry = ["docker-registry", "serve", folder / "registry.yml"]
    with (
        running(registry, folder / "registry.log", ready=lambda: answers(f"http://127.0.0.1:{inner}/v2/")),
        BadLine(inner) as line,
    ):
        config = folder / "nginx.conf"
        config.write_text(config.read_text().replace("LINE", line.address))
        command = ["nginx", "-e", "stderr", "-c", config]
        with running(command, folder / "nginx.log", ready=lambda: listens(port)):
            yield CompanyRegistry(folder, port, inner, line, authority)


@contextlib.contextmanager
def registry_on_folder(folder):
    """docker-registry on a folder, with `port`."""
    folder.mkdir(parents=True)
    port, config = free_port(), folder / "registry.yml"
    settings = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    config.write_text(json.dumps(settings))
    url = f"http://127.0.0.1:{port}/v2/"
    command = ["docker-registry", "serve", config]
    with running(command, folder / "registry.log", ready=lambda: answers(url)) as registry:
        registry.port = port
        yield registry


@contextlib.contextmanager
def tls_server(certificate, key, client_authority=None):
    """A server with TLS that has nothing, until the end of the `with`. It may want a client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if client_authority:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_authority)

    class Empty(Quiet):
        def do_GET(self):
            self.reply(404)

        do_HEAD = do_GET

    server = WebServer(Empty)
    server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
    with server:
        yield server


def nginx_settings(folder, port, certificate, key):
    return f"""
daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    location / {{
      proxy_pass http://LINE;
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto https;
    }}
  }}
}}
"""
