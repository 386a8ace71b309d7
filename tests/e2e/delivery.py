#!/usr/bin/env python3
"""Ways in which bytes come to clients: CDNs that check their tokens with Python's hmac and with the openssl program,
a Crane whose place raas takes, and layers that are taken in parts. Pulled with podman and skopeo. Needs root, Debian.
"""
import base64
import fnmatch
import functools
import hmac
import http.server
import json
import pathlib
import subprocess
import tempfile
import time
import urllib.parse

import parts
import services
import sources
from partial import partial
from pulls import pull_everywhere

KEYS = parts.ROOT / "crates" / "raas-server" / "tests" / "data"
AKAMAI_KEY = "abc123def4567890"


class Cdn(parts.WebServer):
    """A web server over a bucket's folder that lets nobody in without a token."""

    def __init__(self, folder, lets_in):
        self.opened = self.refused = 0
        cdn = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                if lets_in(cdn.url, self.path):
                    cdn.opened += 1
                    super().do_GET()
                else:
                    cdn.refused += 1
                    self.send_error(403)

        super().__init__(functools.partial(Handler, directory=str(folder)))


def akamai(algorithm):
    def lets_in(_, target):
        path, _, query = target.partition("?")
        expires, token = query.removeprefix("_auth_=exp=").split("~hmac=") if "~hmac=" in query else ("0", "")
        expected = hmac.new(bytes.fromhex(AKAMAI_KEY), f"exp={expires}~url={path}".encode(), algorithm).hexdigest()
        return hmac.compare_digest(token, expected) and int(expires) > time.time() + 200

    return lets_in


def cloudfront(work, key):
    public = work / f"{key}.pub"
    parts.run("openssl", "pkey", "-in", KEYS / key, "-pubout", "-out", public)
    decode = lambda text: base64.b64decode(text.replace("-", "+").replace("_", "=").replace("~", "/"))

    def lets_in(url, target):
        path, _, query = target.partition("?")
        told = {name: values[0] for name, values in urllib.parse.parse_qs(query).items()}
        if told.get("Hash-Algorithm") != "SHA256" or told.get("Key-Pair-Id") != "K2JCJMDEHXQW5F":
            return False
        policy = decode(told["Policy"])
        with tempfile.NamedTemporaryFile() as signature:
            signature.write(decode(told["Signature"]))
            signature.flush()
            verify = ["openssl", "dgst", "-sha256", "-verify", public, "-signature", signature.name]
            if subprocess.run([str(word) for word in verify], input=policy, capture_output=True).returncode != 0:
                return False
        (statement,) = json.loads(policy)["Statement"]
        expires = statement["Condition"]["DateLessThan"]["AWS:EpochTime"]
        return fnmatch.fnmatchcase(url + path, statement["Resource"]) and expires > time.time() + 300

    return lets_in


def serve(program, work, name, *arguments):
    port = services.free_port()
    process = parts.Process([program, "serve", "--listen", f"127.0.0.1:{port}", *arguments], work / f"{name}.log",
                            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})
    process.address = f"127.0.0.1:{port}"
    return process


def answers(address):
    return subprocess.run(["curl", "-sf", "-o", "/dev/null", f"http://{address}/-/readyz"]).returncode == 0


def tokens(program, home, work, clients, skopeo, tags):
    bucket, checkout = home / "acme" / "bucket", home / "acme" / "checkout"
    secret = f"cdn_akamai_secret = {AKAMAI_KEY}"
    key = lambda name: ["cdn_cloudfront_key_id = K2JCJMDEHXQW5F", f"cdn_cloudfront_key = {KEYS / name}"]
    cases = {
        "akamai": (akamai("sha256"), [secret]),
        "akamai-sha1": (akamai("sha1"), [secret, "cdn_akamai_algo = sha1"]),
        "akamai-md5": (akamai("md5"), [secret, "cdn_akamai_algo = md5"]),
        "cloudfront-rsa": (cloudfront(work, "cloudfront-rsa.pem"), key("cloudfront-rsa.pem")),
        "cloudfront-ecdsa": (cloudfront(work, "cloudfront-ec.pem"), key("cloudfront-ec.pem")),
    }
    for name, (lets_in, settings) in cases.items():
        with Cdn(bucket, lets_in) as cdn:
            config = work / f"{name}.cfg"
            config.write_text("\n".join(["[acme]", "access = cdn", f"cdn_url = {cdn.url}", *settings, ""]))
            with serve(program, work, name, "acme", "--config", config, "--metadata", checkout, "--bucket", cdn.url) as server:
                parts.wait_for(name, lambda: answers(server.address))
                pulls = pull_everywhere(clients, skopeo, server.address, "app", tags)
            assert cdn.opened and not cdn.refused, (name, cdn.opened, cdn.refused)
        log = (work / f"{name}.log").read_text()
        assert AKAMAI_KEY not in log and "Signature=" not in log and "hmac=" not in log
        print(f"ok    {name}: {pulls} pulls, {cdn.opened} tokens checked", flush=True)


def crane(program, home, work, clients, skopeo, tags):
    """Files of a layout as Pulp publishes it, links among them, by a document that names another place."""
    data, content = work / "data", work / "content"
    (data / "deep").mkdir(parents=True)
    content.mkdir()
    document = json.loads((home / "acme" / "checkout" / "crane" / "data" / "app.json").read_text())
    document["url"] = "https://cdn.invalid/app/"
    (data / "deep" / "app.json").write_text(json.dumps(document))
    (content / document["repository"]).symlink_to(home / "acme" / "bucket" / "app" / "_v2")
    conf = work / "crane.conf"
    conf.write_text(f"[general]\ndata_dir: {data}\n[serve_content]\nenable: true\ncontent_dir_v2: {content}\n")
    with serve(program, work, "crane", "--crane-config", conf) as server:
        parts.wait_for("crane", lambda: answers(server.address))
        pulls = pull_everywhere(clients, skopeo, server.address, "app", tags)
    print(f"ok    crane: {pulls} pulls of files", flush=True)


def main():
    parts.install()
    program = parts.build()
    with tempfile.TemporaryDirectory(prefix="raas-delivery-") as folder:
        work = pathlib.Path(folder)
        home = work / "home"
        raas = parts.Raas(program, home)
        _, path, more, tags = next(sample for sample in sources.samples() if sample[0] == "docker-save")
        raas("push", "acme", "app", "--from", path, *more)
        (work / "podman").mkdir()
        clients, skopeo = [parts.Podman(work / "podman")], parts.Skopeo(work / "skopeo")
        tokens(program, home, work, clients, skopeo, tags)
        crane(program, home, work, clients, skopeo, tags)
        partial(program, home, work, serve, answers)


if __name__ == "__main__":
    main()
