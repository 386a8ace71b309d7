"""A real Pulp 3 with its database, on loopback, in one folder."""

import contextlib
import dataclasses
import json
import os
import pathlib
import pwd
import shutil
import subprocess

from harness import packages
from harness.process import free_port, result, run, running, wait_for
from harness.web import answers

USER, PASSWORD = "admin", "pw"
# A minute on a quiet machine.
SLOW = 900
# initdb refuses to run as root.
DATABASE_USER = "postgres"


@dataclasses.dataclass
class Pulp:
    """A running server."""

    folder: pathlib.Path
    port: int
    programs: pathlib.Path
    environment: dict

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    @property
    def exports(self):
        """The folder that exports go to."""
        return self.folder / "exports"

    def section(self, *more, user=USER, password=PASSWORD):
        """`[pulpserver]` for this server, with further lines."""
        lines = ["[pulpserver]", f"host = http://{self.host}", f"username = {user}", f"password = {password}"]
        return "\n".join([*lines, *more, ""])

    def push(self, source, name):
        """Pushes an image into Pulp with skopeo. The name has a tag."""
        options = ["-q", "--all", "--insecure-policy", "--dest-tls-verify=false"]
        login = f"--dest-creds={USER}:{PASSWORD}"
        run("skopeo", "copy", *options, login, source, f"docker://{self.host}/{name}")

    def make(self, path, **fields):
        """Makes a resource, waits for the task if there is one, and returns the path of the resource."""
        made = json.loads(self.rest("POST", f"/pulp/api/v3/{path}", json.dumps(fields)))
        if "task" not in made:
            return made["pulp_href"]

        def ended():
            task = json.loads(self.rest("GET", made["task"]))
            return task if task["state"] in ("completed", "failed", "canceled") else None

        task = wait_for(f"the task of {path}", ended, seconds=SLOW)
        assert task["state"] == "completed", task["error"]
        return next(iter(task["created_resources"]), None)

    def rest(self, method, path, body=None):
        """Asks the REST API, and returns the text of the answer."""
        command = ["curl", "-sSf", "-u", f"{USER}:{PASSWORD}", "-X", method]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", body]
        return run(*command, f"http://{self.host}{path}")

    @contextlib.contextmanager
    def worker(self):
        """A worker until the end of the `with`."""
        command = [self.programs / "pulpcore-worker"]
        with running(
            command, self.folder / "worker.log", self.environment, ready=self.has_worker, seconds=SLOW
        ):
            yield

    def has_worker(self):
        status = result("curl", "-s", f"http://{self.host}/pulp/api/v3/status/").stdout
        return '"online_workers":[{' in status.replace(" ", "")


@contextlib.contextmanager
def pulp_server(folder, *, token_server=False, domains=False):
    """Pulp's API and content servers until the end of the `with`. It has no worker yet."""
    programs = packages.pulp()
    folder.mkdir(exist_ok=True)
    with postgres(folder) as database:
        port, content = free_port(), free_port()
        environment = settings(folder, port, content, database, token_server, domains)
        manager = [programs / "pulpcore-manager"]
        run(*manager, "migrate", "--noinput", env=environment, timeout=SLOW)
        run(*manager, "reset-admin-password", "--password", PASSWORD, env=environment, timeout=SLOW)
        pulp = Pulp(folder, port, programs, environment)
        api = [programs / "pulpcore-api", "-b", pulp.host, "-w", "2"]
        with (
            running(
                api,
                folder / "api.log",
                environment,
                ready=lambda: answers(f"http://{pulp.host}/pulp/api/v3/status/"),
                seconds=SLOW,
            ),
            running(
                [programs / "pulpcore-content", "-b", f"127.0.0.1:{content}"],
                folder / "content.log",
                environment,
                ready=lambda: answers(f"http://127.0.0.1:{content}/pulp/content/"),
                seconds=SLOW,
            ),
        ):
            yield pulp


def settings(folder, port, content, database, token_server, domains):
    """Writes the settings and the keys; returns the environment of Pulp's programs."""
    for name in ["media", "working", "upload", "static", "exports"]:
        (folder / name).mkdir()
    key = folder / "database.key"
    key.write_bytes(
        subprocess.run(["openssl", "rand", "-base64", "32"], check=True, capture_output=True).stdout
    )
    private, public = folder / "token.key", folder / "token.pub"
    run("openssl", "ecparam", "-genkey", "-name", "secp256r1", "-noout", "-out", private)
    run("openssl", "ec", "-in", private, "-pubout", "-out", public)
    file = folder / "settings.py"
    file.write_text(f"""
SECRET_KEY = "not a secret"
CONTENT_ORIGIN = "http://127.0.0.1:{content}"
DB_ENCRYPTION_KEY = "{key}"
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", "NAME": "pulp", "USER": "pulp",
    "HOST": "127.0.0.1", "PORT": "{database}"}}}}
DEPLOY_ROOT = "{folder}"
MEDIA_ROOT = "{folder}/media"
WORKING_DIRECTORY = "{folder}/working"
FILE_UPLOAD_TEMP_DIR = "{folder}/upload"
STATIC_ROOT = "{folder}/static"
TOKEN_AUTH_DISABLED = {not token_server}
TOKEN_SERVER = "http://127.0.0.1:{port}/token/"
TOKEN_SIGNATURE_ALGORITHM = "ES256"
PRIVATE_KEY_PATH = "{private}"
PUBLIC_KEY_PATH = "{public}"
ALLOWED_EXPORT_PATHS = ["{folder}/exports"]
DOMAIN_ENABLED = {domains}
CACHE_ENABLED = False
ANALYTICS = False
""")
    more = {"PULP_SETTINGS": str(file), "DJANGO_SETTINGS_MODULE": "pulpcore.app.settings"}
    return os.environ | more


@contextlib.contextmanager
def postgres(folder):
    """A PostgreSQL server with the role and the database `pulp`; yields its port."""
    port, data = free_port(), folder / "postgres"
    data.mkdir()
    # Another user needs the way to the folder.
    for part in [folder, *folder.parents]:
        if str(part).startswith(("/tmp/", "/root")):
            part.chmod(part.stat().st_mode | 0o011)
    owner = pwd.getpwnam(DATABASE_USER)
    os.chown(data, owner.pw_uid, owner.pw_gid)
    binaries = postgres_binaries()

    def as_owner(*command):
        done = subprocess.run(
            [*map(str, command)],
            user=DATABASE_USER,
            group=owner.pw_gid,
            extra_groups=[],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=SLOW,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    as_owner(binaries / "initdb", "-A", "trust", "-D", data / "db")
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off"
    as_owner(binaries / "pg_ctl", "-D", data / "db", "-o", options, "-l", data / "log", "-w", "start")
    try:
        psql = ["psql", "-q", "-h", "127.0.0.1", "-p", port, "-U", DATABASE_USER]
        run(*psql, "-c", "create role pulp login superuser")
        run(*psql, "-c", "create database pulp owner pulp")
        yield port
    finally:
        as_owner(binaries / "pg_ctl", "-D", data / "db", "-m", "immediate", "stop")


def postgres_binaries():
    """Debian keeps them outside of the path."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else pathlib.Path(shutil.which("pg_ctl") or "/usr/bin/pg_ctl").parent
