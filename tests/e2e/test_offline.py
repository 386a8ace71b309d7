"""Customers without a network, and registries without a server.

`raas export` writes a bundle. In a network without a way out, skopeo reads it, raas publishes it, and podman
pulls by the vendor's own names. `raas publish-static` stores a registry that nginx or a bucket serves. Needs
root.
"""

import contextlib
import json
import tomllib

import boto3
import pytest
import yaml

from harness.clients import Podman, Skopeo
from harness.namespaces import own_network_and_mounts
from harness.process import free_port, listens, result, run, running, wait_for
from harness.raas import Raas
from harness.s3_services import moto_service
from harness.samples import MASKED, masked_layer_on_cdn
from harness.web import Cdn, read, status_of

HOST = "registry.acme.com"
# A second address of the network without a way out.
ADDRESS = "10.123.45.67"


@pytest.fixture
def vendor(program, all_samples, tmp_path):
    """A vendor with `app`, an image of several platforms, and `base`, whose lowest layer is on a CDN."""
    folder = tmp_path / "vendor"
    folder.mkdir()
    (folder / "cdn").mkdir()
    masked_layer_on_cdn(folder / "cdn")
    with Cdn(folder / "cdn") as cdn:
        config = folder / "raas.cfg"
        masks = f"[redhat]\nmask_layers = {MASKED}\nlayer_url = {cdn.url}/rhel7/\n"
        config.write_text(f"{masks}[acme]\nregistry_host = {HOST}\n")
        raas = Raas(program, folder / "home", config)
        raas("push", "acme", "app", *all_samples["oci-multi"].push)
        raas("push", "acme", "base", *all_samples["pulp2"].push)
        raas.cdn = cdn
        yield raas


def digests(raas, image):
    """Tag to digest of an image."""
    (repository,) = raas.json("list", "acme", image)["vendors"][0]["repositories"]
    return {tag["tag"]: tag["digest"] for tag in repository["tags"]}


def test_pull_without_a_network(vendor, program, all_samples, tmp_path, short_folder, monkeypatch):
    """A bundle is read by skopeo and published by raas; podman pulls it by the vendor's own name."""
    samples = {"app": all_samples["oci-multi"], "base": all_samples["pulp2"]}
    bundle, single = tmp_path / "bundle.tar", tmp_path / "app.tar"
    report = vendor.json("export", "acme", "app", "base", "-o", bundle)
    assert report["size"] == bundle.stat().st_size
    assert report["size_elsewhere"] > 0
    assert any("layer" in path for path in vendor.cdn.asked), "the masked layer comes from the CDN"
    vendor("export", "acme", "app", "-o", single)
    configs = {
        name: vendor("mirror-config", "acme", "--to", "registry.customer.lan", "--format", name)
        for name in ["idms", "itms", "containerd"]
    }
    for name, kind in [("idms", "ImageDigestMirrorSet"), ("itms", "ImageTagMirrorSet")]:
        document = yaml.safe_load(configs[name])
        assert document["apiVersion"] == "config.openshift.io/v1"
        assert document["kind"] == kind
        (mirrors,) = document["spec"].values()
        (mirror,) = mirrors
        assert (mirror["source"], mirror["mirrors"]) == (HOST, ["registry.customer.lan"])
    hosts = tomllib.loads(configs["containerd"])
    assert list(hosts["host"]) == ["https://registry.customer.lan"]

    customer = Raas(program, tmp_path / "customer")
    skopeo, podman = Skopeo(tmp_path / "skopeo", ()), Podman(short_folder / "offline", ())
    with own_network_and_mounts(ADDRESS):
        assert run("ip", "route") == "", "there is no way out"
        assert result("curl", "-m", "5", vendor.cdn.url).returncode != 0, "the CDN is not reached"
        for tag, platforms in samples["app"].tags.items():
            assert skopeo.copy_all(f"oci-archive:{single}:{tag}") == platforms
            assert skopeo.copy_all(f"oci-archive:{bundle}:app:{tag}") == platforms
        for image in samples:
            customer("push", "acme", image, "--from", bundle)
            assert digests(customer, image) == digests(vendor, image)
        with customer.serve(tmp_path / "serve.log", "acme") as server:
            to = ["--to", server.address, "--plain-http", "--only-mirror"]
            conf = tmp_path / "registries.conf"
            conf.write_text(vendor("mirror-config", "acme", *to, "--format", "registries.conf"))
            monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
            for image, sample in samples.items():
                for tag, platforms in sample.tags.items():
                    for platform, layers in platforms.items():
                        assert podman.pull(f"{HOST}/{image}:{tag}", platform) == layers
                by_digest = f"{HOST}/{image}@{digests(vendor, image)[tag]}"
                run(*podman.command("pull", "-q", by_digest))
                manifest = run(
                    "skopeo", "--registries-conf", conf, "inspect", "--raw", f"docker://{by_digest}"
                )
                assert json.loads(manifest)["schemaVersion"] == 2
            # Without the mirror nobody answers.
            monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", "/dev/null")
            pull = podman.command("pull", "-q", "--retry", "0", f"{HOST}/app:{tag}")
            assert result(*pull, timeout=120).returncode != 0


