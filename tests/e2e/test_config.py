"""The configuration in a private git repository, and base layers in another registry, with the real tools."""

import base64
import json
import os
import subprocess

import pytest

from harness.archives import layer_on_top
from harness.packages import program as path_of
from harness.process import run, running, wait_for
from harness.samples import FIXTURES, MASKED, masked_layer_on_cdn, oci
from harness.web import Cdn, Quiet, WebServer, status_of

# Runs the last argument, the command for the other side, on this machine.
LIKE_SSH = '#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n'
USER, PASSWORD = "jane", "s3cret"


def git(*words, **options):
    return run("git", "-c", "user.name=Jane Doe", "-c", "user.email=jane@example.com", *words, **options)


class GitOverHttp(WebServer):
    """Git's own server program behind a web server that asks for a password."""

    def __init__(self, folder):
        login = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

        class Handler(Quiet):
            def answer(self):
                if self.headers.get("Authorization") != login:
                    self.reply(401, headers={"WWW-Authenticate": 'Basic realm="config"'})
                    return
                head, content = self.backend()
                headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
                self.reply(int(headers.pop("Status", "200").split()[0]), content, headers)

            def backend(self):
                """What `git http-backend` answers: its head and its content."""
                path, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                environment = {
                    "PATH": os.environ["PATH"],
                    "GIT_PROJECT_ROOT": str(folder),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "REQUEST_METHOD": self.command,
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "REMOTE_USER": USER,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "CONTENT_LENGTH": str(len(body)),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                }
                command = [path_of("git"), "http-backend"]
                done = subprocess.run(command, input=body, env=environment, capture_output=True, timeout=60)
                head, _, content = done.stdout.partition(b"\r\n\r\n")
                return head, content

            do_GET = do_POST = answer

        super().__init__(Handler)
        self.url = f"http://{USER}:{PASSWORD}@{self.address}"


class ConfigurationRepository:
    """A bare repository, as a service hosts it, and a clone to change it."""

    def __init__(self, folder):
        self.bare, self.work = folder / "config.git", folder / "work"
        git("init", "--quiet", "--bare", "--initial-branch=main", self.bare)
        git("--git-dir", self.bare, "config", "http.receivepack", "true")
        git("clone", "--quiet", self.bare, self.work)
        (self.work / "raas.cfg").write_text("# ours\n")
        git("-C", self.work, "add", ".")
        git("-C", self.work, "commit", "--quiet", "-m", "Begin")
        git("-C", self.work, "push", "--quiet", "origin", "HEAD:main")

    def prepend(self, text):
        """Writes a text at the start of raas.cfg, as a colleague does."""
        git("-C", self.work, "pull", "--quiet", "--rebase", "origin", "main")
        (self.work / "raas.cfg").write_text(text + (self.work / "raas.cfg").read_text())
        git("-C", self.work, "commit", "--quiet", "-am", "Configure")
        git("-C", self.work, "push", "--quiet", "origin", "HEAD:main")

    def files(self):
        """Every file on the main branch with its text."""
        names = git("--git-dir", self.bare, "ls-tree", "-r", "--name-only", "main").split()
        return {name: git("--git-dir", self.bare, "show", f"main:{name}") for name in names}


@pytest.fixture
def repository(tmp_path):
    return ConfigurationRepository(tmp_path)


@pytest.fixture(params=["file", "ssh", "http"])
def environment(request, repository, tmp_path):
    """The variables with which raas reaches the configuration repository."""
    script = tmp_path / "ssh"
    script.write_text(LIKE_SSH)
    script.chmod(0o755)
    with GitOverHttp(tmp_path) as web:
        address = {
            "file": f"file://{repository.bare}",
            "ssh": f"git@config.example.com:{repository.bare}",
            "http": f"{web.url}/config.git",
        }[request.param]
        yield {
            **os.environ,
            "RAAS_CONF_REPO": address,
            "GIT_SSH_COMMAND": str(script),
            "GIT_COMMITTER_NAME": "Jane Doe",
            "GIT_COMMITTER_EMAIL": "jane@example.com",
        }


