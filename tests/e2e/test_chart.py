"""The Helm chart, rendered by Helm: it makes what `raas setup` applies."""

import helm_python
import kubernetes_validate
import pytest
import yaml

from harness.packages import ROOT

CHART = ROOT / "deploy" / "chart"
IMAGE = "registry.example.com/raas@sha256:dd3ba91ae52eb5a99b1cbcd70b06c4ee2b1c84ffdca4e5b7d9e6df7e5d4b1a7f"
# Kinds of operators, which kubernetes-validate does not know.
ELSEWHERE = {"Route", "HTTPRoute", "ServiceMonitor"}
KEY = "0123456789abcdef" * 4

CONFIG = """
[aws]
aws_access_key_id = AKIAEXAMPLE
aws_secret_access_key = REPLACE-ME

[openshift]
platform = kubernetes
domain = mydomain
cartridge = {image}
{more}

[acme]
s3_bucket = acme-images
registry_host = registry.acme.example, images.acme.example

[other]
s3_bucket = other-images
registry_host = registry.other.example
"""


def render(values, name="raas-acme"):
    with helm_python.Chart.load(str(CHART)) as chart:
        files = chart.render(values, name=name, namespace="mydomain")
    documents = [one for text in files.values() for one in yaml.safe_load_all(text) if one]
    for document in documents:
        if document["kind"] not in ELSEWHERE:
            kubernetes_validate.validate(document, "1.37", strict=True)
    return documents


def registry(vendor, *hosts):
    return {"vendor": vendor, "hosts": list(hosts)}


ACME = registry("acme", "images.acme.example", "registry.acme.example")


def comparable(documents):
    """The objects by kind and name, without what a chart cannot share: who manages them, and hashes."""
    found = {}
    for document in documents:
        document["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
        if document["kind"] == "Deployment":
            document["spec"]["template"]["metadata"]["annotations"].pop("raas-configuration-sha256")
        found[document["kind"], document["metadata"]["name"]] = document
    return found


@pytest.mark.parametrize(
    ("more", "values"),
    [
        ("", {}),
        ("servers = 3\nserver_memory = 1024", {"servers": 3, "memory": 1024}),
        ("servers = 2-5", {"autoscaling": {"enabled": True}}),
        ("pull_secrets = a, b", {"imagePullSecrets": ["a", "b"]}),
        ("server_secret = keys", {"environmentSecret": "keys"}),
        ("service_account = reader", {"serviceAccount": "reader"}),
        ("ingress_class = nginx", {"entry": "ingress", "ingressClass": "nginx"}),
        (
            "ingress_class = nginx\ningress_namespace = ingress-nginx",
            {"entry": "ingress", "ingressClass": "nginx", "ingressNamespace": "ingress-nginx"},
        ),
        ("gateway = infra/public", {"entry": "gateway", "gateway": {"namespace": "infra", "name": "public"}}),
    ],
)
def test_the_chart_makes_what_setup_applies(raas, tmp_path, more, values):
    config = tmp_path / "raas.cfg"
    config.write_text(CONFIG.format(image=IMAGE, more=more))
    printed = list(yaml.safe_load_all(raas("--config", config, "setup", "acme", "--print")))
    (secret,) = [one for one in printed if one["kind"] == "Secret"]
    secret["stringData"]["token-key"] = KEY
    common = {"vendor": "acme", "image": IMAGE, "config": secret["stringData"]["raas.cfg"], "tokenKey": KEY}
    rendered = render(common | {"registries": [ACME]} | values)
    assert comparable(rendered) == comparable(printed)


def test_a_fleet_has_objects_of_each_vendor(raas, tmp_path):
    config = tmp_path / "raas.cfg"
    more = "fleet = yes\nserver_memory = 4096\ningress_class = nginx"
    config.write_text(CONFIG.format(image=IMAGE, more=more))
    printed = list(yaml.safe_load_all(raas("--config", config, "setup", "--fleet", "--print")))
    (secret,) = [one for one in printed if one["kind"] == "Secret"]
    secret["stringData"]["token-key"] = KEY
    values = {"image": IMAGE, "config": secret["stringData"]["raas.cfg"], "tokenKey": KEY, "memory": 4096}
    values |= {"entry": "ingress", "ingressClass": "nginx"}
    rendered = render(values | {"registries": [ACME, registry("other", "registry.other.example")]}, "raas")
    assert comparable(rendered) == comparable(printed)


def test_certificates_a_monitor_and_a_route_without_a_host():
    values = {"vendor": "acme", "image": IMAGE, "config": "[acme]\ns3_bucket = b\n"}
    kinds = [one["kind"] for one in render(values | {"monitor": True})]
    assert kinds.count("Route") == kinds.count("ServiceMonitor") == 1
    secured = ACME | {"certificate": "CHAIN", "key": "KEY"}
    routes = [one for one in render(values | {"registries": [secured]}) if one["kind"] == "Route"]
    assert [route["spec"]["tls"]["certificate"] for route in routes] == ["CHAIN", "CHAIN"]
    objects = render(values | {"registries": [secured], "entry": "ingress"})
    (ingress,) = [one for one in objects if one["kind"] == "Ingress"]
    (tls,) = ingress["spec"]["tls"]
    assert tls["secretName"] in [one["metadata"]["name"] for one in objects if one["kind"] == "Secret"]


@pytest.mark.parametrize(
    "values",
    [{"image": ""}, {"servers": "many"}, {"entry": "tunnel"}, {"tokenKey": "short"}, {"imag": "x"}],
)
def test_wrong_values_are_refused_by_the_schema(values):
    with pytest.raises(helm_python.HelmError):
        render({"vendor": "acme", "image": IMAGE, "config": "[acme]\n"} | values)


def test_a_new_key_of_tokens_has_the_form_that_raas_takes():
    objects = render({"vendor": "acme", "image": IMAGE, "config": "[acme]\n"})
    (secret,) = [one for one in objects if one["kind"] == "Secret"]
    assert len(bytes.fromhex(secret["stringData"]["token-key"])) == 32


def test_helm_finds_nothing_to_correct():
    values = {"vendor": "acme", "image": IMAGE, "config": "[acme]\n", "registries": [ACME]}
    report = helm_python.lint(str(CHART), values, strict=True)
    assert report["total_charts_linted"] == 1
    assert report["errors"] == []
    assert [one for one in report["messages"] if one["severity"] > 1] == []
