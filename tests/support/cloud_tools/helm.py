"""`helm`: repositories and releases. Airbyte's values are held against the cluster that Terraform makes."""

import re
from typing import Any

import yaml

from tests.support.cloud_tools.arguments import Call, Refused
from tests.support.cloud_tools.cloud import Cloud

Json = dict[str, Any]
# The deployments and the service that the chart airbyte 2.2.0 makes for a release `airbyte`, as `helm template` gives.
DEPLOYMENTS = ("airbyte-server", "airbyte-worker", "airbyte-workload-launcher", "airbyte-workload-api-server")
SERVICES = ("airbyte-airbyte-server-svc", "airbyte-workload-api-server-svc")
GENERATED = ("instance-admin-client-id", "instance-admin-client-secret")


def answer(cloud: Cloud, call: Call) -> str:
    """Carry out a call."""
    return {"helm repo add": add_repository, "helm upgrade": upgrade}[call.command](cloud, call)


def add_repository(cloud: Cloud, call: Call) -> str:
    url = call.word(1, "URL")
    if not re.fullmatch(r"https://[\w./-]+", url):
        raise Refused(f"Error: could not find protocol handler for {url}")
    cloud.helm_repositories[call.word(0, "NAME")] = url
    return ""


def upgrade(cloud: Cloud, call: Call) -> str:
    """Install or upgrade a release."""
    release, chart = call.word(0, "RELEASE"), call.word(1, "CHART")
    place = call.one("-n", "--namespace", default="default")
    if not call.has("--version"):
        raise Refused(f"{chart} without a version is another one some day")
    repository = chart.split("/")[0]
    if repository not in cloud.helm_repositories:
        raise Refused(f"Error: repo {repository} not found")
    if not cloud.cluster.reachable:
        raise Refused("Error: Kubernetes cluster unreachable")
    if release not in cloud.cluster.releases and not call.has("--install", "-i"):
        raise Refused(f'Error: UPGRADE FAILED: "{release}" has no deployed releases')
    if ("Namespace", "", place) not in cloud.cluster.objects:
        if not call.has("--create-namespace"):
            raise Refused(f'Error: create: failed to create: namespaces "{place}" not found')
        cloud.cluster.objects["Namespace", "", place] = {"kind": "Namespace", "metadata": {"name": place}}
    values: Json = {}
    for file in call.options.get("--values", []) + call.options.get("-f", []):
        values = merged(values, yaml.safe_load((call.folder / file).read_text()))
    cloud.cluster.releases[release] = {"waited": call.has("--wait"), "version": call.one("--version", default="")}
    if release == "airbyte":
        _airbyte(cloud, values)
    return f'Release "{release}" has been upgraded. Happy Helming!\n'


def merged(first: Json, second: Json) -> Json:
    """Return values as Helm merges files: deeply, the last wins."""
    both = first | second
    return both | {
        key: merged(first[key], second[key])
        for key in first.keys() & second.keys()
        if isinstance(first[key], dict) and isinstance(second[key], dict)
    }


def _airbyte(cloud: Cloud, values: Json) -> None:
    if wrong := why_airbyte_does_not_start(cloud, values):
        raise Refused(f"Error: UPGRADE FAILED: timed out waiting for the condition ({wrong})")
    cloud.cluster.releases["airbyte"] |= {"deployments": DEPLOYMENTS, "services": SERVICES}
    cloud.cluster.secrets.setdefault(("airbyte", "airbyte-auth-secrets"), {k: f"made-{k}" for k in GENERATED})


def why_airbyte_does_not_start(cloud: Cloud, values: Json) -> str:
    """Return what keeps Airbyte's pods from running with these values; '' when nothing does."""
    settings = values["global"]
    if "cloud.google.com/gke-nodepool" in str(settings["jobs"]):
        return "GKE Warden: Key 'cloud.google.com/gke-nodepool' is not allowed with node selector on Autopilot"
    database, storage = settings["database"], settings["storage"]
    secret = cloud.cluster.secrets.get(("airbyte", database["secretName"]), {})
    replica = database.get("replica", {})
    keys = [login.get(f"{part}SecretKey") for login in (database, replica) for part in ("user", "password")]
    for key in (*keys, storage["gcs"]["credentialsJsonSecretKey"]):
        if key not in secret:
            key = key or "CONFIG_DATABASE_REPLICA_USER"
            return f"CreateContainerConfigError: couldn't find key {key} in Secret airbyte/{database['secretName']}"
    host = database.get("host")
    databases = [i for i in cloud.databases.values() if i["address"] == host]
    if (
        not databases
        or databases[0]["users"].get(secret[database["userSecretKey"]]) != secret[database["passwordSecretKey"]]
    ):
        return f"airbyte-bootloader: no database at {host} that knows the user"
    if missing := sorted(set(storage.get("bucket", {"": "airbyte-bucket"}).values()) - set(cloud.buckets)):
        return f"the bucket {missing[0]} does not exist"
    if not any(key in secret[storage["gcs"]["credentialsJsonSecretKey"]] for key in cloud.keys):
        return "the service account's key is unknown"
    return ""
