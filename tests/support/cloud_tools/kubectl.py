"""`kubectl`: renders with the real one, takes what the real API would take, and says which deployments come up."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.cloud_tools.arguments import Call, Refused
from tests.support.cloud_tools.cloud import Cloud
from tests.support.cloud_tools.line import Forward, Gone
from tests.support.cloud_tools.readiness import missing_keys, why_not_available
from tests.support.kubernetes_schema import errors

Json = dict[str, Any]
REAL = shutil.which("kubectl") or "kubectl"
DATA = re.compile(r"\{\.data\.([\w-]+)\}")
DURATION = re.compile(r"\d+[smh]")


def answer(cloud: Cloud, call: Call) -> str:
    """Carry out a call, of any command but `port-forward`."""
    _reach(cloud)
    return HANDLERS[call.command.removeprefix("kubectl ")](cloud, call)


def _reach(cloud: Cloud) -> None:
    """Refuse without the cluster's credentials, or from a network that its API does not know."""
    if not cloud.cluster.reachable:
        raise Refused("The connection to the server localhost:8080 was refused - did you specify the right host?")
    if not cloud.terraform["variables"]["operators"]:
        raise Refused("Unable to connect to the server: dial tcp: i/o timeout")


def namespace(call: Call) -> str:
    return call.one("-n", "--namespace", default="default")


def apply(cloud: Cloud, call: Call) -> str:
    if call.has("-k", "--kustomize"):
        rendered = render(call.folder / call.one("-k", "--kustomize"))
    else:
        rendered = call.stdin if call.one("-f") == "-" else (call.folder / call.one("-f")).read_text()
    documents = [d for d in yaml.safe_load_all(rendered) if d]
    for document in documents:
        _take(cloud, document)
    refresh_all(cloud)
    return "".join(f"{d['kind'].lower()}/{d['metadata']['name']} configured\n" for d in documents)


