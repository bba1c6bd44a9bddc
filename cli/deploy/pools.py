"""Makes the work pools of `k8s/pools/` that the settings name: `python -m cli.deploy.pools [--dry-run]`.

Idempotent: a pool that differs from its file is brought to it; pools without a file are left alone.
"""

import argparse
import json
import sys
from pathlib import Path
from string import Template
from typing import Any, Literal

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectNotFound

from millrace.cloud_names import DBT, account_email
from millrace.domain.errors import MillraceError, SettingsError
from millrace.settings import Settings, load_settings
from millrace.settings.tree import ROOT, environment

POOLS = ROOT / "k8s" / "pools"
CHANGEABLE = ("description", "concurrency_limit", "base_job_template")
Change = Literal["created", "updated", "unchanged"]
Json = dict[str, Any]


def values(settings: Settings) -> dict[str, str]:
    """What the files' `${…}` stand for."""
    return {
        "image": settings.pools.image,
        "region": settings.pools.region,
        "network": settings.pools.network,
        "dbt_account": account_email(DBT, settings.events.project),
        "settings": json.dumps(environment(settings) | {"GOOGLE_CLOUD_PROJECT": settings.events.project}),
    }


def load_pools(settings: Settings, folder: Path = POOLS) -> dict[str, Json]:
    """The pools that the settings name and a file describes.

    Raises:
        SettingsError: a file needs a setting that is empty; names both.
    """
    found = {}
    for name in dict.fromkeys((settings.pools.default, settings.pools.dbt)):
        file = folder / f"{name}.yaml"
        if file.exists():
            found[name] = yaml.safe_load(_fill(file, values(settings)))
    return found


def _fill(file: Path, filled: dict[str, str]) -> str:
    template = Template(file.read_text())
    used = template.get_identifiers()
    if missing := [name for name in used if not filled.get(name)]:
        raise SettingsError(f"{file.name}: pools.{', pools.'.join(missing)} is not set")
    return template.substitute(filled)


def apply_pools(client: SyncPrefectClient, pools: dict[str, Json], *, dry_run: bool = False) -> dict[str, Change]:
    """Bring the server to what the files say; returns what became of each pool.

    Raises:
        SettingsError: a pool of that name is of another type, which can't be changed.
    """
    done: dict[str, Change] = {}
    for name, wanted in pools.items():
        there = find_pool(client, name)
        if there is None:
            done[name] = "created"
            if not dry_run:
                client.create_work_pool(WorkPoolCreate(name=name, **wanted))
            continue
        if there.type != wanted["type"]:
            raise SettingsError(
                f"work pool {name!r} is of type {there.type}, and its file says {wanted['type']}; delete it with"
                f" `prefect work-pool delete {name}`, then run this again"
            )
        done[name] = "unchanged" if agrees(there, wanted) else "updated"
        if done[name] == "updated" and not dry_run:
            update = {key: wanted[key] for key in CHANGEABLE}
            client.update_work_pool(name, WorkPoolUpdate(**update))
    return done


def find_pool(client: SyncPrefectClient, name: str) -> WorkPool | None:
    """The pool of that name."""
    try:
        return client.read_work_pool(name)
    except ObjectNotFound:
        return None


def agrees(there: WorkPool, wanted: Json) -> bool:
    """Whether a pool is what its file says."""
    return all(getattr(there, key) == wanted[key] for key in ("type", *CHANGEABLE))


def main() -> int:
    """Make the pools; prints a line for each."""
    parser = argparse.ArgumentParser(prog="python -m cli.deploy.pools", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    dry_run = parser.parse_args().dry_run
    try:
        pools = load_pools(load_settings())
        with get_client(sync_client=True) as client:
            done = apply_pools(client, pools, dry_run=dry_run)
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for name, change in done.items():
        print(f"{'would be ' if dry_run and change != 'unchanged' else ''}{change}: work pool {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