def test_configuration_in_a_git_repository(raas, repository, environment, clients, all_samples, tmp_path):
    """Set up, configure, push, look, push again, roll back, take out."""
    sample = all_samples["pulp2"]
    options = {"env": environment, "cwd": tmp_path}
    masked_layer_on_cdn(tmp_path / "cdn")
    with Cdn(tmp_path / "cdn") as cdn, raas.serve(tmp_path / "serve.log") as server:
        raas("setup", "bigdatainc", "--oodomain", "bigdatainc", **options)
        assert repository.files()["raas.cfg"] == "# ours\n\n[bigdatainc]\nopenshift_domain = bigdatainc\n"
        repository.prepend(f"[redhat]\nmask_layers = {MASKED}\nlayer_url = {cdn.url}/rhel7\n")
        report = raas.json("push", "bigdatainc", "bigdata-app", *sample.push, **options)
        assert report["backed_up"], report
        assert [masked["digest"] for masked in report["masked_layers"]] == [MASKED], report
        clients.pull(server.address, "bigdata-app", sample.tags)
        kept = repository.files()
        log = next(text for path, text in kept.items() if path.startswith("bigdatainc/logs/"))
        assert "Jane Doe <jane@example.com>: Publish bigdata-app: latest" in log
        assert report["commit"] in log
        documents = {f"bigdatainc/metadata/bigdata-app{end}.json" for end in ["", "+_v1"]}
        assert documents <= set(kept), list(kept)

        raas("push", "bigdatainc", "bigdata-app", "--from", FIXTURES / "docker-save.tar", **options)
        raas("rollback", "bigdatainc", "bigdata-app", "--to", report["commit"], **options)
        clients.pull(server.address, "bigdata-app", sample.tags)
        log = raas.json("log", "bigdatainc", "bigdata-app", **options)["publications"]
        assert [entry["what"].split()[0] for entry in log] == ["Roll", "Publish", "Publish"], log
        listing = raas.json("list", "bigdatainc", **options)["vendors"][0]["repositories"]
        assert [tag["tag"] for tag in listing[0]["tags"]] == list(sample.tags), listing
        assert raas.json("status", "bigdatainc", "--federation", **options)["healthy"]
        raas("unpublish", "bigdatainc", "bigdata-app", **options)
        assert status_of(f"http://{server.address}/v2/bigdata-app/tags/list")[0] == 404
        assert not [path for path in repository.files() if path.startswith("bigdatainc/metadata/")]
        assert list((raas.home / "_config").iterdir()) == []


@pytest.fixture
def other_registry(tmp_path):
    """Debian's docker-registry, with everything in a folder."""
    folder = tmp_path / "registry"
    folder.mkdir()
    config, log = folder / "config.yml", folder / "registry.log"
    settings = {
        "version": 0.1,
        "log": {"level": "info", "formatter": "json"},
        "http": {"addr": "127.0.0.1:0"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
    }
    config.write_text(json.dumps(settings))
    # A bundle of certificates that is set for other programs stops this one.
    environment = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}

    def address():
        lines = [
            json.loads(line).get("msg", "") for line in log.read_text().splitlines() if line.startswith("{")
        ]
        return next((line.split()[-1] for line in lines if line.startswith("listening on ")), None)

    with running(["docker-registry", "serve", config], log, environment) as registry:
        registry.address = wait_for("docker-registry", address, process=registry)
        yield registry


def test_base_layers_in_another_registry(raas, other_registry, clients, tmp_path):
    """The layers of the base stay in the other registry; when that is gone, status says so."""
    base, app = FIXTURES / "oci-multi", tmp_path / "app"
    (tag,) = oci(base)
    own, base_layers = layer_on_top(base, app, "1.0")
    reference = f"{other_registry.address}/operator/base:{tag}"
    copy = ["skopeo", "copy", "-q", "--all", "--insecure-policy", "--dest-tls-verify=false"]
    run(*copy, f"oci:{base}:{tag}", f"docker://{reference}")
    config = tmp_path / "based.cfg"
    config.write_text(f"[redhat]\nmask_images = docker://{reference}\n")
    with raas.serve(tmp_path / "serve.log") as server:
        report = raas.json("--config", config, "push", "acme", "app", "--from", app)
        masked = {layer["digest"]: layer["location"] for layer in report["masked_layers"]}
        assert set(masked) == base_layers
        blobs = f"{other_registry.address}/v2/operator/base/blobs/"
        assert all(blobs in location for location in masked.values()), masked
        stored = {path.name for path in (raas.home / "acme" / "bucket").rglob("sha256:*")}
        assert own in stored
        assert not stored & base_layers
        clients.pull(server.address, "app", oci(app))
        assert raas.json("status", "acme", "--federation")["healthy"]
    other_registry.stop()
    broken = raas.result("status", "acme", "--federation")
    assert broken.returncode == 1, broken
    assert f"{len(base_layers)} of {len(base_layers)} layers are not" in broken.stdout, broken