def render(folder: Path) -> str:
    """Render an overlay with the real program.

    Raises:
        Refused: it is refused.
    """
    process = subprocess.run([REAL, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if process.returncode:
        raise Refused(process.stderr.strip())
    return process.stdout


def _take(cloud: Cloud, document: Json) -> None:
    """Keep an object, as the API and its webhooks would."""
    kind, name = document["kind"], document["metadata"]["name"]
    place = document["metadata"].get("namespace", "")
    if kind == "Secret":
        data = {k: base64.b64decode(v).decode() for k, v in document["data"].items()}
        cloud.cluster.secrets[place, name] = data
        return
    if wrong := errors(document):
        raise Refused(f'Error from server (BadRequest): {kind} "{name}": {"; ".join(wrong)}')
    if document["apiVersion"].startswith("external-secrets.io/") and not _operator_answers(cloud):
        raise Refused(
            'Error from server (InternalError): failed calling webhook "validate.externalsecret.external-secrets.io":'
            ' no endpoints available for service "external-secrets-webhook"'
        )
    if place and kind != "Namespace" and ("Namespace", "", place) not in cloud.cluster.objects:
        raise Refused(f'Error from server (NotFound): namespaces "{place}" not found')
    account = document["metadata"].get("annotations", {}).get("iam.gke.io/gcp-service-account")
    if account and account not in cloud.terraform["accounts"]:
        raise Refused(f"ServiceAccount {name} stands for {account}, which does not exist")
    before = cloud.cluster.objects.get((kind, place, name))
    cloud.cluster.objects[kind, place, name] = document
    if kind == "Deployment" and before and before["spec"] != document["spec"]:
        cloud.restarted(name)


def _operator_answers(cloud: Cloud) -> bool:
    return bool(cloud.cluster.releases.get("external-secrets", {}).get("waited"))


def refresh(cloud: Cloud, external: Json) -> None:
    """Copy Secret Manager's values into the cluster, where store, project and region are right and all have one."""
    place = external["metadata"]["namespace"]
    store = cloud.cluster.objects[("SecretStore", place, external["spec"]["secretStoreRef"]["name"])]
    provider = store["spec"]["provider"]["gcpsm"]
    right = (cloud.project, cloud.region, "millrace")
    where = provider["auth"]["workloadIdentity"]
    if (provider["projectID"], where["clusterLocation"], where["clusterName"]) == right and not missing_keys(
        cloud, external
    ):
        values = {d["secretKey"]: cloud.secrets.read(d["remoteRef"]["key"]) for d in external["spec"]["data"]}
        cloud.cluster.secrets[place, external["spec"]["target"]["name"]] = values


def refresh_all(cloud: Cloud) -> None:
    for (kind, _, _), document in list(cloud.cluster.objects.items()):
        if kind == "ExternalSecret":
            refresh(cloud, document)


def wait(cloud: Cloud, call: Call) -> str:
    condition, place = call.one("--for"), namespace(call)
    if not DURATION.fullmatch(call.one("--timeout")):
        raise Refused(f"error: invalid argument {call.one('--timeout')!r} for --timeout")
    names = [word.split("/", 1)[1] for word in call.words if "/" in word]
    kind = call.words[0].split("/")[0]
    if call.has("--all"):
        kinds = {"deployment": "Deployment", "externalsecret": "ExternalSecret"}
        names = [
            name for object_kind, where, name in cloud.cluster.objects if (object_kind, where) == (kinds[kind], place)
        ]
    if not names:
        raise Refused("error: no matching resources found")
    for name in names:
        if reason := _why_not(cloud, kind, place, name, condition):
            raise Refused(f"error: timed out waiting for the condition on {kind}s/{name}\n({reason})")
    return "".join(f"{kind}/{name} condition met\n" for name in names)


def _why_not(cloud: Cloud, kind: str, place: str, name: str, condition: str) -> str:
    """Return why an object never gets into a condition."""
    if kind == "deployment" and condition == "condition=Available":
        return why_not_available(cloud, place, name)
    if kind == "externalsecret" and condition == "condition=Ready":
        return "" if (place, name) in cloud.cluster.secrets else "SecretSyncedError"
    if kind == "managedcertificate" and condition == "jsonpath={.status.certificateStatus}=Active":
        domains = cloud.cluster.objects["ManagedCertificate", place, name]["spec"]["domains"]
        return "" if domains == [cloud.terraform["variables"]["domain"]] else f"FailedNotVisible {domains}"
    raise Refused(f"error: the stand-in knows no {condition} of a {kind}")


def restart(cloud: Cloud, call: Call) -> str:
    name = _deployment(cloud, call)
    cloud.restarted(name)
    return f"deployment.apps/{name} restarted\n"


def status(cloud: Cloud, call: Call) -> str:
    name = _deployment(cloud, call)
    if reason := why_not_available(cloud, namespace(call), name):
        raise Refused(f"error: deployment {name!r} exceeded its progress deadline\n({reason})")
    return f'deployment "{name}" successfully rolled out\n'


def _deployment(cloud: Cloud, call: Call) -> str:
    name = call.word(0, "deployment/NAME").removeprefix("deployment/")
    exists = ("Deployment", namespace(call), name) in cloud.cluster.objects
    if not exists and not (namespace(call) == "airbyte" and name in cloud.cluster.releases["airbyte"]["deployments"]):
        raise Refused(f'Error from server (NotFound): deployments.apps "{name}" not found')
    return name


def annotate(cloud: Cloud, call: Call) -> str:
    kind, name = call.word(0, "TYPE"), call.word(1, "NAME")
    external = cloud.cluster.objects.get(("ExternalSecret", namespace(call), name))
    if kind != "externalsecret" or external is None:
        raise Refused(f'Error from server (NotFound): {kind} "{name}" not found')
    if not call.has("--overwrite"):
        raise Refused("error: --overwrite is false but found an annotation with the same name")
    refresh(cloud, external)
    return ""


def get(cloud: Cloud, call: Call) -> str:
    name = call.word(1, "NAME")
    shown = call.one("-o", "--output")
    values = cloud.cluster.secrets.get((namespace(call), name))
    key = DATA.fullmatch(shown.removeprefix("jsonpath="))
    if call.words[0] != "secret" or values is None or key is None:
        raise Refused(f'Error from server (NotFound): {call.words[0]} "{name}" not found ({shown})')
    return base64.b64encode(values.get(key[1], "").encode()).decode()


def create_namespace(cloud: Cloud, call: Call) -> str:
    name = call.word(0, "NAME")
    if ("Namespace", "", name) in cloud.cluster.objects:
        raise Refused(f'Error from server (AlreadyExists): namespaces "{name}" already exists')
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    cloud.cluster.objects["Namespace", "", name] = document
    return ""


def create_secret(cloud: Cloud, call: Call) -> str:
    name, place = call.word(0, "NAME"), namespace(call)
    pairs = [literal.split("=", 1) for literal in call.options.get("--from-literal", [])]
    for file in call.options.get("--from-file", []):
        key, path = file.split("=", 1)
        pairs.append([key, (call.folder / path).read_text()])
    data = {key: base64.b64encode(value.encode()).decode() for key, value in pairs}
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": place}, "data": data}
    if call.has("--dry-run"):
        return json.dumps(document)
    if (place, name) in cloud.cluster.secrets:
        raise Refused(f'Error from server (AlreadyExists): secrets "{name}" already exists')
    if ("Namespace", "", place) not in cloud.cluster.objects:
        raise Refused(f'Error from server (NotFound): namespaces "{place}" not found')
    _take(cloud, document)
    return ""


def forward(cloud: Cloud, call: Call, gone: Gone, start: Forward) -> str:
    """Forward a port to a service until the caller or the service's pod ends."""
    _reach(cloud)
    service, port = call.word(0, "TYPE/NAME").removeprefix("svc/"), int(call.word(1, "PORT").split(":")[0])
    place = namespace(call)
    if ("Service", place, service) not in cloud.cluster.objects and service not in cloud.cluster.releases.get(
        place, {}
    ).get("services", ()):
        raise Refused(f'Error from server (NotFound): services "{service}" not found')
    if place == "millrace" and (reason := why_not_available(cloud, place, service)):
        raise Refused(f"error: unable to forward port because pod is not running. ({reason})")
    cloud.serve(service, lambda target: start(port, target), gone)
    raise Refused("error: lost connection to pod")


HANDLERS = {
    "annotate": annotate,
    "apply": apply,
    "create namespace": create_namespace,
    "create secret generic": create_secret,
    "get": get,
    "rollout restart": restart,
    "rollout status": status,
    "wait": wait,
}
