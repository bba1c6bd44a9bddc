"""Finds objects in the lake that no manifest names, so that no merge will ever read them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import groupby

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.findings import Gap
from millrace.lake.footers import is_data_file
from millrace.lake.manifests import read_manifest
from millrace.lake.store import Lake, ObjectInfo
from millrace.settings import load_settings
from millrace.warehouse.port import Warehouse
from tasks.context import open_lake, open_warehouse, select_sources
from tasks.retries import uncached_task

SHOWN = 3


@uncached_task(task_run_name="look for orphans", retries=2)
def find_orphans(source: str | None) -> list[Gap]:
    """Return the data files under raw/ older than `reconcile.orphan_after_h` that no manifest names, by folder."""
    lake, warehouse = open_lake(), open_warehouse()
    before = datetime.now(UTC) - timedelta(hours=load_settings().reconcile.orphan_after_h)
    streams = {names.raw_prefix(c.source, s): c.streams[s] for c in select_sources(source) for s in c.streams}
    listed = lake.list(f"{names.RAW}{source}/" if source else names.RAW)
    old = [info for info in listed if info.updated < before and is_data_file(info.name)]
    orphans: list[ObjectInfo] = []
    for prefix, group in groupby(old, key=_stream_prefix):
        objects, contract = list(group), streams.get(prefix)
        orphans += unnamed(lake, warehouse, contract, objects) if contract else objects
    return by_folder(orphans)


def unnamed(lake: Lake, warehouse: Warehouse, contract: StreamContract, objects: list[ObjectInfo]) -> list[ObjectInfo]:
    """Return the objects of a stream that are neither in the ledger nor in a manifest."""
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


def by_folder(objects: Iterable[ObjectInfo]) -> list[Gap]:
    """Return one gap per folder: the number of objects, their bytes, and the first names."""
    gaps = []
    for folder, group in groupby(objects, key=lambda o: _folder(o.name)):
        inside = list(group)
        shown = ", ".join(o.name.removeprefix(folder) for o in inside[:SHOWN])
        gaps.append(
            Gap(
                kind="object that no manifest names",
                where=folder,
                count=len(inside),
                bytes=sum(o.size for o in inside),
                detail=shown,
            )
        )
    return gaps


def _folder(name: str) -> str:
    return name.rpartition("/")[0] + "/"


def _stream_prefix(info: ObjectInfo) -> str:
    return "/".join(info.name.split("/")[:3]) + "/"
