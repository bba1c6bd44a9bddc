"""A small Kubernetes API: jobs and their pods, for a real worker. It checks each Job strictly, lets nobody do what our
Roles don't, and runs a container's command as a process of this machine.
"""

import asyncio
import contextlib
import json
import os
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import yaml
from aiohttp import web

from tests.support.kubernetes_schema import errors
from tests.support.servers import ROOT

Json = dict[str, Any]
GRACE_S = 20
KINDS = {"jobs": "batch/v1", "pods": "v1"}


@dataclass
class Cluster:
    """The objects of a cluster; pods may refer to `secrets` and `settings`."""

    port: int
    folder: Path
    roles: list[Json]
    secrets: dict[str, dict[str, str]]
    settings: dict[str, dict[str, str]]
    environment: dict[str, str]
    objects: dict[str, dict[str, Json]] = field(default_factory=lambda: {"jobs": {}, "pods": {}})
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    version: int = 1
    watchers: list[tuple[str, "asyncio.Queue[Json]"]] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop | None = None

    def kubeconfig(self, user: str) -> Path:
        """Write the kubeconfig of `user` (namespace/service account) for this API."""
        path = self.folder / f"{user.replace('/', '-')}.yaml"
        context = {"cluster": "c", "user": "u", "namespace": "millrace-flows"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "u", "user": {"token": user}}],
            "contexts": [{"name": "x", "context": context}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def allows(self, user: str, verb: str, namespace: str, resource: str, group: str) -> bool:
        """Return True when a Role that is bound to the account grants the verb."""
        for binding in (
            o for o in self.roles if o["kind"] == "RoleBinding" and o["metadata"]["namespace"] == namespace
        ):
            if f"{binding['subjects'][0]['namespace']}/{binding['subjects'][0]['name']}" != user:
                continue
            [role] = [
                o for o in self.roles if o["kind"] == "Role" and o["metadata"]["name"] == binding["roleRef"]["name"]
            ]
            for rule in role["rules"]:
                if group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]:
                    return True
        return False

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
        pod = strict["spec"]["template"]["spec"]
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


def application(cluster: Cluster) -> web.Application:
    """The API's routes."""

    async def namespaced(request: web.Request) -> web.StreamResponse:
        resource, name = request.match_info["resource"], request.match_info.get("name", "")
        namespace, watch = request.match_info["namespace"], request.query.get("watch") in ("true", "True", "1")
        group = "batch" if "/apis/batch/" in request.path else ""
        verb = {"POST": "create", "DELETE": "delete", "PATCH": "patch"}.get(request.method, "get" if name else "list")
        verb = "watch" if watch else verb
        user = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not cluster.allows(user, verb, namespace, resource, group):
            cluster.refused.append(f"{user} {verb} {resource} in {namespace}")
            return failure(
                403, "Forbidden", f'{resource} is forbidden: User "{user}" cannot {verb} resource "{resource}"'
            )
        if request.method == "POST":
            code, answer = await cluster.create(namespace, await request.json())
            return web.json_response(answer, status=code)
        if request.method == "DELETE":
            gone = await cluster.delete(name)
            return web.json_response(gone) if gone else failure(404, "NotFound", f"{name} not found")
        if watch:
            return await stream(request, resource)
        if name:
            obj = cluster.objects[resource].get(name)
            return web.json_response(obj) if obj else failure(404, "NotFound", f"{name} not found")
        items = [o for o in cluster.objects[resource].values() if selected(o, request.query.get("labelSelector", ""))]
        kind = "JobList" if resource == "jobs" else "PodList"
        own = {"apiVersion": KINDS[resource], "kind": kind, "metadata": {"resourceVersion": str(cluster.version)}}
        return web.json_response(own | {"items": items})

    async def stream(request: web.Request, resource: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        queue: asyncio.Queue[Json] = asyncio.Queue()
        cluster.watchers.append((resource, queue))
        try:
            while True:
                event = await queue.get()
                if selected(event["object"], request.query.get("labelSelector", "")):
                    await response.write(json.dumps(event).encode() + b"\n")
        except ConnectionResetError:
            return response
        finally:
            cluster.watchers.remove((resource, queue))

    async def discovery(request: web.Request) -> web.Response:
        def resources(group: str, *names: str) -> Json:
            verbs = ["create", "get", "list", "watch", "delete", "patch"]
            kinds = [
                {
                    "name": n,
                    "singularName": n[:-1],
                    "kind": n[:-1].capitalize(),
                    "namespaced": n != "namespaces",
                    "verbs": verbs,
                }
                for n in names
            ]
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": kinds}

        version = {"groupVersion": "batch/v1", "version": "v1"}
        return web.json_response(
            {
                "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
                "/api": {"kind": "APIVersions", "versions": ["v1"]},
                "/apis": {
                    "kind": "APIGroupList",
                    "apiVersion": "v1",
                    "groups": [{"name": "batch", "versions": [version], "preferredVersion": version}],
                },
                "/api/v1": resources("v1", "namespaces", "pods"),
                "/apis/batch/v1": resources("batch/v1", "jobs"),
            }[request.path.rstrip("/")]
        )

    async def forbidden(request: web.Request) -> web.Response:
        cluster.refused.append(f"{request.method} {request.path}")
        return failure(403, "Forbidden", f"{request.path} is forbidden")

    app = web.Application()
    for path in ("/version", "/version/", "/api", "/apis", "/api/v1", "/apis/batch/v1", "/api/", "/apis/"):
        app.router.add_get(path, discovery)
    for prefix, resource in (("/apis/batch/v1", "jobs"), ("/api/v1", "pods")):
        path = f"{prefix}/namespaces/{{namespace}}/{{resource:{resource}}}"
        app.router.add_route("*", path, namespaced)
        app.router.add_route("*", f"{path}/{{name}}", namespaced)
    app.router.add_route("*", "/{rest:.*}", forbidden)
    return app


def failure(code: int, reason: str, message: str) -> web.Response:
    """A refusal as Kubernetes words it."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }
    return web.json_response(body, status=code)


def selected(obj: Json, selector: str) -> bool:
    """Return True when an object matches a selector of `key`, `key=value` and `!key`; the worker uses no other form."""
    labels = obj["metadata"].get("labels", {})
    for part in filter(None, selector.split(",")):
        key, _, value = part.partition("=")
        if key.startswith("!"):
            if key[1:] in labels:
                return False
        elif key not in labels or (value and labels[key] != value.lstrip("=")):
            return False
    return True


@contextmanager
def cluster(port: int, folder: Path, **holds: Any) -> Iterator[Cluster]:
    """A cluster with the roles of `k8s/base`; what runs in it ends with it."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = yaml.safe_load_all((ROOT / "k8s" / "base" / "accounts.yaml").read_text())
    running = Cluster(port, folder, [d for d in documents if d["kind"] in ("Role", "RoleBinding")], **holds)
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        runner = web.AppRunner(application(running), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        ready.set()
        await asyncio.Event().wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    running.loop = loop
    thread.start()
    assert ready.wait(10), "the cluster's API answers"
    try:
        yield running
    finally:
        running.end()


def container_environment(**extra: str) -> dict[str, str]:
    """Return a container's environment: the image's programs, without the machine's settings."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {"PATH": programs, "PYTHONPATH": str(ROOT), "HOME": os.environ.get("HOME", "/"), **extra}
