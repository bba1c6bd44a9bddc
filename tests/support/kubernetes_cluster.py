"""A cluster's jobs and pods: a Job is checked strictly, and the command of its pod's container is run as a process of
this machine, until it ends, is deleted or is killed.
"""

import asyncio
import contextlib
import json
import os
import sys
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

from local.servers.rights.kubernetes import make_account_token, user_of
from local.servers.rights.policy import Policy
from tests.support.kubernetes_schema import errors
from tests.support.servers import ROOT

Json = dict[str, Any]
GRACE_S = 20


@dataclass
class Cluster:
    """The objects of a cluster; pods may refer to `secrets` and `settings`."""

    port: int
    folder: Path
    policy: Policy
    secrets: dict[str, dict[str, str]]
    settings: dict[str, dict[str, str]]
    environment: dict[str, str]
    objects: dict[str, dict[str, Json]] = field(default_factory=lambda: {"jobs": {}, "pods": {}})
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    version: int = 1
    watchers: list[tuple[str, "asyncio.Queue[Json]"]] = field(default_factory=list)

    def kubeconfig(self, user: str) -> Path:
        """Write the kubeconfig of `user` (namespace/service account) for this API."""
        token = make_account_token(user_of(*user.split("/")))
        path = self.folder / f"{user.replace('/', '-')}.yaml"
        context = {"cluster": "c", "user": "u", "namespace": "millrace-flows"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": context}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def notify(self, resource: str, kind: str, obj: Json) -> None:
        """Give an object a new version, and send it to the watchers."""
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        for watched, queue in self.watchers:
            if watched == resource:
                queue.put_nowait({"type": kind, "object": json.loads(json.dumps(obj))})

    def kill(self, flow_run_id: str) -> None:
        """Kill a run's container as the kernel does that lacks memory."""
        for name, pod in self.objects["pods"].items():
            if pod["metadata"]["labels"].get("prefect.io/flow-run-id") == flow_run_id and name in self.processes:
                kill_container(self.processes[name].pid)

    def jobs(self, flow_run_id: str) -> list[Json]:
        return [
            j
            for j in self.objects["jobs"].values()
            if j["metadata"]["labels"].get("prefect.io/flow-run-id") == flow_run_id
        ]

    def log(self) -> list[Json]:
        """Return the JSON lines that all containers wrote."""
        lines = [line for path in sorted(self.folder.glob("*.log")) for line in path.read_text().splitlines()]
        return [json.loads(line) for line in lines if line.startswith("{")]

    async def create(self, namespace: str, job: Json) -> tuple[int, Json]:
        """A new job, whose pod starts at once."""
        strict = json.loads(json.dumps(job))
        pod = strict.get("spec", {}).get("template", {}).get("spec", {})
        pod.pop("parallelism", None), pod.pop("completions", None)  # the worker puts them where Kubernetes ignores them
        if problems := errors(strict):
            self.wrong += problems
            return 422, {"kind": "Status", "status": "Failure", "code": 422, "message": "; ".join(problems)}
        name = job["metadata"].pop("generateName") + uuid.uuid4().hex[:5]
        job["metadata"] |= {"name": name, "namespace": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": now()}
        job["status"] = {"active": 1, "startTime": now()}
        self.objects["jobs"][name] = job
        self.notify("jobs", "ADDED", job)
        pod = pod_of(job)
        self.objects["pods"][f"{name}-0"] = pod
        self.notify("pods", "ADDED", pod)
        asyncio.get_running_loop().create_task(self.run(job, pod))
        return 201, job

    def variables(self, pod: Json) -> dict[str, str]:
        """Return the container's environment, with references resolved."""
        [container] = pod["spec"]["containers"]
        values: dict[str, str] = {}
        for source in container.get("envFrom", []):
            values |= self.settings[source["configMapRef"]["name"]]
        for entry in container["env"]:
            reference = entry.get("valueFrom", {}).get("secretKeyRef")
            values[entry["name"]] = self.secrets[reference["name"]][reference["key"]] if reference else entry["value"]
        return self.environment | values

    async def run(self, job: Json, pod: Json) -> None:
        """The container, to its end."""
        name, [container] = pod["metadata"]["name"], pod["spec"]["containers"]
        with (self.folder / f"{name}.log").open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *container["args"],
                env=self.variables(pod),
                cwd=ROOT,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes[name] = process
        pod["status"] = {
            "phase": "Running",
            "startTime": now(),
            "containerStatuses": [status(container, {"running": {}})],
        }
        self.notify("pods", "MODIFIED", pod)
        code = await process.wait()
        code = 128 - code if code < 0 else code
        ended = {"terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "finishedAt": now()}}
        pod["status"] |= {"phase": "Failed" if code else "Succeeded", "containerStatuses": [status(container, ended)]}
        if name in self.objects["pods"]:
            self.notify("pods", "MODIFIED", pod)
        condition = {"type": "Failed" if code else "Complete", "status": "True", "lastTransitionTime": now()}
        job["status"] = {"failed" if code else "succeeded": 1, "conditions": [condition], "completionTime": now()}
        if job["metadata"]["name"] in self.objects["jobs"]:
            self.notify("jobs", "MODIFIED", job)

    async def delete(self, name: str) -> Json | None:
        """End a job: its container has a while to end, then it is killed."""
        job = self.objects["jobs"].pop(name, None)
        if job is None:
            return None
        asyncio.get_running_loop().create_task(self._end(job))
        return job

    async def _end(self, job: Json) -> None:
        pod_name = f"{job['metadata']['name']}-0"
        process = self.processes.get(pod_name)
        if process and process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), GRACE_S)
            except TimeoutError:
                kill_container(process.pid)
        if pod := self.objects["pods"].pop(pod_name, None):
            self.notify("pods", "DELETED", pod)
        self.notify("jobs", "DELETED", job)

    def end(self) -> None:
        """Kill all running processes."""
        for process in self.processes.values():
            if process.returncode is None:
                kill_container(process.pid)


def kill_container(pid: int) -> None:
    """Kill a process and all that it started, as happens when a container is killed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        container = psutil.Process(pid)
        container.suspend()  # else it reports the death of its children
        for process in [*container.children(recursive=True), container]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def pod_of(job: Json) -> Json:
    """The pod that a job's controller makes."""
    name, template = job["metadata"]["name"], job["spec"]["template"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
    labels = template["metadata"].get("labels", {}) | {"job-name": name, "batch.kubernetes.io/job-name": name}
    metadata = {
        "name": f"{name}-0",
        "namespace": job["metadata"]["namespace"],
        "uid": str(uuid.uuid4()),
        "labels": labels,
        "creationTimestamp": now(),
        "ownerReferences": [owner],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template["spec"],
        "status": {"phase": "Pending"},
    }


def status(container: Json, state: Json) -> Json:
    """A container's status."""
    own = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False, "restartCount": 0}
    return own | {"state": state}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def container_environment(**extra: str) -> dict[str, str]:
    """Return a container's environment: the image's programs, without the machine's settings."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {"PATH": programs, "PYTHONPATH": str(ROOT), "HOME": os.environ.get("HOME", "/"), **extra}