def test_incremental_bundle(vendor, program, all_samples, tmp_path):
    """A push of an incremental bundle names what is missing, and goes through where the rest is."""
    whole = vendor.json("export", "acme", "app", "-o", tmp_path / "whole.tar")
    vendor("tag", "acme", "app:copy", f"app:{next(iter(all_samples['oci-multi'].tags))}")
    part = tmp_path / "part.tar"
    report = vendor.json("export", "acme", "app:copy", "-o", part, "--since", whole["commit"])
    assert report["left_out_count"] > 0
    assert part.stat().st_size < (tmp_path / "whole.tar").stat().st_size
    newcomer, customer = Raas(program, tmp_path / "newcomer"), Raas(program, tmp_path / "customer")
    refused = newcomer.result("push", "acme", "app", "--from", part)
    assert refused.returncode == 3
    assert "sha256:" in refused.stderr
    assert whole["commit"] in refused.stderr
    customer("push", "acme", "app", "--from", tmp_path / "whole.tar")
    customer("push", "acme", "app", "--from", part)
    assert digests(customer, "app") == digests(vendor, "app")


@contextlib.contextmanager
def nginx(folder, http, server):
    """nginx with these directives; has the `address`, and `reload`."""
    folder.mkdir(exist_ok=True)
    port, config = free_port(), folder / "nginx.conf"
    temporary = " ".join(
        f"{name}_temp_path {folder}/{name};" for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    )
    config.write_text(f"""
daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1; user root;
events {{ worker_connections 256; }}
http {{
  access_log off; {temporary}
  {http}
  server {{ listen 127.0.0.1:{port}; {server} }}
}}
""")
    command = ["nginx", "-e", "stderr", "-c", config]
    with running(command, folder / "nginx.log", ready=lambda: listens(port)) as process:
        process.address = f"127.0.0.1:{port}"
        process.reload = lambda: run(*command, "-s", "reload")
        yield process


def check_types(address, image, tag, digest):
    """The answers have the content types that clients need."""
    base = f"http://{address}/v2/{image}"
    for reference in [tag, digest]:
        status, headers = status_of(f"{base}/manifests/{reference}")
        assert status == 200
        assert "manifest" in headers["Content-Type"] or "index" in headers["Content-Type"], headers
    manifest = json.loads(read(f"{base}/manifests/{tag}"))
    assert manifest.get("mediaType", headers["Content-Type"]) == headers["Content-Type"]
    assert status_of(f"{base}/tags/list")[1]["Content-Type"] == "application/json"
    assert status_of(f"http://{address}/v2/")[0] == 200
    assert status_of(f"{base}/manifests/no-such-tag")[0] == 404


