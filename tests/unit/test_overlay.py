"""The overlay `gke`: one file holds all that differs between projects; pool, quota and image agree with what runs."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings.models.worker import WorkerSettings

from cli.deploy.deployments import IMAGE_FOLDER, project_folder
from cli.deploy.pools import load_pools
from millrace.domain.errors import SettingsError
from millrace.settings import Settings
from millrace.worker.server import GRACE_S
from millrace.worker.warm_worker import END_S, WarmWorker
from tests.support.servers import ROOT
from tests.unit.test_kubernetes import K8S, documents, of_kind, pod, settings_of

DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
CPU = {"m": 0.001, "": 1}
WARM = "gke-warm"
BYTES = {"Mi": 1 / 1024, "Gi": 1, "M": 1 / 1074, "G": 1 / 1.074}


def amount(text: str, units: dict[str, float]) -> float:
    """Return a quantity of Kubernetes in CPUs or GiB."""
    match = re.fullmatch(r"([\d.]+)(\w*)", text)
    assert match
    return float(match[1]) * units[match[2]]


def largest(name: str, units: dict[str, float]) -> float:
    """Return the most that a run of the pool `gke` asks for, by the pool's default and the deployments' own."""
    template = load_pools(settings_of("gke"))["gke"]["base_job_template"]
    default = template["variables"]["properties"][name]["default"]
    in_gke = [d["work_pool"].get("job_variables", {}) for d in DEPLOYMENTS]  # the model too, with `model_in_cluster`
    return max(amount(variables.get(name, default), units) for variables in in_gke)


def test_quota_holds_a_full_pool_of_largest_runs() -> None:
    [quota] = of_kind(documents("files"), "ResourceQuota")
    hard = quota["spec"]["hard"]
    runs = load_pools(settings_of("gke"))["gke"]["concurrency_limit"]
    spare = 1.1  # pods that are ending count until they have ended
    assert amount(hard["requests.cpu"], CPU) >= spare * runs * largest("cpu", CPU)
    assert amount(hard["requests.memory"], BYTES) >= spare * runs * largest("memory", BYTES)
    assert int(hard["pods"]) >= spare * runs


def prefetch_s(worker: dict[str, Any]) -> float:
    """Return how long before its time a worker takes a run; the option of its manifest, or Prefect's default."""
    [container] = pod(worker)["containers"]
    arguments, name = container["args"], "--prefetch-seconds"
    given = {e["name"]: e.get("value") for e in container.get("env", [])}.get("PREFECT_WORKER_PREFETCH_SECONDS")
    option = arguments[arguments.index(name) + 1] if name in arguments else None
    return float(option or given or WorkerSettings.model_fields["prefetch_seconds"].default)


def query_s(worker: dict[str, Any]) -> float:
    """Return how often a worker looks for runs."""
    [container] = pod(worker)["containers"]
    return float({e["name"]: e.get("value") for e in container["env"]}["PREFECT_WORKER_QUERY_SECONDS"])


def test_prefetch_agrees_with_pools() -> None:
    objects = [*documents("files"), *yaml.safe_load_all((K8S / "overlays/gke/worker-cloud-run.yaml").read_text())]
    workers = [o for o in of_kind(objects, "Deployment") if o["metadata"]["name"].startswith("worker-")]
    settings, pools = settings_of("gke"), load_pools(settings_of("gke"))
    waits = pools["gke"]["base_job_template"]["job_configuration"]["pod_watch_timeout_seconds"]
    stuck = yaml.safe_load((ROOT / "automations" / "stuck_runs.yaml").read_text())["trigger"]["within"]
    assert {pod(w)["containers"][0]["args"][4] for w in workers} == {*pools, WARM}
    for worker in workers:
        early = prefetch_s(worker)
        assert query_s(worker) <= 2, "the landing waits for it twice, before the merge and before the model run"
        assert early <= 10, "a run that is taken early holds a slot of its pool and a pod, and only waits"
        assert early + waits < min(stuck, settings.reconcile.pending_s), "a pod that waits for its node is no dead run"
        assert "--limit" not in pod(worker)["containers"][0]["args"], "the pool's concurrency_limit is the only one"


def warm_settings() -> Settings:
    """Return the settings of a project whose runs are in the warm pool."""
    settings = settings_of("gke")
    return settings.model_copy(update={"pools": settings.pools.model_copy(update={"default": WARM, "dbt": WARM})})


def warm_worker() -> dict[str, Any]:
    """Return the pod of the warm worker."""
    [worker] = [o for o in documents("files") if o["metadata"]["name"] == "worker-warm"]
    return pod(worker)


def test_warm_pod_holds_a_full_pool_and_drains_in_its_grace_period() -> None:
    settings = warm_settings()
    pool = load_pools(settings)[WARM]
    limit = pool["base_job_template"]["variables"]["properties"]["memory_limit"]["default"]
    [container] = warm_worker()["containers"]
    held = amount(container["resources"]["limits"]["memory"], BYTES)
    assert held >= pool["concurrency_limit"] * amount(limit, BYTES)
    assert warm_worker()["terminationGracePeriodSeconds"] >= settings.pools.drain_s + END_S + GRACE_S
    assert settings.pools.drain_s > 0


def test_warm_worker_has_the_pool_type_and_the_identity_of_runs() -> None:
    pool = load_pools(warm_settings())[WARM]
    assert WarmWorker.type == pool["type"]
    [container] = warm_worker()["containers"]
    assert container["args"][4:7] == [WARM, "--type", WarmWorker.type]
    job = load_pools(settings_of("gke"))["gke"]["base_job_template"]["job_configuration"]["job_manifest"]
    assert warm_worker()["serviceAccountName"] == job["spec"]["template"]["spec"]["serviceAccountName"]
    assert project_folder(warm_settings()) == IMAGE_FOLDER == warm_directory(pool)


