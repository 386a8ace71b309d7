"""The manifests for clusters, held to published schemas; and a setup in the cluster that KUBECONFIG names."""

import json
import os

import kubernetes_validate
import pytest
import yaml

from harness import cluster
from harness.certificates import self_signed
from harness.process import wait_for

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


KINDS = [
    *["serviceaccounts", "secrets", "configmaps", "networkpolicies", "services", "poddisruptionbudgets"],
    *["deployments", "horizontalpodautoscalers", "ingresses"],
]


@pytest.fixture
def project():
    """A project of its own in a real cluster. A missing setting is an error, and no test is skipped."""
    project = cluster.Project()
    yield project
    project.remove()


def kinds():
    """The kinds of objects that a setup may make in this cluster."""
    more = {"route.openshift.io": "routes", "monitoring.coreos.com": "servicemonitors"}
    return KINDS + [kind for group, kind in more.items() if cluster.has_api(group)]


def not_good(report):
    """The checks that do not hold. The host of a test has no address, so it cannot be reached."""
    (vendor,) = report["vendors"]
    return [one for one in vendor["checks"] if one["outcome"] != "ok" and one["name"] != "registry"]


@pytest.mark.cluster
def test_a_second_setup_changes_nothing_and_a_teardown_removes_exactly_what_was_made(
    raas, project, all_samples, tmp_path
):
    config = project.config(tmp_path / "raas.cfg")
    refused = raas.result("--config", config, "setup", "acme")
    assert refused.returncode != 0
    assert "--create" in refused.stderr
    raas("--config", config, "setup", "acme", "--create")
    versions = project.versions(*kinds())
    assert "Nothing changed" in raas("--config", config, "setup", "acme")
    assert "Nothing would change" in raas("--config", config, "setup", "acme", "--dry-run")
    made = {one for one in versions if one[1].startswith("raas-acme")}
    # The controllers write a state into these two.
    steady = {one for one in made if one[0] not in ("Deployment", "PodDisruptionBudget")}
    assert {one: project.versions(*kinds())[one] for one in steady} == {one: versions[one] for one in steady}
    raas("--config", config, "push", "acme", "app", *all_samples["docker-save"].push)
    raas("--config", config, "setup", "acme")
    status = raas.result("--config", config, "status", "acme", "--json")
    assert not_good(json.loads(status.stdout)) == []
    raas("--config", config, "teardown", "acme", "--yes")
    assert project.versions(*kinds()).keys() == versions.keys() - made
    assert "Nothing of acme" in raas("--config", config, "teardown", "acme", "--yes")


@pytest.mark.cluster
def test_the_permissions_of_the_file_suffice_and_each_missing_one_is_named(raas, project, tmp_path):
    project.create()
    granted = cluster.permissions()
    good = project.config(tmp_path / "good.cfg", *project.operator(tmp_path, granted), "servers = 2-3")
    unneeded = set()
    for missing in granted:
        left = [one for one in granted if one != missing]
        config = project.config(tmp_path / "less.cfg", *project.operator(tmp_path, left), "servers = 2-3")
        # A preview lets the cluster check every object, and each is new.
        words = ["setup", "acme", "--dry-run"]
        if missing[2] == "delete":
            raas("--config", good, "setup", "acme")
            words = ["teardown", "acme", "--yes"]
        done = raas.result("--config", config, *words)
        rule = 'apiGroups: ["%s"], resources: ["%s"], verbs: ["%s"]' % missing
        if missing[1] == "routes/custom-host":
            # OpenShift does not say which verb is missing.
            rule = 'resources: ["routes/custom-host"], verbs: ["create", "update"]'
        if done.returncode == 0:
            unneeded.add(missing[1])
        elif missing[1] == "namespaces":
            assert "oc adm policy add-role-to-user view" in done.stderr
        else:
            assert rule in done.stderr, done.stderr
        if missing[2] == "delete":
            raas("--config", good, "teardown", "acme", "--yes")
    # What a rollout needs, and kinds that this cluster does not have or that the plan does not use.
    rollout = {"events", "pods", "pods/log", "pods/proxy"}
    elsewhere = {"httproutes", "servicemonitors", "routes", "routes/custom-host", "ingresses"}
    assert unneeded <= rollout | elsewhere