def test_static_registry_of_nginx(vendor, clients, all_samples, tmp_path):
    """nginx alone serves pulls from a folder, with redirects of base layers or with the layers themselves."""
    site, sample = tmp_path / "site", all_samples["oci-multi"]
    assert vendor.result("publish-static", "acme", "--to", site).returncode == 3, "a base layer is elsewhere"
    vendor("publish-static", "acme", "--to", site, "--redirect-base-layers")
    http = f"include {site}/nginx/hash.conf; include {site}/nginx/maps.conf;"
    with nginx(tmp_path / "nginx", http, f"include {site}/nginx/locations.conf;") as server:
        clients.pull(server.address, "app", sample.tags)
        before = len(vendor.cdn.asked)
        clients.pull(server.address, "base", all_samples["pulp2"].tags)
        assert len(vendor.cdn.asked) > before, "the base layer comes from the CDN"
        assert clients.skopeo.tags(f"{server.address}/app") == sorted(digests(vendor, "app"))
        tag, digest = next(iter(digests(vendor, "app").items()))
        check_types(server.address, "app", tag, digest)
        headers = status_of(f"http://{server.address}/v2/app/manifests/{tag}")[1]
        assert headers["Docker-Content-Digest"] == digest
        empty = json.loads(read(f"http://{server.address}/v2/app/referrers/sha256:{'0' * 64}"))
        assert empty["manifests"] == []
        diagnosis = vendor.json("doctor", f"{server.address}/app:{tag}")
        assert diagnosis["healthy"], diagnosis

        # A publication appears as a whole when nginx is reloaded.
        vendor("tag", "acme", "app:new", f"app:{tag}")
        vendor("publish-static", "acme", "--to", site, "--with-base-layers")
        assert status_of(f"http://{server.address}/v2/app/manifests/new")[0] == 404
        server.reload()
        # The old worker of nginx goes on for a moment.
        new = f"http://{server.address}/v2/app/manifests/new"
        wait_for("nginx has the new publication", lambda: status_of(new)[0] == 200)
        clients.pull(server.address, "app", {"new": sample.tags[tag]})
        before = len(vendor.cdn.asked)
        clients.pull(server.address, "base", all_samples["pulp2"].tags)
        assert len(vendor.cdn.asked) == before, "the base layer is stored"
        again = vendor.json("publish-static", "acme", "--to", site, "--with-base-layers")
        assert again["stored"]["objects"] == 0


def test_static_registry_of_a_bucket(vendor, clients, all_samples, tmp_path, tmp_path_factory):
    """A bucket serves pulls. nginx stands for the CDN that gives it the root of a host's name."""
    sample = all_samples["oci-multi"]
    with moto_service(tmp_path_factory.mktemp("moto")) as moto:
        options = {"endpoint_url": moto.url, "region_name": moto.region}
        s3 = boto3.client("s3", aws_access_key_id=moto.key, aws_secret_access_key=moto.secret, **options)
        s3.create_bucket(Bucket="static", CreateBucketConfiguration={"LocationConstraint": moto.region})
        resource = "arn:aws:s3:::static/acme/*"
        allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": resource}
        s3.put_bucket_policy(
            Bucket="static", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        )
        text = vendor.config.read_text()
        service = [f"s3_endpoint = {moto.url}", f"s3_region = {moto.region}", "s3_path_style = yes"]
        keys = f"[aws]\naws_access_key_id = {moto.key}\naws_secret_access_key = {moto.secret}\n"
        vendor.config.write_text(keys + text + "\n".join(service) + "\n")
        publish = ["publish-static", "acme", "--to", "s3://static/acme", "--with-base-layers"]
        first = vendor.json(*publish)
        assert first["stored"]["objects"] > 0
        assert vendor.json(*publish)["stored"]["objects"] == 0
        pass_on = f"location / {{ proxy_pass {moto.url}/static/acme/; }}"
        with nginx(tmp_path / "nginx", "", pass_on) as server:
            tag, digest = next(iter(digests(vendor, "app").items()))
            check_types(server.address, "app", tag, digest)
            clients.pull(server.address, "app", sample.tags)
            clients.pull(server.address, "base", all_samples["pulp2"].tags)
            # What is withdrawn stays until it is pruned.
            vendor("unpublish", "acme", f"app:{tag}")
            vendor(*publish)
            url = f"http://{server.address}/v2/app/manifests/{tag}"
            assert status_of(url)[0] == 200
            assert vendor.json(*publish, "--prune")["removed_objects"] > 0
            assert status_of(url)[0] in (403, 404)
