#!/usr/bin/env python3
"""The brief's transcript with the real tools: the configuration in a private git repository, over file, over http with
a password and over something like ssh; the masked layer from a second web server; and an image whose base layers stay in another registry,
Debian's docker-registry. Pulled with docker, podman and skopeo. Installs what it needs from Debian; needs root.

usage: config.py
"""
import base64
import gzip
import hashlib
import http.server
import io
import json
import os
import pathlib
import socket
import subprocess
import tarfile
import tempfile
import threading
import urllib.error
import urllib.request

import parts
import sources
from run import MASKED, compare, pull_everywhere

LIKE_SSH = "#!/bin/sh\nfor last; do :; done\nexec sh -c \"$last\"\n"


def git(*words, **options):
    return parts.run("git", "-c", "user.name=Jane Doe", "-c", "user.email=jane@example.com", *words, **options)


class GitOverHttp:
    """Git's own server program behind a web server that asks for a password."""

    def __init__(self, folder):
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self):
                if self.headers.get("Authorization") != "Basic " + base64.b64encode(b"jane:s3cret").decode():
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="config"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                path, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                environment = {
                    "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(folder), "GIT_HTTP_EXPORT_ALL": "1",
                    "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query, "REMOTE_USER": "jane",
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
                said = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True).stdout
                head, _, content = said.partition(b"\r\n\r\n")
                headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
                self.send_response(int(headers.pop("Status", "200").split()[0]))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.address = "http://jane:s3cret@127.0.0.1:%d" % server.server_address[1]


class ConfigurationRepository:
    """A bare repository, as a service hosts it, and a way to it."""

    def __init__(self, folder, way):
        self.bare = folder / "config.git"
        git("init", "--quiet", "--bare", "--initial-branch=main", self.bare)
        work = folder / "work"
        git("clone", "--quiet", self.bare, work)
        (work / "raas.cfg").write_text("# ours\n")
        git("-C", work, "add", ".")
        git("-C", work, "commit", "--quiet", "-m", "Begin")
        git("-C", work, "push", "--quiet", "origin", "HEAD:main")
        script = folder / "ssh"
        script.write_text(LIKE_SSH)
        script.chmod(0o755)
        git("--git-dir", self.bare, "config", "http.receivepack", "true")
        address = {"file": f"file://{self.bare}", "ssh": f"git@config.example.com:{self.bare}",
                   "http": GitOverHttp(folder).address + "/config.git"}[way]
        self.environment = {**os.environ, "RAAS_CONF_REPO": address, "GIT_SSH_COMMAND": str(script),
                            "GIT_COMMITTER_NAME": "Jane Doe", "GIT_COMMITTER_EMAIL": "jane@example.com"}
        self.work = work

    def set(self, text):
        git("-C", self.work, "pull", "--quiet", "--rebase", "origin", "main")
        (self.work / "raas.cfg").write_text(text + (self.work / "raas.cfg").read_text())
        git("-C", self.work, "commit", "--quiet", "-am", "Configure")
        git("-C", self.work, "push", "--quiet", "origin", "HEAD:main")

    def files(self):
        listing = parts.run("git", "--git-dir", self.bare, "ls-tree", "-r", "--name-only", "main").split()
        return {path: parts.run("git", "--git-dir", self.bare, "show", f"main:{path}") for path in listing}


def transcript(program, work, clients, skopeo, way):
    """Set up, configure, push, look, push again, roll back, take out."""
    work = work / way
    work.mkdir()
    cdn_folder = work / "cdn"
    with tarfile.open(sources.FIXTURES / "bigdata-app.tar") as tar:
        for member in tar:
            if MASKED in member.name:
                target = cdn_folder / "rhel7" / member.name.removeprefix("web/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(tar.extractfile(member).read())
    tags = sources.pulp2(sources.FIXTURES / "bigdata-app.tar")
    repository = ConfigurationRepository(work, way)
    raas = parts.Raas(program, work / "home")
    call = lambda *words: raas(*words, env=repository.environment, cwd=work)
    with parts.Cdn(cdn_folder) as cdn, raas.serve(work / "serve.log") as server:
        call("setup", "bigdatainc", "--oodomain", "bigdatainc")
        assert repository.files()["raas.cfg"] == "# ours\n\n[bigdatainc]\nopenshift_domain = bigdatainc\n"
        repository.set(f"[redhat]\nmask_layers = {MASKED}\nlayer_url = {cdn.url}/rhel7\n")
        report = json.loads(call("push", "bigdatainc", "bigdata-app", "--from", sources.FIXTURES / "bigdata-app.tar", "--json"))
        assert report["backed_up"] and [masked["layer"] for masked in report["masked"]] == [MASKED], report
        pulls = pull_everywhere(clients, skopeo, server.address, "bigdata-app", tags)
        kept = repository.files()
        log = next(text for path, text in kept.items() if path.startswith("bigdatainc/logs/"))
        assert "Jane Doe <jane@example.com>: Publish bigdata-app: latest" in log and report["commit"] in log, log
        assert {"bigdatainc/metadata/bigdata-app.json", "bigdatainc/metadata/bigdata-app+_v1.json"} <= set(kept), list(kept)

        call("push", "bigdatainc", "bigdata-app", "--from", sources.FIXTURES / "docker-save.tar")
        call("rollback", "bigdatainc", "bigdata-app", "--to", report["commit"])
        pulls += pull_everywhere(clients, skopeo, server.address, "bigdata-app", tags)
        log = json.loads(call("log", "bigdatainc", "bigdata-app", "--json"))
        assert [entry["what"].split()[0] for entry in log] == ["Roll", "Publish", "Publish"], log
        listing = json.loads(call("list", "bigdatainc", "--json"))["vendors"][0]["repositories"]
        assert [tag["tag"] for tag in listing[0]["tags"]] == list(tags), listing
        assert json.loads(call("status", "bigdatainc", "--federation", "--json"))["healthy"]
        call("unpublish", "bigdatainc", "bigdata-app")
        try:
            urllib.request.urlopen(f"http://{server.address}/v2/bigdata-app/tags/list")
            raise SystemExit("bigdata-app is still served")
        except urllib.error.HTTPError as error:
            assert error.code == 404
        assert not any(path.startswith("bigdatainc/metadata/") for path in repository.files())
        assert not list((work / "home" / "_config").iterdir())
    print(f"ok    transcript with the configuration over {way}: {pulls} pulls", flush=True)


class DockerRegistry(parts.Process):
    """Debian's docker-registry, with everything in a folder."""

    def __init__(self, folder):
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % free.getsockname()[1]
        config = folder / "config.yml"
        config.write_text(json.dumps({
            "version": 0.1, "log": {"level": "warn"}, "http": {"addr": self.address},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}}}))
        super().__init__(["docker-registry", "serve", config], folder / "log")
        parts.wait_for("docker-registry", self.answers)

    def answers(self):
        try:
            return urllib.request.urlopen(f"http://{self.address}/v2/").status == 200
        except OSError:
            return False


