"""The manifests for clusters, held to published schemas; and a setup in the cluster that KUBECONFIG names."""

import os
import secrets
import subprocess

import kubernetes_validate
import pytest
import yaml

from harness.packages import program

DIGEST = "dd3ba91ae52eb5a99b1cbcd70b06c4ee2b1c84ffdca4e5b7d9e6df7e5d4b1a7f"
ELSEWHERE = {
    "Route",
    "HTTPRoute",
    "ServiceMonitor",
}  # kinds of operators, which kubernetes-validate does not know

CONFIG = """
[aws]
aws_access_key_id = AKIAEXAMPLE
aws_secret_access_key = hunter2

[openshift]
platform = kubernetes
domain = mydomain
cartridge = registry.example.com/raas@sha256:{digest}
servers = 2-5
{more}

[acme]
s3_bucket = acme-images
registry_host = registry.acme.example
"""


@pytest.mark.parametrize("more", ["", "ingress_class = nginx", "gateway = infra/public"])
@pytest.mark.parametrize("version", ["1.33", "1.37"])
def test_printed_manifests_are_valid(raas, tmp_path, more, version):
    config = tmp_path / "raas.cfg"
    config.write_text(CONFIG.format(digest=DIGEST, more=more))
    printed = raas("--config", config, "setup", "acme", "--print")
    assert "hunter2" not in printed
    documents = list(yaml.safe_load_all(printed))
    assert len(documents) == 9
    for document in documents:
        if document["kind"] not in ELSEWHERE:
            kubernetes_validate.validate(document, version, strict=True)


@pytest.fixture
def cluster():
    """What a test in a real cluster needs. Nothing is skipped in silence: what is missing is an error."""
    names = ["KUBECONFIG", "RAAS_E2E_IMAGE", "RAAS_E2E_BUCKET", "RAAS_E2E_S3_ENDPOINT"]
    missing = [
        name for name in [*names, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] if not os.environ.get(name)
    ]
    if missing:
        pytest.fail(
            f"set {', '.join(missing)}: a cluster, the image of raas in it, and a bucket that it reaches"
        )
    return {name: os.environ[name] for name in names}


@pytest.mark.cluster
def test_setup_in_a_real_cluster(raas, cluster, all_samples, tmp_path):
    project = f"raas-e2e-{secrets.token_hex(4)}"
    config = tmp_path / "raas.cfg"
    config.write_text(
        "[aws]\naws_access_key_id = ${AWS_ACCESS_KEY_ID}\naws_secret_access_key = ${AWS_SECRET_ACCESS_KEY}\n"
        f"[openshift]\nplatform = kubernetes\ndomain = {project}\ncartridge = {cluster['RAAS_E2E_IMAGE']}\n"
        f"[acme]\ns3_bucket = {cluster['RAAS_E2E_BUCKET']}\ns3_prefix = {project}\ns3_path_style = yes\n"
        f"s3_endpoint = {cluster['RAAS_E2E_S3_ENDPOINT']}\nregistry_host = {project}.example.com\n"
    )

    def command(*words):
        return raas("--config", config, *words)

    try:
        command("setup", "acme", "--create")
        assert "Nothing changed" in command("setup", "acme")
        assert "Nothing would change" in command("setup", "acme", "--dry-run")
        command("push", "acme", "app", *all_samples["docker-save"].push)
        command("status", "acme")
        command("teardown", "acme", "--yes")
        assert "Nothing of acme" in command("teardown", "acme", "--yes")
    finally:
        kubectl = [program("kubectl"), "delete", "namespace", project, "--ignore-not-found", "--wait=false"]
        subprocess.run(kubectl, check=True, timeout=120)