@pytest.mark.cluster
def test_a_field_of_another_manager_is_shown_and_left_as_it_is(raas, project, tmp_path):
    config = project.config(tmp_path / "raas.cfg")
    raas("--config", config, "setup", "acme", "--create")
    project.kubectl("label", "service", "raas-acme", "app.kubernetes.io/component=other", "--overwrite")
    done = raas.result("--config", config, "setup", "acme")
    assert done.returncode == 4
    assert ".metadata.labels.app.kubernetes.io/component (conflict with `kubectl-label`" in done.stderr
    labels = project.get("service", "raas-acme")["metadata"]["labels"]
    assert labels["app.kubernetes.io/component"] == "other"


@pytest.mark.cluster
def test_the_number_of_servers_never_falls_when_an_autoscaler_takes_it_over(raas, project, tmp_path):
    fixed = project.config(tmp_path / "fixed.cfg", "servers = 3")
    scaled = project.config(tmp_path / "scaled.cfg", "servers = 2-5")
    raas("--config", fixed, "setup", "acme", "--create")
    generation = project.get("deployment", "raas-acme")["metadata"]["generation"]
    assert ".spec.replicas" not in raas("--config", scaled, "setup", "acme", "--dry-run")
    raas("--config", scaled, "setup", "acme")
    deployment = project.get("deployment", "raas-acme")
    # Each change of the specification gives the object another generation.
    assert (deployment["spec"]["replicas"], deployment["metadata"]["generation"]) == (3, generation)
    raas("--config", scaled, "setup", "acme")
    raas("--config", fixed, "setup", "acme")
    assert project.get("deployment", "raas-acme")["spec"]["replicas"] == 3
    assert project.find("horizontalpodautoscaler", "raas-acme") is None


@pytest.mark.cluster
def test_a_quota_is_named(raas, project, tmp_path):
    config = project.config(tmp_path / "raas.cfg")
    project.create()

    def limit(**hard):
        meta = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}}
        project.apply(meta | {"spec": {"hard": hard}})
        counted = dict.fromkeys(hard, "0")
        wait_for("the quota", lambda: project.get("resourcequota", "few")["status"].get("used") == counted)

    limit(services="0")
    done = raas.result("--config", config, "setup", "acme")
    assert "exceeded quota: few, requested: services=1" in done.stderr
    project.kubectl("delete", "resourcequota", "few")
    limit(pods="0")
    done = raas.result("--config", config, "setup", "acme")
    assert done.returncode == 4
    assert done.stderr.count("exceeded quota: few, requested: pods=1") == 1, done.stderr
    project.kubectl("delete", "resourcequota", "few")
    raas("--config", config, "setup", "acme")


@pytest.mark.cluster
def test_a_wrong_token_and_an_unknown_authority_are_explained(raas, project, tmp_path):
    lines = project.login(tmp_path, "hunter2")
    done = raas.result("--config", project.config(tmp_path / "raas.cfg", *lines), "setup", "acme")
    assert done.returncode == 4
    assert "`auth_token`" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    # No authority of another certificate vouches for the API server, whatever does.
    other, _ = self_signed(tmp_path, "other", "other")
    lines = [line for line in lines if not line.startswith(("ca_file", "verify_ssl"))]
    config = project.config(tmp_path / "raas.cfg", *lines, f"ca_file = {other}")
    done = raas.result("--config", config, "setup", "acme")
    assert done.returncode == 4
    assert "the certificate of the API server is not trusted" in done.stderr
    assert "`ca_file`" in done.stderr


@pytest.mark.cluster
def test_only_the_secret_holds_the_keys(raas, project, tmp_path):
    config = project.config(tmp_path / "raas.cfg")
    raas("--config", config, "setup", "acme", "--create")
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    shown = project.kubectl("get", ",".join([*kinds(), "pods", "events"]), "--output", "yaml")
    documents = [one for one in yaml.safe_load(shown)["items"] if one["kind"] != "Secret"]
    assert secret not in json.dumps(documents)
