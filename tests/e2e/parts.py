"""The real programs that the end-to-end tests run: raas, docker, podman, skopeo."""
import contextlib
import functools
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import threading
import time

from sources import plain_digest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = {"skopeo": "skopeo", "podman": "podman", "dockerd": "docker.io", "crun": "crun", "zstd": "zstd",
            "iptables": "iptables"}


def install():
    missing = [package for program, package in PACKAGES.items() if not shutil.which(program)]
    if missing:
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing], check=True)


def build():
    """The program that is tested: a release build, or the one that RAAS_PROGRAM names."""
    if "RAAS_PROGRAM" in os.environ:
        return pathlib.Path(os.environ["RAAS_PROGRAM"])
    subprocess.run(["cargo", "build", "--release", "--package", "raas"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "raas"


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_for(what, condition, seconds=30, pause=0.05):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(pause)
    raise SystemExit(f"{what}: not within {seconds} s")


class Process:
    """A program that runs until the end of the `with`."""

    def __init__(self, command, log, env=None):
        self.log = open(log, "wb")
        self.child = subprocess.Popen([str(word) for word in command], stdout=self.log, stderr=subprocess.STDOUT, env=env)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.close()


class Raas:
    def __init__(self, program, home):
        self.program, self.home = program, home

    def __call__(self, *arguments, **options):
        return run(self.program, "--home", self.home, *arguments, **options)

    def serve(self, log, *arguments):
        server = Process([self.program, "--home", self.home, "serve", "--listen", "127.0.0.1:0", *arguments], log)
        note = wait_for("raas serve", lambda: list((self.home / "_servers").glob(f"{server.child.pid}-*.json")))
        server.address = json.loads(note[0].read_text())["address"]
        return server


class Docker:
    """A daemon of its own."""

    name = "docker"

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        f = self.folder
        self.daemon = Process(
            ["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs",
             "--data-root", f / "data", "--exec-root", f / "exec", "--pidfile", f / "pid", "--host", f"unix://{f}/d.sock"],
            f / "log")
        self.daemon.__enter__()
        wait_for("dockerd", lambda: subprocess.run(self.command("version"), capture_output=True).returncode == 0, 60)
        return self

    def __exit__(self, *_):
        self.daemon.__exit__()

    def command(self, *words):
        return ["docker", "--config", self.folder / "config", "-H", f"unix://{self.folder}/d.sock", *words]

    def pull(self, reference, platform):
        run(*self.command("pull", "-q", "--platform", platform, reference))
        told = json.loads(run(*self.command("image", "inspect", reference)))[0]["RootFS"]["Layers"]
        saved = self.folder / "saved.tar"
        run(*self.command("save", "-o", saved, reference))
        layers = saved_layers(saved)
        run(*self.command("rmi", "-f", reference))
        assert told == layers, (told, layers)
        return layers


class Podman:
    name = "podman"

    def __init__(self, folder, options=("--tls-verify=false",)):
        self.folder, self.options = folder, options

    def command(self, *words):
        return ["podman", "--root", self.folder / "r", "--runroot", self.folder / "rr", "--storage-driver=vfs", *words]

    def pull(self, reference, platform):
        run(*self.command("pull", "-q", *self.options, "--platform", platform, reference))
        told = json.loads(run(*self.command("image", "inspect", reference)))[0]["RootFS"]["Layers"]
        saved = self.folder / "saved.tar"
        saved.unlink(missing_ok=True)
        run(*self.command("save", "-q", "-o", saved, reference))
        layers = saved_layers(saved)
        run(*self.command("rmi", "-f", reference))
        assert told == layers, (told, layers)
        return layers


def saved_layers(archive):
    """The digests of the plain layers of a `docker save` archive."""
    with tarfile.open(archive) as tar:
        read = lambda name: tar.extractfile(name).read()
        (entry,) = json.loads(read("manifest.json"))
        return [plain_digest(read(name)) for name in entry["Layers"]]


class Skopeo:
    """Copies every platform at once."""

    def __init__(self, folder, options=("--src-tls-verify=false",)):
        self.folder, self.options = folder, options

    def pull_all(self, reference):
        shutil.rmtree(self.folder, ignore_errors=True)
        run("skopeo", "copy", "-q", "--all", "--insecure-policy", *self.options, f"docker://{reference}", f"dir:{self.folder}")
        manifests = [self.folder / "manifest.json", *self.folder.glob("*.manifest.json")]
        found = {}
        for path in manifests:
            manifest = json.loads(path.read_text())
            if "layers" not in manifest:
                continue
            blob = lambda digest: (self.folder / digest.split(":")[1]).read_bytes()
            config = json.loads(blob(manifest["config"]["digest"]))
            for layer in [manifest["config"], *manifest["layers"]]:
                assert "sha256:" + hashlib.sha256(blob(layer["digest"])).hexdigest() == layer["digest"], layer
            found[f"{config['os']}/{config['architecture']}"] = [plain_digest(blob(l["digest"])) for l in manifest["layers"]]
        return found


@contextlib.contextmanager
def clients(work):
    """The clients that pull one platform at a time, and skopeo, which copies all."""
    for name in ["docker", "podman"]:
        (work / name).mkdir()
    with Docker(work / "docker") as docker:
        yield [docker, Podman(work / "podman")], Skopeo(work / "skopeo")


class WebServer:
    """A web server of the script's own, until the end of the `with`."""

    def __init__(self, handler):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()


class Cdn(WebServer):
    """A plain web server over a folder, which counts what is asked for."""

    def __init__(self, folder):
        asked = self.asked = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                asked.append(self.path)
                super().do_GET()

        super().__init__(functools.partial(Handler, directory=str(folder)))
