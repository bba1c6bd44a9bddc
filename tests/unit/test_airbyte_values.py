"""Airbyte's Helm values name only keys that the pinned chart has, and hold no secret."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from local.servers.rights.hcl import read_module
from tests.support.cloud_tools.helm import merged
from tests.support.cloud_tools.terraform import value_of
from tests.support.servers import ROOT

FOLDER = ROOT / "k8s" / "airbyte"
# Read in the chart's values.yaml and templates at 2.2.0; a key that is added here is looked up there first.
CHECKED = """
global: edition airbyteUrl auth.enabled cloudSqlProxy.enabled tracking.enabled
global.database: type secretName host port name userSecretKey passwordSecretKey
global.database.replica: userSecretKey passwordSecretKey
global.storage: type secretName gcs.credentialsJsonSecretKey
global.storage.bucket: log auditLogging state workloadOutput activityPayload
global.secretsManager: enabled
global.jobs.kube: annotations
global.workloads.resources: useConnectorResourceDefaults mainContainer.cpu mainContainer.memory check.cpu check.memory
global.workloads.resources: discover.cpu discover.memory replication.cpu replication.memory
postgresql: enabled
minio: enabled
worker: replicaCount maxSyncWorkers maxCheckWorkers resources
workloadLauncher: replicaCount resources
server: resources
temporal: resources
"""
WHOLE = {"annotations", "resources", "cpu", "memory"}  # everything below them belongs to Kubernetes


def keys(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        whole = f"{path}.{name}" if path else name
        if isinstance(value, dict) and (name not in WHOLE or whole == "global.workloads.resources"):
            yield from keys(value, whole)
        else:
            yield whole


def values() -> dict[str, Any]:
    """Return the values of the file, and those that Terraform's output adds."""
    [output] = [b for b in read_module(ROOT / "terraform").of("output") if b.labels == ("airbyte_values",)]
    text = value_of(output, {"project": "p", "region": "r", "service_accounts": {}})
    return merged(yaml.safe_load((FOLDER / "values.yaml").read_text()), yaml.safe_load(text))


def test_values_use_keys_of_the_chart() -> None:
    lines = (line.split(": ") for line in CHECKED.strip().splitlines())
    checked = {f"{parent}.{name}" for parent, names in lines for name in names.split()}
    assert set(keys(values())) == checked


def test_values_hold_no_secret_and_pin_the_chart() -> None:
    text = (FOLDER / "values.yaml").read_text()
    assert not re.search(r"^\s*(password|user|credentialsJson|accessKey\w*|clientSecret):", text, re.MULTILINE)
    page = (ROOT / "docs" / "deploy.md").read_text()
    assert re.findall(r"\b2\.\d+\.\d+\b", text) == re.findall(r"airbyte/airbyte --version=(\S+)", page) == ["2.2.0"]


def test_job_pods_run_on_autopilot_and_have_sizes() -> None:
    settings = values()["global"]
    assert settings["jobs"]["kube"] == {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}}
    sizes = settings["workloads"]["resources"]
    for container in ("mainContainer", "check", "discover", "replication"):
        assert set(sizes[container]["cpu"]) == set(sizes[container]["memory"]) == {"request", "limit"}
