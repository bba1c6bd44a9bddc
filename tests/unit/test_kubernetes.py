"""The manifests: every key of every object is valid for Kubernetes, and none has a permission that it doesn't need."""

import json
import re
import shutil
import subprocess
from functools import lru_cache
from typing import Any

import pytest
import yaml

from cli.deploy.pools import load_pools
from millrace import cloud_names as cloud
from millrace.domain.errors import SettingsError
from millrace.settings import Settings, load_settings
from millrace.settings.tree import environment
from tests.support.kubernetes_schema import errors
from tests.support.servers import ROOT

K8S = ROOT / "k8s"
Json = dict[str, Any]
OVERLAYS = ("gke", "kind")
WORKLOADS = ("Deployment", "StatefulSet", "Job")
FILES = sorted(
    p
    for p in K8S.rglob("*.yaml")
    if p.name != "kustomization.yaml" and not {"pools", "airbyte", "replacements"} & set(p.parts)
)


@lru_cache
def rendered(overlay: str) -> list[Json]:
    """Objects of an overlay as kustomize gives them."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed: the files were checked one by one instead")
    completed = subprocess.run(
        ["kubectl", "kustomize", str(K8S / "overlays" / overlay)], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    return [document for document in yaml.safe_load_all(completed.stdout) if document]


def documents(place: str) -> list[Json]:
    """All objects of an overlay, or of all files as they are."""
    if place != "files":
        return rendered(place)
    return [document for path in FILES for document in yaml.safe_load_all(path.read_text())]


def of_kind(objects: list[Json], *kinds: str) -> list[Json]:
    return [o for o in objects if o["kind"] in kinds]


def pod(workload: Json) -> Json:
    spec: Json = workload["spec"]["template"]["spec"]
    return spec


everywhere = pytest.mark.parametrize("place", ["files", *OVERLAYS])


@everywhere
def test_every_object_is_valid_kubernetes(place: str) -> None:
    wrong = {f"{o['kind']} {o['metadata']['name']}": errors(o) for o in documents(place)}
    if place == "files":  # a patch is part of an object
        wrong = {name: [e for e in problems if not e.endswith("is required")] for name, problems in wrong.items()}
    assert {name: problems for name, problems in wrong.items() if problems} == {}
    assert len(wrong) > 15


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: pod(d)["containers"][0].update(readOnlyRoot=True), "readOnlyRoot: no such field"),
        (lambda d: pod(d)["containers"][0]["resources"].update(request={}), "resources.request: no such field"),
        (lambda d: pod(d).update(automountServiceAccountToken="false"), "expected bool, got 'false'"),
        (lambda d: pod(d)["containers"][0]["ports"][0].update(containerPort="4200"), "expected int, got '4200'"),
        (lambda d: pod(d)["containers"][0].pop("name"), "containers[0].name: is required"),
        (lambda d: d["spec"].pop("selector"), "Deployment.spec.selector: is required"),
        (lambda d: d.update(apiVersion="apps/v2"), "no such kind"),
    ],
)
def test_check_finds_what_kubernetes_rejects(change: Any, message: str) -> None:
    deployment = next(yaml.safe_load_all((K8S / "base" / "prefect-server.yaml").read_text()))
    assert errors(deployment) == []
    change(deployment)
    assert [e for e in errors(deployment) if message in e], errors(deployment)


def restricted(spec: Json) -> list[str]:
    """Return a pod's violations of Pod Security's `restricted` and of the project's own rules."""
    wrong, context = [], spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
        wrong.append("may run as root")
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        wrong.append("no seccomp profile")
    wrong += [key for key in ("hostNetwork", "hostPID", "hostIPC", "initContainers") if key in spec]
    for container in spec["containers"]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            wrong.append("may gain privileges")
        if own.get("readOnlyRootFilesystem") is not True:
            wrong.append("may write its root")
        if own.get("capabilities") != {"drop": ["ALL"]}:
            wrong.append("keeps capabilities")
        resources = container.get("resources", {})
        wrong += [f"requests no {k}" for k in ("cpu", "memory") if k not in resources.get("requests", {})]
        if resources.get("limits", {}).get("memory") != resources.get("requests", {}).get("memory"):
            wrong.append("may take more memory than it asked for")
        wrong += [f"{e['name']} holds a value" for e in container.get("env", []) if secret_in_plain(e)]
    volumes = {v["name"]: v for v in spec.get("volumes", [])}
    return wrong + [f"volume {name} is not an emptyDir" for name, v in volumes.items() if "emptyDir" not in v]


