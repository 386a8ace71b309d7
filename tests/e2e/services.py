"""Real S3 services: Garage, a production server, and moto, which has bucket policies and public access blocks."""
import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import parts

GARAGE_VERSION = "2.5.0"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def garage_program():
    """Garage from the PATH, or built once: about ten minutes on two cores."""
    folder = pathlib.Path(os.environ.get("RAAS_E2E_TOOLS", parts.ROOT / "target" / "e2e-tools"))
    found = shutil.which("garage") or shutil.which(folder / "bin" / "garage")
    if not found:
        parts.run("cargo", "install", "garage", "--version", GARAGE_VERSION, "--no-default-features",
                  "--features", "bundled-libs,sqlite", "--root", folder)
        found = folder / "bin" / "garage"
    return found


class Service:
    """A service on loopback until the end of the `with`: `url`, `region`, and a key pair that may make buckets."""

    def raas_cfg(self, vendor, bucket, *more):
        lines = ["[aws]", f"aws_access_key_id = {self.key}", f"aws_secret_access_key = {self.secret}", "",
                 f"[{vendor}]", f"s3_bucket = {bucket}", f"s3_endpoint = {self.url}", f"s3_region = {self.region}",
                 "s3_path_style = yes", *more]
        return "\n".join(lines) + "\n"

    def environment(self):
        """What the `aws` program and other clients read."""
        return os.environ | {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret,
                             "AWS_DEFAULT_REGION": self.region, "AWS_ENDPOINT_URL": self.url,
                             "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}

    def answers(self):
        try:
            urllib.request.urlopen(self.url, timeout=2)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True


class Garage(Service):
    name, region = "garage", "garage"

    def __init__(self, folder):
        folder.mkdir(parents=True)
        self.folder, self.program = folder, garage_program()
        self.port, self.rpc = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "garage.toml"
        self.config.write_text(f"""
metadata_dir = "{folder}/meta"
data_dir = "{folder}/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{self.rpc}"
rpc_secret = "{secrets.token_hex(32)}"
[s3_api]
s3_region = "{self.region}"
api_bind_addr = "127.0.0.1:{self.port}"
""")

    def stored(self):
        """Bytes on the disk."""
        return sum(path.stat().st_size for path in (self.folder / "data").rglob("*") if path.is_file())

    def ask(self, *words):
        return parts.run(self.program, "-c", self.config, *words)

    def __enter__(self):
        self.process = parts.Process([self.program, "-c", self.config, "server"], self.folder / "log")
        self.process.__enter__()
        parts.wait_for("garage", self.answers)
        node = self.ask("node", "id", "-q").split("@")[0].strip()
        self.ask("layout", "assign", "-z", "dc1", "-c", "10G", node)
        self.ask("layout", "apply", "--version", "1")
        told = self.ask("key", "create", "raas")
        field = lambda name: next(line.split(":", 1)[1].strip() for line in told.splitlines() if line.startswith(name))
        self.key, self.secret = field("Key ID"), field("Secret key")
        self.ask("key", "allow", "--create-bucket", "raas")
        # The layout is applied in the background.
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        self.process.__exit__()


class Moto(Service):
    name, region, key, secret = "moto", "eu-central-1", "AKIAEXAMPLE", "secret"

    def __init__(self, folder):
        folder.mkdir(parents=True)
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        # Not whichever there is: 5.2.1 ends an upload in parts with an answer that no S3 gives.
        program = os.environ.get("MOTO_SERVER")
        if not program:
            venv = self.folder / "venv"
            parts.run("python3", "-m", "venv", venv)
            parts.run(venv / "bin" / "pip", "install", "-q", "moto[server]>=5.2.5")
            program = venv / "bin" / "moto_server"
        self.process = parts.Process([program, "-H", "127.0.0.1", "-p", self.port], self.folder / "log")
        self.process.__enter__()
        parts.wait_for("moto", self.answers)
        return self

    def __exit__(self, *_):
        self.process.__exit__()


def aws(service, *words):
    done = subprocess.run(["aws", *map(str, words)], env=service.environment(), capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"aws {' '.join(map(str, words))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
