"""Real S3 services: Garage, a production server, and moto, which has policies, ACLs and access blocks."""

import contextlib
import dataclasses
import os
import pathlib
import secrets

from harness.packages import PYTHON_PROGRAMS, ROOT, garage
from harness.process import free_port, result, run, running, wait_for
from harness.web import answers

# moto's server with repairs.
MOTO = ROOT / "tests" / "harness" / "moto_fixed.py"


@dataclasses.dataclass
class Service:
    """A service on loopback, with a key pair that may make buckets."""

    name: str
    url: str
    region: str
    key: str
    secret: str
    data: pathlib.Path | None = None

    def raas_cfg(self, vendor, bucket, *more):
        """A configuration file with a vendor in a bucket of this service."""
        lines = [
            *["[aws]", f"aws_access_key_id = {self.key}", f"aws_secret_access_key = {self.secret}", ""],
            *[
                f"[{vendor}]",
                f"s3_bucket = {bucket}",
                f"s3_endpoint = {self.url}",
                f"s3_region = {self.region}",
            ],
            *["s3_path_style = yes", *more],
        ]
        return "\n".join(lines) + "\n"

    def credentials(self):
        """The variables with the key pair, and none of the developer's own settings."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def environment(self):
        """The variables that the `aws` program and other clients read."""
        return os.environ | self.credentials() | {"AWS_ENDPOINT_URL": self.url}

    def bytes_on_disk(self):
        """What the service has written; with half of an upload, too."""
        return sum(path.stat().st_size for path in self.data.rglob("*") if path.is_file())


@contextlib.contextmanager
def moto_service(folder):
    """moto until the end of the `with`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [PYTHON_PROGRAMS / "python", MOTO, "-H", "127.0.0.1", "-p", port]
    with running(command, folder / "moto.log", ready=lambda: answers(url)):
        yield Service("moto", url, "eu-central-1", "AKIAEXAMPLE", "secret")


@contextlib.contextmanager
def garage_service(folder):
    """Garage with one node until the end of the `with`."""
    program, port, rpc = garage(), free_port(), free_port()
    url, region, config, data = f"http://127.0.0.1:{port}", "garage", folder / "garage.toml", folder / "data"
    config.write_text(f"""
metadata_dir = "{folder}/meta"
data_dir = "{data}"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_secret = "{secrets.token_hex(32)}"
[s3_api]
s3_region = "{region}"
api_bind_addr = "127.0.0.1:{port}"
""")

    def ask(*words):
        return run(program, "-c", config, *words)

    with running(
        [program, "-c", config, "server"], folder / "garage.log", ready=lambda: answers(url)
    ) as process:
        node = ask("node", "id", "-q").split("@")[0].strip()
        ask("layout", "assign", "-z", "dc1", "-c", "10G", node)
        ask("layout", "apply", "--version", "1")
        key, secret = key_pair(ask("key", "create", "raas"))
        ask("key", "allow", "--create-bucket", "raas")
        # The layout is applied in the background.
        probe = [program, "-c", config, "bucket", "create", "probe"]
        wait_for("the layout", lambda: result(*probe).returncode == 0, process=process)
        yield Service("garage", url, region, key, secret, data)


def key_pair(told):
    """The key and the secret that Garage prints."""

    def field(name):
        return next(line.split(":", 1)[1].strip() for line in told.splitlines() if line.startswith(name))

    return field("Key ID"), field("Secret key")


SERVICES = {"moto": moto_service, "garage": garage_service}