def warm_directory(pool: dict[str, Any]) -> str:
    return str(pool["base_job_template"]["job_configuration"]["working_dir"])


def test_warm_worker_polls_at_once() -> None:
    """Its runs start in milliseconds; Prefect's defaults would add up to ten seconds."""
    [container] = warm_worker()["containers"]
    polls = {e["name"]: e.get("value") for e in container["env"]}["PREFECT_WORKER_QUERY_SECONDS"]
    [worker] = [o for o in documents("files") if o["metadata"]["name"] == "worker-warm"]
    assert (float(polls), prefetch_s(worker)) == (1, 1)


def test_scratch_fits_an_autopilot_pod() -> None:
    assert (
        largest("scratch", BYTES) <= 10
    )  # https://cloud.google.com/kubernetes-engine/docs/concepts/autopilot-resource-requests


def test_runs_in_a_pod_find_the_code_in_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_PROJECT_DIR", "/home/someone/millrace")
    assert project_folder(settings_of("gke")) == IMAGE_FOLDER
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"MILLRACE_PROJECT_DIR={IMAGE_FOLDER} " in dockerfile
    assert f"WORKDIR {IMAGE_FOLDER}\n" in dockerfile


def test_process_pools_find_the_code_in_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of("gke")
    monkeypatch.delenv("MILLRACE_PROJECT_DIR", raising=False)
    laptop = settings.model_copy(update={"pools": settings.pools.model_copy(update={"default": "a", "dbt": "b"})})
    assert project_folder(laptop) == str(ROOT)


def test_pools_of_two_kinds_are_refused() -> None:
    settings = settings_of("gke")
    mixed = settings.model_copy(update={"pools": settings.pools.model_copy(update={"default": "laptop"})})
    with pytest.raises(SettingsError, match=r"pool 'cloud-run' find the code in an image .* 'laptop' on a machine"):
        project_folder(mixed)


def test_every_program_of_a_pod_exists() -> None:
    commands = [c["args"] for w in of_kind(documents("files"), "Deployment") for c in pod(w)["containers"]]
    assert len(commands) == 5
    modules = [args[args.index("-m") + 1] for args in commands if args[0] == "python"]
    assert modules == ["millrace.gateway"]
    assert importlib.util.find_spec(f"{modules[0]}.__main__")
    assert {args[0] for args in commands} == {"python", "prefect"}


def test_names_are_asked_of_every_dns_of_gke() -> None:
    [policy] = [p for p in of_kind(documents("files"), "NetworkPolicy") if p["metadata"]["name"] == "names"]
    blocks = {to["ipBlock"]["cidr"] for rule in policy["spec"]["egress"] for to in rule["to"] if "ipBlock" in to}
    assert blocks == {"169.254.20.10/32", "169.254.169.254/32"}  # NodeLocal DNSCache, Cloud DNS


EXAMPLE = {"millrace-example": "acme-data", "europe-west1": "us-central1", "gateway.example.com": "push.acme.dev"}


@pytest.fixture
def another(tmp_path: Path) -> list[Any]:
    """Return the overlay's objects with the settings of another project, region, domain and tag."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed: the overlay was not rendered for another project")
    shutil.copytree(K8S, tmp_path / "k8s")
    file = tmp_path / "k8s" / "overlays" / "gke" / "settings.env"
    text = file.read_text().replace(":0.1.0", ":2.0.0")
    for old, new in EXAMPLE.items():
        text = text.replace(old, new)
    file.write_text(text)
    rendered = subprocess.run(["kubectl", "kustomize", str(file.parent)], capture_output=True, text=True, check=False)
    assert rendered.returncode == 0, rendered.stderr
    return list(yaml.safe_load_all(rendered.stdout))


def test_settings_alone_make_another_project(another: list[Any]) -> None:
    left = [o["metadata"]["name"] for o in another if re.search("|".join(EXAMPLE), str(o))]
    assert left == []
    stores = [o["spec"]["provider"]["gcpsm"] for o in another if o["kind"] == "SecretStore"]
    assert [s["projectID"] for s in stores] == ["acme-data"] * 2
    assert {s["auth"]["workloadIdentity"]["clusterLocation"] for s in stores} == {"us-central1"}
    images = {c["image"] for o in of_kind(another, "Deployment") for c in pod(o)["containers"]}
    assert images == {"us-central1-docker.pkg.dev/acme-data/millrace/flows:2.0.0"}
    [ingress] = of_kind(another, "Ingress")
    [certificate] = of_kind(another, "ManagedCertificate")
    assert ingress["spec"]["rules"][0]["host"] == "push.acme.dev"
    assert certificate["spec"]["domains"] == ["push.acme.dev"]


def test_every_watched_pod_is_deployed() -> None:
    alerts = yaml.safe_load((ROOT / "millrace" / "observability" / "alerts.yaml").read_text())
    watched = [
        re.findall(r'full_match\("([\w-]+)-\.\*"\)', alert["where"]) for alert in alerts["absences"] if "where" in alert
    ]
    always = [w for w in of_kind(documents("files"), "Deployment") if w.get("spec", {}).get("replicas") != 0]
    deployed = {w["metadata"]["name"] for w in always}  # a pod that a project may have is absent by default
    assert {name for names in watched for name in names} == deployed - {"gateway"}, "the gateway is seen from outside"
    for alert in alerts["alerts"]:
        assert ("above" in alert) != ("below" in alert), alert["name"]
