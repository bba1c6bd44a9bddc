"""What must hold before anything is deployed, and what of a deployment differs from the server's.

Prefect itself deploys to a missing pool with a warning, and with an unset variable without any.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectNotFound

from blocks import names
from cli.deploy.pools import agrees, find_pool, load_pools
from millrace.domain.errors import SettingsError
from millrace.settings import Settings

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


def load_deployments(file: Path, variables: Mapping[str, str]) -> list[Json]:
    """The deployments of `prefect.yaml`, variables filled in.

    Raises:
        SettingsError: the file names a variable that has no value.
    """
    text = file.read_text()
    if missing := sorted({name for name in VARIABLE.findall(text) if not variables.get(name)}):
        raise SettingsError(f"{file.name} reads {', '.join(missing)}, which have no value")
    found: list[Json] = yaml.safe_load(VARIABLE.sub(lambda match: variables[match[1]], text))["deployments"]
    return found


def check_pools(client: SyncPrefectClient, settings: Settings) -> None:
    """Refuse a work pool that does not exist, or is not what its file in `k8s/pools/` says.

    Raises:
        SettingsError: names the pool and says how to make it.
    """
    files = load_pools(settings)
    for key, name in (("default", settings.pools.default), ("dbt", settings.pools.dbt)):
        pool = find_pool(client, name)
        if pool is None:
            raise SettingsError(
                f"pools.{key} is {name!r}, but Prefect has no such work pool; make it with"
                f" `python -m cli.deploy.pools` or `prefect work-pool create {name} --type process|kubernetes|cloud-run-v2`"
            )
        if name in files and not agrees(pool, files[name]):
            raise SettingsError(
                f"work pool {name!r} is not what k8s/pools/{name}.yaml says; run `python -m cli.deploy.pools`"
            )


def check_blocks(client: SyncPrefectClient) -> None:
    """Refuse to deploy flows whose blocks are not registered.

    Raises:
        SettingsError: names those that lack.
    """
    missing = [f"{kind}/{name}" for kind, name in BLOCKS if not _has_block(client, kind, name)]
    if missing:
        raise SettingsError(f"Prefect has no block {', '.join(missing)}; run `python -m cli.deploy.blocks`")


def outdated_blocks(client: SyncPrefectClient, settings: Settings) -> list[str]:
    """What blocks say otherwise than the settings do: addresses that moved since they were registered."""
    lake, warehouse, events = settings.lake, settings.warehouse, settings.events
    wanted = {
        ("millrace-lake", names.LAKE): {"url": lake.url, "endpoint": lake.endpoint},
        ("millrace-results", names.RESULTS): {"url": lake.url, "endpoint": lake.endpoint},
        ("millrace-warehouse", names.WAREHOUSE): {"url": warehouse.url, "marts_url": warehouse.marts_url},
        ("millrace-event-bus", names.EVENT_BUS): {"project": events.project, "endpoint": events.endpoint},
        ("millrace-airbyte", names.AIRBYTE): {"url": settings.airbyte.url},
    }
    found = {key: client.read_block_document_by_name(key[1], key[0]).data for key in wanted}
    return [
        f"block {kind}/{name}: {field} is {found[kind, name].get(field)!r}, and the settings say {value!r}"
        for (kind, name), fields in wanted.items()
        for field, value in fields.items()
        if found[kind, name].get(field) != value
    ]


def _has_block(client: SyncPrefectClient, kind: str, name: str) -> bool:
    try:
        client.read_block_document_by_name(name, kind)
    except ObjectNotFound:
        return False
    return True


def check_job_variables(client: SyncPrefectClient, deployments: list[Json]) -> None:
    """Refuse variables that a pool of ours does not know: Prefect would leave them out without a word.

    Raises:
        SettingsError: names deployment and variables.
    """
    for deployment in deployments:
        pool = deployment["work_pool"]
        there = find_pool(client, pool["name"])
        unknown = set(pool.get("job_variables", {})) - _known(there)
        if there and there.type != "process" and unknown:
            raise SettingsError(
                f"deployment {deployment['name']}: work pool {pool['name']!r} knows no {', '.join(sorted(unknown))};"
                f" it knows {', '.join(sorted(_known(there)))}"
            )


def _known(pool: WorkPool | None) -> set[str]:
    template = pool.base_job_template if pool else {}
    return set(template.get("variables", {}).get("properties", {}))


def full_name(wanted: Json) -> str:
    """`<flow>/<deployment>`, as Prefect names it: a flow is named for its function, with hyphens."""
    return f"{wanted['entrypoint'].rsplit(':', 1)[1].replace('_', '-')}/{wanted['name']}"


def difference(client: SyncPrefectClient, wanted: Json) -> str:
    """`created`, `unchanged`, or `updated (<what>)`: what deploying would do."""
    try:
        there = client.read_deployment_by_name(full_name(wanted))
    except ObjectNotFound:
        return "created"
    pool = wanted["work_pool"]
    pairs = {
        "work_pool": (there.work_pool_name, pool["name"]),
        "job_variables": (there.job_variables, pool.get("job_variables", {})),
        "version": (there.version, wanted.get("version")),
        "tags": (sorted(there.tags), sorted(wanted.get("tags", []))),
        "parameters": (there.parameters, wanted.get("parameters", {})),
        "description": (there.description, wanted.get("description")),
        "entrypoint": (there.entrypoint, wanted["entrypoint"]),
        "schedules": (len(there.schedules), len(wanted.get("schedules", []))),
    }
    changed = [name for name, (now, then) in pairs.items() if now != then]
    return f"updated ({', '.join(changed)})" if changed else "unchanged"
