"""Looks for objects in the lake that no manifest names: nobody will ever merge them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import groupby

from prefect import task
from prefect.cache_policies import NO_CACHE

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.findings import Found
from millrace.lake.footers import is_data_file
from millrace.lake.manifests import read_manifest
from millrace.lake.store import Lake, ObjectInfo
from millrace.settings import load_settings
from millrace.warehouse.port import Warehouse
from tasks.context import open_lake, open_warehouse, wanted_sources
from tasks.retries import DELAYS_S, is_transient

SHOWN = 3


@task(
    task_run_name="look for orphans",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def find_orphans(source: str | None) -> list[Found]:
    """Data files under raw/ that are older than `reconcile.orphan_after_h` and in no manifest, by folder."""
    lake, warehouse = open_lake(), open_warehouse()
    before = datetime.now(UTC) - timedelta(hours=load_settings().reconcile.orphan_after_h)
    streams = {names.raw_prefix(c.source, s): c.streams[s] for c in wanted_sources(source) for s in c.streams}
    listed = lake.list(f"{names.RAW}{source}/" if source else names.RAW)
    old = [info for info in listed if info.updated < before and is_data_file(info.name)]
    orphans: list[ObjectInfo] = []
    for prefix, group in groupby(old, key=_stream_prefix):
        objects, contract = list(group), streams.get(prefix)
        orphans += unnamed(lake, warehouse, contract, objects) if contract else objects
    return by_folder(orphans)


def unnamed(lake: Lake, warehouse: Warehouse, contract: StreamContract, objects: list[ObjectInfo]) -> list[ObjectInfo]:
    """Those objects of a stream that neither the ledger has nor a manifest names."""
    merged = warehouse.merged_objects(contract, [(o.name, o.generation) for o in objects])
    left = [o for o in objects if (o.name, o.generation) not in merged]
    if not left:
        return []
    listed = [info.name for info in lake.list(names.manifests_prefix(contract.source, contract.stream))]
    manifests = {path: match for path in listed if (match := names.MANIFEST_PATH.fullmatch(path))}
    folders = {_folder(o.name) for o in left}
    named: set[tuple[str, int]] = set()
    for path, match in manifests.items():
        if names.sync_prefix(contract.source, contract.stream, int(match[3])) in folders:
            named |= {(o.name, o.generation) for o in read_manifest(lake, path).objects}
    return [o for o in left if (o.name, o.generation) not in named]


def by_folder(objects: Iterable[ObjectInfo]) -> list[Found]:
    """One finding per folder: how many objects, how many bytes, and the first of them."""
    found = []
    for folder, group in groupby(objects, key=lambda o: _folder(o.name)):
        inside = list(group)
        shown = ", ".join(o.name.removeprefix(folder) for o in inside[:SHOWN])
        found.append(
            Found(
                kind="object that no manifest names",
                where=folder,
                count=len(inside),
                bytes=sum(o.size for o in inside),
                detail=shown,
            )
        )
    return found


def _folder(name: str) -> str:
    return name.rpartition("/")[0] + "/"


def _stream_prefix(info: ObjectInfo) -> str:
    return "/".join(info.name.split("/")[:3]) + "/"
