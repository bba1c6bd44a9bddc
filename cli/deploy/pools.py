"""Creates and updates the work pools of `k8s/pools/` that the settings name; idempotent. Other pools stay unchanged."""

import json
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any, Literal

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectNotFound

from millrace.cloud_names import DBT, account_email
from millrace.domain.errors import SettingsError
from millrace.project import PLATFORM
from millrace.settings import Settings, load_settings
from millrace.settings.tree import environment

POOLS = PLATFORM / "k8s" / "pools"
CHANGEABLE = ("description", "concurrency_limit", "base_job_template")
Change = Literal["created", "updated", "unchanged"]
Json = dict[str, Any]


def values(settings: Settings) -> dict[str, str]:
    """Return the values of the files' `${…}`."""
    return {
        "image": settings.pools.image,
        "region": settings.pools.region,
        "network": settings.pools.network,
        "dbt_account": account_email(DBT, settings.events.project),
        "settings": json.dumps(environment(settings) | {"GOOGLE_CLOUD_PROJECT": settings.events.project}),
    }


def load_pools(settings: Settings, folder: Path = POOLS) -> dict[str, Json]:
    """Load the pools that the settings name and a file describes.

    Raises:
        SettingsError: a file needs a setting that is empty; names both.
    """
    pools = {}
    for name in dict.fromkeys((settings.pools.default, settings.pools.dbt)):
        file = folder / f"{name}.yaml"
        if file.exists():
            pools[name] = yaml.safe_load(_fill(file, values(settings)))
    return pools


def pools_with_an_image(folder: Path = POOLS) -> set[str]:
    """Return the pools whose runs are in the image of the settings: those that a file describes."""
    return {file.stem for file in folder.glob("*.yaml")}


def _fill(file: Path, filled: dict[str, str]) -> str:
    template = Template(file.read_text())
    used = template.get_identifiers()
    if missing := [name for name in used if not filled.get(name)]:
        raise SettingsError(f"{file.name}: pools.{', pools.'.join(missing)} is not set")
    return template.substitute(filled)


def apply_pools(client: SyncPrefectClient, pools: dict[str, Json], *, dry_run: bool = False) -> dict[str, Change]:
    """Create or update the pools on the server as in their files; return the change of each.

    Raises:
        SettingsError: a pool of that name has another type, which can't be changed.
    """
    changes: dict[str, Change] = {}
    for name, declared in pools.items():
        pool = find_pool(client, name)
        if pool is None:
            changes[name] = "created"
            if not dry_run:
                client.create_work_pool(WorkPoolCreate(name=name, **declared))
            continue
        if pool.type != declared["type"]:
            raise SettingsError(
                f"work pool {name!r} is of type {pool.type}, and its file says {declared['type']}; delete it with"
                f" `prefect work-pool delete {name}`, then run this again"
            )
        changes[name] = "unchanged" if agrees(pool, declared) else "updated"
        if changes[name] == "updated" and not dry_run:
            update = {key: declared[key] for key in CHANGEABLE}
            client.update_work_pool(name, WorkPoolUpdate(**update))
    return changes


def find_pool(client: SyncPrefectClient, name: str) -> WorkPool | None:
    """Return the pool of that name, None when there is none."""
    try:
        return client.read_work_pool(name)
    except ObjectNotFound:
        return None


def agrees(pool: WorkPool, declared: Json) -> bool:
    """Return true when a pool equals its file."""
    return all(getattr(pool, key) == declared[key] for key in ("type", *CHANGEABLE))


def deploy_pools(*, dry_run: bool) -> Iterator[str]:
    """Create and update the pools; yield a line for each. Raises SettingsError as `apply_pools` does."""
    pools = load_pools(load_settings())
    with get_client(sync_client=True) as client:
        changes = apply_pools(client, pools, dry_run=dry_run)
    for name, change in changes.items():
        yield f"{'would be ' if dry_run and change != 'unchanged' else ''}{change}: work pool {name}"
