"""Airbyte's real chart, rendered by the real `helm` with our values: what it makes is what the platform expects.

Where they can't be had, nothing of this was looked at: the chart is Airbyte's, and no part of it is kept here.
"""

import os
import re
import shutil
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from local.servers.rights.hcl import read_module
from millrace.settings import Settings
from tests.support.cloud_tools.terraform import value_of
from tests.support.servers import ROOT

CHART = "MILLRACE_TEST_AIRBYTE_CHART"
ACCOUNTS = {"airbyte": "millrace-airbyte"}
GIVEN = {
    "project": "acme-data",
    "region": "us-central1",
    "location": "US",
    "domain": "d.example",
    "service_accounts": ACCOUNTS,
}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what the chart makes of a release `airbyte` with our two files of values."""
    helm, chart = shutil.which("helm"), os.environ.get(CHART)
    if not helm or not chart:
        pytest.skip(f"needs helm, and in {CHART} a folder of the chart (charts/v2/airbyte): it was not rendered")
    [output] = [b for b in read_module(ROOT / "terraform").of("output") if b.labels == ("airbyte_values",)]
    project = tmp_path_factory.mktemp("values") / "project.yaml"
    project.write_text(value_of(output, GIVEN))
    values = ["--values", str(ROOT / "k8s" / "airbyte" / "values.yaml"), "--values", str(project)]
    command = [helm, "template", "airbyte", chart, "--namespace", "airbyte", *values]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return [document for document in yaml.safe_load_all(process.stdout) if document]


def references(value: Any) -> list[dict[str, str]]:
    """Return all references to keys of secrets, however deep."""
    if isinstance(value, dict):
        own = [value["secretKeyRef"]] if "secretKeyRef" in value else []
        return own + [reference for part in value.values() for reference in references(part)]
    return [reference for part in value for reference in references(part)] if isinstance(value, list) else []


def test_flows_call_the_service_that_is_made(objects: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_CONFIG", "gcp")
    address = urlsplit(Settings().airbyte.url)
    services = {
        f"{o['metadata']['name']}.airbyte.svc": o["spec"]["ports"][0]["port"] for o in objects if o["kind"] == "Service"
    }
    assert services[str(address.hostname)] == address.port
    forwarded = re.findall(r"svc/(airbyte\S+)", (ROOT / "scripts" / "cloud_shell").read_text())
    assert [f"{name}.airbyte.svc" for name in forwarded] == [address.hostname]


def test_secret_has_every_key_that_pods_read(objects: list[dict[str, Any]]) -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    options = set(
        re.findall(
            r"--from-literal=([\w-]+)=|--from-file=([\w.-]+)=", page.split("secret generic airbyte-config")[1][:400]
        )
    )
    keys = {literal or file for literal, file in options}
    read = {r["key"] for o in objects for r in references(o) if r["name"] == "airbyte-config-secrets"}
    assert read == keys


def test_restarted_deployments_exist(objects: list[dict[str, Any]]) -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    named = set(re.findall(r"\bairbyte-(?:server|worker|workload-[a-z-]+)(?= |;)", page))
    deployments = {o["metadata"]["name"] for o in objects if o["kind"] == "Deployment"}
    assert named
    assert named <= deployments


def test_pods_are_what_autopilot_takes(objects: list[dict[str, Any]]) -> None:
    text = yaml.safe_dump_all(objects)
    assert "gke-nodepool" not in text
    assert "hostPath" not in text
    [settings] = [
        o["data"] for o in objects if o["kind"] == "ConfigMap" and "JOB_KUBE_ANNOTATIONS" in o.get("data", {})
    ]
    assert settings["JOB_KUBE_ANNOTATIONS"] == "cluster-autoscaler.kubernetes.io/safe-to-evict=false"
    assert settings["SECRET_PERSISTENCE"] == ""
    assert {v for k, v in settings.items() if k.startswith("STORAGE_BUCKET")} == {"acme-data-airbyte"}