def secret_in_plain(variable: Json) -> bool:
    """Return True when a variable with the name of a secret has its value in git."""
    secret = any(word in variable["name"] for word in ("PASSWORD", "TOKEN", "API_KEY", "AUTH_STRING"))
    return (
        secret
        and "value" in variable
        and "SECRET_NAME" not in variable["name"]
        and "_SECRET_KEY" not in variable["name"]
    )


@everywhere
def test_every_pod_is_restricted(place: str) -> None:
    workloads = of_kind(documents(place), *WORKLOADS)
    assert {w["metadata"]["name"]: restricted(pod(w)) for w in workloads} == {
        w["metadata"]["name"]: [] for w in workloads
    }
    assert len(workloads) >= 4


@everywhere
def test_namespaces_are_restricted_and_closed(place: str) -> None:
    objects = documents(place)
    for namespace in of_kind(objects, "Namespace"):
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    denied = {
        p["metadata"].get("namespace", "both")
        for p in of_kind(objects, "NetworkPolicy")
        if p["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    }
    assert denied == ({"both"} if place == "files" else {"millrace", "millrace-flows"})


@everywhere
def test_only_the_worker_uses_the_kubernetes_api(place: str) -> None:
    objects = documents(place)
    assert of_kind(objects, "ClusterRole", "ClusterRoleBinding") == []
    rules = {(*r["apiGroups"], *r["resources"]): r["verbs"] for role in of_kind(objects, "Role") for r in role["rules"]}
    assert rules == {
        ("batch", "jobs"): ["create", "get", "list", "watch", "delete"],
        ("", "pods"): ["get", "list", "watch"],
    }
    subjects = [s for binding in of_kind(objects, "RoleBinding") for s in binding["subjects"]]
    assert subjects == [{"kind": "ServiceAccount", "name": "worker-kubernetes", "namespace": "millrace"}]
    mounted = [w["metadata"]["name"] for w in of_kind(objects, *WORKLOADS) if pod(w)["automountServiceAccountToken"]]
    assert mounted == ["worker-kubernetes"]
    accounts = of_kind(objects, "ServiceAccount")
    mounts = [
        a["automountServiceAccountToken"] for a in accounts if place != "files" or "automountServiceAccountToken" in a
    ]
    assert set(mounts) == {False}


def test_google_identities_match_terraform() -> None:
    bound = {
        (a["metadata"]["namespace"], a["metadata"]["name"]): a["metadata"]["annotations"][
            "iam.gke.io/gcp-service-account"
        ]
        for a in of_kind(documents("files"), "ServiceAccount")
        if "annotations" in a["metadata"]
    }
    project = settings_of("gke").events.project
    assert bound == {
        ("millrace-flows", "flow"): cloud.account_email(cloud.FLOW, project),
        ("millrace", "worker-cloud-run"): cloud.account_email(cloud.WORKER, project),
        ("millrace", "gateway"): cloud.account_email(cloud.GATEWAY, project),
        ("millrace", "secrets"): cloud.account_email(cloud.SECRETS, project),
        ("millrace-flows", "secrets"): cloud.account_email(cloud.SECRETS, project),
    }
    terraform = (ROOT / "terraform" / "main.tf").read_text()
    assert [f"{ns}/{name}" for ns, name in bound if f'"{ns}/{name}"' not in terraform] == []


def test_secrets_are_names_of_secret_manager() -> None:
    entries = [e for o in documents("files") if o["kind"] == "ExternalSecret" for e in o["spec"]["data"]]
    assert {e["remoteRef"]["key"] for e in entries} == set(cloud.PREFECT_SECRETS)
    assert of_kind(documents("files"), "Secret") == []


def test_internet_reaches_only_the_push_endpoint() -> None:
    [ingress] = of_kind(documents("files"), "Ingress")
    assert [
        (p["path"], p["backend"]["service"]["name"]) for r in ingress["spec"]["rules"] for p in r["http"]["paths"]
    ] == [("/push", "gateway")]
    balanced = [
        s for s in of_kind(documents("files"), "Service") if s.get("spec", {}).get("type", "ClusterIP") != "ClusterIP"
    ]
    assert [s["metadata"]["annotations"]["networking.gke.io/load-balancer-type"] for s in balanced] == ["Internal"]


def test_gateway_probes_match_its_routes() -> None:
    from contextlib import nullcontext

    from millrace.gateway.app import Health, build_app

    routes = {route.path for route in build_app(Health(None), None, None, nullcontext).routes}  # type: ignore[arg-type, attr-defined]
    objects = documents("files")
    (deployed,) = [o for o in of_kind(objects, "Deployment") if o["metadata"]["name"] == "gateway"]
    (container,) = pod(deployed)["containers"]
    probes = [container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")]
    probes += [o["spec"]["healthCheck"]["requestPath"] for o in of_kind(objects, "BackendConfig")]
    assert len(probes) == 3
    assert set(probes) == routes


def settings_of(overlay: str) -> Settings:
    """The settings that an overlay's pods have."""
    lines = (K8S / "overlays" / overlay / "settings.env").read_text().splitlines()
    with pytest.MonkeyPatch.context() as patch:
        for line in lines:
            name, _, value = line.partition("=")
            patch.setenv(name, value)
        return load_settings()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_settings_are_valid(overlay: str) -> None:
    settings = settings_of(overlay)
    assert "PROJECT" not in json.dumps(settings.model_dump(include={"lake", "events", "gateway", "pools"}))


def test_settings_round_trip_through_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of("gke")
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_pool_names_its_missing_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of("gke")
    lacking = settings.model_copy(update={"pools": settings.pools.model_copy(update={"image": ""})})
    with pytest.raises(SettingsError, match=r"gke\.yaml: pools\.image is not set"):
        load_pools(lacking)


def test_pool_job_is_restricted_and_valid() -> None:
    template = load_pools(settings_of("gke"))["gke"]["base_job_template"]
    job = filled(template)
    spec = pod(job)
    assert (spec.pop("parallelism"), spec.pop("completions")) == (1, 1)  # asked for here by the worker
    assert errors(job) == []
    assert restricted(spec) == []
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["activeDeadlineSeconds"] == 14_400
    assert "envFrom" not in spec["containers"][0], "settings change with the image, in one update of the pool"
    settings = template["variables"]["properties"]["env"]["default"]
    assert settings == environment(settings_of("gke")) | {"GOOGLE_CLOUD_PROJECT": "millrace-example"}


def filled(template: Json) -> Json:
    """A pool's Job with the defaults of its variables."""
    variables = {"name": "run", "labels": {}, "annotations": {}, "env": [], "command": ["prefect"]}
    defaults = {k: v.get("default") for k, v in template["variables"]["properties"].items()} | variables

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: fill(v) for k, v in value.items()}
        if isinstance(value, list):
            return [fill(v) for v in value]
        if isinstance(value, str) and value.startswith("{{ ") and value.endswith(" }}"):
            return defaults[value[3:-3]]
        return value.replace("{{ name }}", "run") if isinstance(value, str) else value

    job: Json = fill(template["job_configuration"]["job_manifest"])
    return job


def test_pod_heartbeat_satisfies_the_watchdog() -> None:
    beat_s = re.search(r"PREFECT_FLOWS_HEARTBEAT_FREQUENCY=(\d+)", (ROOT / "Dockerfile").read_text())
    watchdog = yaml.safe_load((ROOT / "automations" / "zombie_runs.yaml").read_text())
    assert beat_s
    assert watchdog["trigger"]["within"] >= 3 * int(beat_s[1])  # Prefect's own default is three minutes
