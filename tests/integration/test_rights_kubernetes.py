"""The Kubernetes API lets a service account do what its Role grants, and rejects the rest in Kubernetes' own words."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, BatchV1Api, CoreV1Api
from kubernetes_asyncio.client.exceptions import ApiException

from local.servers.rights.bindings import write_rights
from local.servers.rights.kubernetes import kubernetes_bindings
from tests.support.kubernetes_api import cluster
from tests.support.kubernetes_cluster import Cluster
from tests.support.rights import PROJECT, used_by
from tests.support.servers import free_port

WORKER, NAMESPACE = "millrace/worker-kubernetes", "millrace-flows"
Call = Callable[[ApiClient], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "create jobs.batch": lambda api: BatchV1Api(api).create_namespaced_job(NAMESPACE, {}),
    "list jobs.batch": lambda api: BatchV1Api(api).list_namespaced_job(NAMESPACE),
    "get jobs.batch": lambda api: BatchV1Api(api).read_namespaced_job("merge-1", NAMESPACE),
    "delete jobs.batch": lambda api: BatchV1Api(api).delete_namespaced_job("merge-1", NAMESPACE),
    "list pods": lambda api: CoreV1Api(api).list_namespaced_pod(NAMESPACE),
}


@contextmanager
def running(folder: Path, *without: str) -> Iterator[Cluster]:
    write_rights(folder / "rights.json", PROJECT, without=without)
    none: dict[str, Any] = {"secrets": {}, "settings": {}, "environment": {}}
    with cluster(free_port(), folder / "cluster", folder / "rights.json", **none) as api:
        yield api


def error_of(api: Cluster, user: str, call: Call) -> tuple[int, str]:
    """Return status and message of the answer to a call of the official client, or 200."""

    async def send() -> tuple[int, str]:
        await config.load_kube_config(str(api.kubeconfig(user)))
        async with ApiClient() as client:
            try:
                await call(client)
            except ApiException as error:
                return int(error.status), json.loads(error.body)["message"]
        return 200, ""

    return asyncio.run(send())


@pytest.mark.parametrize("permission", CALLS)
def test_right_taken_away_is_named(tmp_path: Path, permission: str) -> None:
    verb, resource = permission.split()
    kind, _, group = resource.partition(".")
    named = ' "merge-1"' if verb in ("get", "delete") else ""
    with running(tmp_path, permission) as api:
        assert error_of(api, WORKER, CALLS[permission]) == (
            403,
            f'{resource}{named} is forbidden: User "system:serviceaccount:millrace:worker-kubernetes" cannot {verb}'
            f' resource "{kind}" in API group "{group}" in the namespace "{NAMESPACE}"',
        )
        others = {name: error_of(api, WORKER, call)[0] for name, call in CALLS.items() if name != permission}
    assert 403 not in others.values(), others
    assert used_by(tmp_path / "rights.json", "denied") == {"worker-kubernetes": {permission}}


def test_other_accounts_and_namespaces_are_rejected(tmp_path: Path) -> None:
    def list_in(namespace: str) -> Call:
        return lambda api: BatchV1Api(api).list_namespaced_job(namespace)

    with running(tmp_path) as api:
        assert error_of(api, "millrace/gateway", list_in(NAMESPACE))[0] == 403
        assert error_of(api, "millrace-flows/flow", list_in(NAMESPACE))[0] == 403
        status, message = error_of(api, WORKER, list_in("airbyte"))
    assert (status, message.endswith('in the namespace "airbyte"')) == (403, True), message


def test_roles_that_the_table_cannot_show_fail(tmp_path: Path) -> None:
    file = tmp_path / "accounts.yaml"
    file.write_text(yaml.safe_dump({"kind": "ClusterRole", "metadata": {"name": "all"}, "rules": []}))
    with pytest.raises(ValueError, match="ClusterRole: only roles of a namespace are known here"):
        kubernetes_bindings(file)