def on_top_of(base, target):
    """An OCI image layout of one image per platform: the base's layers and one more. Gives that one, and the base's."""
    blobs = target / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    read = lambda digest: (base / "blobs" / digest.replace(":", "/")).read_bytes()
    root = json.loads((base / "index.json").read_text())["manifests"][0]
    children, own, base_layers = [], None, set()
    for child in json.loads(read(root["digest"]))["manifests"]:
        manifest = json.loads(read(child["digest"]))
        config = json.loads(read(manifest["config"]["digest"]))
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo("opt/app")
            member.size = 4
            tar.addfile(member, io.BytesIO(b"app\n"))
        plain = buffer.getvalue()
        own = blob(gzip.compress(plain, mtime=0))
        for layer in manifest["layers"]:
            base_layers.add(blob(read(layer["digest"]))["digest"])
        manifest["layers"].append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **own})
        config["rootfs"]["diff_ids"].append("sha256:" + hashlib.sha256(plain).hexdigest())
        config.pop("history", None)
        manifest["config"].update(blob(json.dumps(config).encode()))
        child.update(blob(json.dumps(manifest).encode()))
        children.append(child)
    index = blob(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                             "manifests": children}).encode())
    (target / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.index.v1+json", **index,
        "annotations": {"org.opencontainers.image.ref.name": "1.0"}}]}))
    (target / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return own["digest"], base_layers


def base_in_another_registry(program, work, clients, skopeo):
    base, app = sources.FIXTURES / "oci-multi", work / "app"
    (tag,) = sources.oci(base)
    own, base_layers = on_top_of(base, app)
    raas = parts.Raas(program, work / "based")
    with DockerRegistry(work / "registry") as registry, raas.serve(work / "based.log") as server:
        reference = f"{registry.address}/operator/base:{tag}"
        parts.run("skopeo", "copy", "-q", "--all", "--insecure-policy", "--dest-tls-verify=false", f"oci:{base}:{tag}",
                  f"docker://{reference}")
        config = work / "based.cfg"
        config.write_text(f"[redhat]\nmask_images = docker://{reference}\n")
        report = json.loads(raas("--config", config, "push", "acme", "app", "--from", app, "--json"))
        assert report["masked"] and all(f"{registry.address}/v2/operator/base/blobs/" in masked["location"]
                                        for masked in report["masked"]), report
        stored = {path.name for path in (work / "based/acme/bucket").rglob("sha256:*")}
        assert own in stored and not stored & {masked["layer"] for masked in report["masked"]}, stored
        pulls = pull_everywhere(clients, skopeo, server.address, "app", sources.oci(app))
        assert json.loads(raas("status", "acme", "--federation", "--json"))["healthy"]
        compare("masked layers", {masked["layer"] for masked in report["masked"]}, base_layers)
    broken = subprocess.run([str(program), "--home", str(work / "based"), "status", "acme", "--federation"],
                            capture_output=True, text=True)
    assert broken.returncode == 1 and f"{len(base_layers)} of {len(base_layers)} layers are not" in broken.stdout, broken
    print(f"ok    base layers in another registry: {len(report['masked'])} masked, {pulls} pulls", flush=True)


def main():
    parts.PACKAGES["docker-registry"] = "docker-registry"
    parts.install()
    program = parts.build()
    with tempfile.TemporaryDirectory(prefix="raas-e2e-") as folder:
        work = pathlib.Path(folder)
        with parts.clients(work) as (clients, skopeo):
            for way in ["file", "ssh", "http"]:
                transcript(program, work, clients, skopeo, way)
            base_in_another_registry(program, work, clients, skopeo)
    print("all passed")


if __name__ == "__main__":
    main()
