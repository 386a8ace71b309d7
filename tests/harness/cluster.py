"""A project of the cluster that KUBECONFIG names, made for a test and removed after it."""

import base64
import json
import os
import pathlib
import secrets

import yaml

from harness.packages import ROOT
from harness.process import run

RBAC = ROOT / "deploy" / "rbac.yaml"


class MissingSettings(AssertionError):
    """The environment does not say which cluster, which image and which bucket."""


def settings():
    """What a test in a real cluster needs of the environment."""
    names = ["KUBECONFIG", "RAAS_E2E_IMAGE", "RAAS_E2E_BUCKET", "RAAS_E2E_S3_ENDPOINT"]
    missing = [
        name for name in [*names, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] if not os.environ.get(name)
    ]
    if missing:
        raise MissingSettings(
            f"set {', '.join(missing)}: a cluster, the image of raas in it, and a bucket that it reaches"
        )
    return {name: os.environ[name] for name in names}


def kubectl(*words, **options):
    """Runs kubectl as the user of KUBECONFIG and returns its output."""
    return run("kubectl", *words, **options)


class Project:
    """A name for a project, its objects and its users. The project itself is made by a test."""

    def __init__(self):
        self.settings, self.name = settings(), f"raas-e2e-{secrets.token_hex(4)}"
        self.host = f"{self.name}.example.com"

    def remove(self):
        kubectl("delete", "namespace", self.name, "--ignore-not-found", "--wait=false")

    def create(self):
        kubectl("create", "namespace", self.name)

    def config(self, path, *openshift, vendor=()):
        """A raas.cfg for the vendor `acme` in this project, with more lines in `[openshift]` and `[acme]`."""
        lines = [
            *["[aws]", f"aws_access_key_id = {os.environ['AWS_ACCESS_KEY_ID']}"],
            "aws_secret_access_key = ${AWS_SECRET_ACCESS_KEY}",
            *["[openshift]", "platform = kubernetes", f"domain = {self.name}"],
            *[f"cartridge = {self.settings['RAAS_E2E_IMAGE']}", *openshift],
            *["[acme]", f"s3_bucket = {self.settings['RAAS_E2E_BUCKET']}", f"s3_prefix = {self.name}"],
            *[f"s3_endpoint = {self.settings['RAAS_E2E_S3_ENDPOINT']}", "s3_path_style = yes", *vendor],
        ]
        if not any(line.startswith("registry_host") for line in vendor):
            lines.append(f"registry_host = {self.host}")
        path.write_text("\n".join(lines) + "\n")
        return path

    def kubectl(self, *words, **options):
        return kubectl("--namespace", self.name, *words, **options)

    def get(self, *words):
        """An object or a list."""
        return json.loads(self.kubectl("get", *words, "--show-managed-fields", "--output", "json"))

    def find(self, *words):
        """An object, or None."""
        found = self.kubectl("get", *words, "--ignore-not-found", "--output", "json")
        return json.loads(found) if found else None

    def apply(self, *documents):
        text = yaml.safe_dump_all(documents)
        self.kubectl("apply", "--filename", "-", input=text)

    def versions(self, *kinds):
        """The `resourceVersion` of each object of some kinds, by kind and name."""
        listed = self.get(",".join(kinds))["items"]
        return {(one["kind"], one["metadata"]["name"]): one["metadata"]["resourceVersion"] for one in listed}

    def operator(self, folder, granted):
        """Lines of `[openshift]` for a user who has exactly these permissions in the project."""
        name = f"operator-{secrets.token_hex(4)}"
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        api = "rbac.authorization.k8s.io/v1"
        self.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
            {"apiVersion": api, "kind": "Role", "metadata": {"name": name}, "rules": rules(granted)},
            {
                **{"apiVersion": api, "kind": "RoleBinding", "metadata": {"name": name}, "roleRef": role},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.name}],
            },
        )
        return self.login(folder, self.kubectl("create", "token", name, "--duration", "1h").strip())

    def login(self, folder, token):
        """Lines of `[openshift]` with which raas speaks to the cluster of KUBECONFIG by a token."""
        view = kubectl("config", "view", "--raw", "--minify", "--flatten", "--output", "json")
        cluster = json.loads(view)["clusters"][0]["cluster"]
        lines = [f"server_url = {cluster['server']}", f"auth_token = {token}"]
        if authority := cluster.get("certificate-authority-data"):
            file = pathlib.Path(folder) / "ca.pem"
            file.write_bytes(base64.b64decode(authority))
            lines.append(f"ca_file = {file}")
        if cluster.get("insecure-skip-tls-verify"):
            lines.append("verify_ssl = no")
        return lines


def has_api(group):
    """Whether the cluster has an API group. A cluster that does not answer is an error."""
    listed = json.loads(kubectl("get", "--raw", "/apis"))
    return any(one["name"] == group for one in listed["groups"])


def permissions():
    """The rules of deploy/rbac.yaml, one permission each: group, resource, verb."""
    role = next(one for one in yaml.safe_load_all(RBAC.read_text()) if one["kind"] == "Role")
    return [
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def rules(granted):
    """Permissions as the rules of a role."""
    return [
        {"apiGroups": [group], "resources": [resource], "verbs": [verb]} for group, resource, verb in granted
    ]
