"""Checks before a deployment, and the differences between a deployment and the server's.

Prefect itself deploys to a missing pool with a warning, and with an unset variable without any.
"""

import re
from collections.abc import Mapping
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectNotFound

from blocks import names
from cli.deploy.pools import agrees, find_pool, load_pools
from millrace.domain.errors import SettingsError
from millrace.settings import Settings
from millrace.worker.names import TYPE

PROCESS_POOLS = ("process", TYPE)
VARIABLE = re.compile(r"\{\{ *\$(\w+) *\}\}")
BLOCKS = (
    ("millrace-lake", names.LAKE),
    ("millrace-results", names.RESULTS),
    ("millrace-warehouse", names.WAREHOUSE),
    ("millrace-event-bus", names.EVENT_BUS),
    ("millrace-airbyte", names.AIRBYTE),
    ("millrace-credentials", names.CREDENTIALS),
    ("slack-incoming-webhook", names.SLACK),
)
Json = dict[str, Any]


def load_deployments(text: str, variables: Mapping[str, str]) -> list[Json]:
    """Load the deployments of a `prefect.yaml`, variables filled in, each with the file's steps that get the code.

    Raises:
        SettingsError: the text names a variable that has no value.
    """
    if missing := sorted({name for name in VARIABLE.findall(text) if not variables.get(name)}):
        raise SettingsError(f"prefect.yaml reads {', '.join(missing)}, which have no value")
    whole = yaml.safe_load(VARIABLE.sub(lambda match: variables[match[1]], text))
    return [{"pull": whole["pull"]} | deployment for deployment in whole["deployments"]]


def check_pools(client: SyncPrefectClient, settings: Settings) -> None:
    """Raise when a work pool does not exist, or differs from its file in `k8s/pools/`.

    Raises:
        SettingsError: names the pool and says how to make it.
    """
    files = load_pools(settings)
    for key, name in (("default", settings.pools.default), ("dbt", settings.pools.dbt)):
        pool = find_pool(client, name)
        if pool is None:
            raise SettingsError(
                f"pools.{key} is {name!r}, but Prefect has no such work pool; create it with"
                f" `millrace deploy pools` or `prefect work-pool create {name} --type process|kubernetes|cloud-run-v2`"
            )
        if name in files and not agrees(pool, files[name]):
            raise SettingsError(f"work pool {name!r} differs from k8s/pools/{name}.yaml; run `millrace deploy pools`")


def check_blocks(client: SyncPrefectClient) -> None:
    """Raise when a block that flows load is not registered.

    Raises:
        SettingsError: names the missing ones.
    """
    if missing := missing_blocks(client):
        raise SettingsError(f"Prefect has no block {', '.join(missing)}; run `millrace deploy blocks`")


def missing_blocks(client: SyncPrefectClient, settings: Settings | None = None) -> list[str]:
    """Return `type/name` of the blocks that flows load and that are not registered.

    With settings also of the secrets' blocks, to which these refer.
    """
    secrets = (settings.airbyte.client_id_secret, settings.airbyte.client_secret_secret) if settings else ()
    declared = (*BLOCKS, *(("millrace-secret", name) for name in secrets))
    return [f"{kind}/{name}" for kind, name in declared if not _has_block(client, kind, name)]


def outdated_blocks(client: SyncPrefectClient, settings: Settings) -> list[str]:
    """Describe the fields of blocks that differ from the settings: addresses changed since the registration."""
    lake, warehouse, events = settings.lake, settings.warehouse, settings.events
    expected = {
        ("millrace-lake", names.LAKE): {"url": lake.url, "endpoint": lake.endpoint},
        ("millrace-results", names.RESULTS): {"url": lake.url, "endpoint": lake.endpoint},
        ("millrace-warehouse", names.WAREHOUSE): {"url": warehouse.url, "marts_url": warehouse.marts_url},
        ("millrace-event-bus", names.EVENT_BUS): {"project": events.project, "endpoint": events.endpoint},
        ("millrace-airbyte", names.AIRBYTE): {"url": settings.airbyte.url},
    }
    actual = {key: client.read_block_document_by_name(key[1], key[0]).data for key in expected}
    return [
        f"block {kind}/{name}: {field} is {actual[kind, name].get(field)!r}, and the settings say {value!r}"
        for (kind, name), fields in expected.items()
        for field, value in fields.items()
        if actual[kind, name].get(field) != value
    ]


def _has_block(client: SyncPrefectClient, kind: str, name: str) -> bool:
    try:
        client.read_block_document_by_name(name, kind)
    except ObjectNotFound:
        return False
    return True


def check_job_variables(client: SyncPrefectClient, deployments: list[Json]) -> None:
    """Raise on job variables that a pool of pods or jobs does not have: Prefect would drop them silently.

    Pools of processes have neither CPU nor memory of their own, and drop these on purpose.

    Raises:
        SettingsError: names deployment and variables.
    """
    for deployment in deployments:
        pool = deployment["work_pool"]
        actual = find_pool(client, pool["name"])
        unknown = set(pool.get("job_variables", {})) - _variables(actual)
        if actual and actual.type not in PROCESS_POOLS and unknown:
            raise SettingsError(
                f"deployment {deployment['name']}: work pool {pool['name']!r} has no variable"
                f" {', '.join(sorted(unknown))}; it has {', '.join(sorted(_variables(actual)))}"
            )


def _variables(pool: WorkPool | None) -> set[str]:
    template = pool.base_job_template if pool else {}
    return set(template.get("variables", {}).get("properties", {}))


def full_name(deployment: Json) -> str:
    """Return `<flow>/<deployment>`, as Prefect names it: a flow is named for its function, with hyphens."""
    return f"{deployment['entrypoint'].rsplit(':', 1)[1].replace('_', '-')}/{deployment['name']}"


def difference(client: SyncPrefectClient, declared: Json) -> str:
    """Return the change that deploying would make: `created`, `unchanged`, or `updated (<fields>)`."""
    try:
        actual = client.read_deployment_by_name(full_name(declared))
    except ObjectNotFound:
        return "created"
    pool = declared["work_pool"]
    pairs = {
        "work_pool": (actual.work_pool_name, pool["name"]),
        "job_variables": (actual.job_variables, pool.get("job_variables", {})),
        "version": (actual.version, declared.get("version")),
        "tags": (sorted(actual.tags), sorted(declared.get("tags", []))),
        "parameters": (actual.parameters, declared.get("parameters", {})),
        "description": (actual.description, declared.get("description")),
        "entrypoint": (actual.entrypoint, declared["entrypoint"]),
        "pull_steps": (actual.pull_steps, declared["pull"]),
        "schedules": (len(actual.schedules), len(declared.get("schedules", []))),
    }
    changed = [name for name, (now, then) in pairs.items() if now != then]
    return f"updated ({', '.join(changed)})" if changed else "unchanged"
